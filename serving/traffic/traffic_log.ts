/** What became of canaries, as rows: a restart goes on from there. */
import { recordSteps } from "../../runtime/audit.ts";
import type { Store } from "../../runtime/store/store.ts";

/** What can become of a canary. */
export type TrafficEventKind = "started" | "advanced" | "rolled back" | "promoted";

/** One event of one version behind one alias. */
export interface TrafficEvent {
  readonly kind: TrafficEventKind;
  /** Share from then on. */
  readonly percent: number;
  readonly reason: string;
  /** Who asked for it; `null` when the server did it by itself. */
  readonly by: string | null;
}

/** Which canary. */
export interface CanaryKey {
  readonly model: string;
  readonly alias: string;
  readonly version: number;
}

/** Gives the last event of a canary, `null` when it never started. */
export async function readLastEvent(
  store: Store,
  { model, alias, version }: CanaryKey,
): Promise<TrafficEvent & { readonly at: Date } | null> {
  const [row] = await store.query<{
    kind: TrafficEventKind;
    percent: number;
    reason: string;
    changed_by: string | null;
    changed_at: string;
  }>(
    `select kind, percent, reason, changed_by, changed_at from core.traffic_log
     where model = ? and alias = ? and version = ? order by change desc limit 1`,
    [model, alias, version],
  );
  if (!row) return null;
  const { kind, percent, reason, changed_by: by, changed_at } = row;
  return { kind, percent, reason, by, at: new Date(changed_at) };
}

/**
 * Writes an event and its entry of the audit log, unless the last one of the canary is the same
 * already: of two servers over one store, one writes.
 */
export async function writeEvent(
  store: Store,
  { model, alias, version }: CanaryKey,
  { kind, percent, reason, by }: TrafficEvent,
): Promise<void> {
  const isNew = `not exists (
    select 1 from (from core.traffic_log where model = ? and alias = ? and version = ?
      order by change desc limit 1)
    where kind = ? and percent = ?)`;
  const isNewParams = [model, alias, version, kind, percent];
  await store.transaction([
    ...recordSteps({
      action: `canary.${kind === "rolled back" ? "rolled_back" : kind}`,
      by,
      rows: `select ? as subject, json_object('name', ?::varchar, 'alias', ?::varchar,
          'version', ?::varchar, 'percent', ?::double, 'reason', ?::varchar) as details
        where ${isNew}`,
      params: [
        `${model}/${version}`,
        model,
        alias,
        String(version),
        percent,
        reason,
        ...isNewParams,
      ],
    }),
    {
      sql: `insert into core.traffic_log
          (kind, model, alias, version, percent, reason, changed_by, changed_at)
        select ?, ?, ?, ?, ?, ?, ?, ? where ${isNew}`,
      params: [
        kind,
        model,
        alias,
        version,
        percent,
        reason,
        by,
        new Date(),
        ...isNewParams,
      ],
    },
  ]);
}
