/**
 * True labels that arrive after the prediction: late ones and corrections are kept with history.
 *
 * @module
 */
import { UsageError } from "./errors.ts";
import type { Store } from "./store.ts";

/** The true label of one predicted record. */
export interface Label {
  readonly requestId: string;
  /** Row within its request, from 0. */
  readonly row: number;
  readonly label: string;
}

/** Refused labels that a message names. */
const SHOWN = 3;

/**
 * Stores labels, all or none; a second label of the same record counts from then on, and the first
 * one stays in the history.
 *
 * @throws {UsageError} when a record was never predicted; the message names the first ones.
 */
export async function recordLabels(
  store: Store,
  labels: readonly Label[],
  source: string | null,
): Promise<void> {
  if (labels.length === 0) return;
  const rows = JSON.stringify(
    labels.map(({ requestId, row, label }, position) => ({
      position,
      request_id: requestId,
      row,
      label,
    })),
  );
  const given = `(select unnest(from_json(?::json,
      '[{"position":"INTEGER","request_id":"VARCHAR","row":"INTEGER","label":"VARCHAR"}]'),
    recursive := true))`;
  const unknown = await store.query<{ request_id: string; row: number; total: number }>(
    `select g.request_id, g.row, count(*) over () as total from ${given} g
     anti join core.inferences i on g.request_id = i.request_id and g.row = i.row
     order by g.position limit ${SHOWN}`,
    [rows],
  );
  if (unknown.length > 0) {
    const names = unknown.map(({ request_id, row }) => `"${request_id}" row ${row}`).join(", ");
    throw new UsageError(
      `Cannot label ${
        unknown[0].total
      } of ${labels.length} records: nothing was predicted for ${names}${
        unknown[0].total > SHOWN ? " and others" : ""
      }; none was stored`,
    );
  }
  await store.transaction([{
    sql: `insert into core.labels (request_id, row, label, source, created_at)
      select request_id, row, label, ?, ? from ${given} order by position`,
    params: [source, new Date(), rows],
  }]);
}
