/** Labels of predictions from a table: columns `request_id`, `label` (good or bad) and, on request, `row`. */
import type { Plugins } from "../plugins/plugin.ts";
import { suggest, UsageError } from "../runtime/errors.ts";
import { openLabelFile } from "../runtime/inference/label_import.ts";
import { quoteIdentifier } from "../runtime/store/sql.ts";
import type { Store } from "../runtime/store/store.ts";
import { describeReadError } from "../runtime/store/table.ts";
import { type JudgeLabel, type LabelSource, MAX_LABELS, recordJudgeLabels } from "./labels.ts";

/**
 * Keeps the labels of a file, all or none, and gives how many.
 * @throws {UsageError} when a column is missing, a cell is no such value, or a row was never predicted.
 */
export async function importJudgeLabels(
  store: Store,
  uri: string,
  { plugins, signal, ...source }: LabelSource & {
    readonly plugins: Plugins;
    readonly signal: AbortSignal;
  },
): Promise<number> {
  const table = await openLabelFile(store, uri, { plugins, signal });
  const names = table.columns.map(({ name }) => name);
  const cell = (name: string, otherwise?: string) => {
    const found = table.columns.find((column) => column.name.toLowerCase() === name);
    if (found !== undefined) return `(${found.cell})::varchar`;
    if (otherwise !== undefined) return otherwise;
    const near = suggest(name, names);
    throw new UsageError(
      `Cannot take labels from "${uri}": it lacks the column "${name}"${
        near ? `; is it "${near}"?` : ""
      }; it has ${names.join(", ")}`,
    );
  };
  const draft = quoteIdentifier("bronze", `_judge_labels_${crypto.randomUUID()}`);
  const sql = `create table ${draft} as select ${cell("request_id")} as request_id,
      ${cell("row", "'0'")} as row, lower(trim(${cell("label")})) as label
    from ${table.from} limit ${MAX_LABELS + 1}`;
  try {
    await store.transaction([...table.setup, { sql }, ...table.teardown]).catch((error) => {
      throw describeReadError(uri, error);
    });
    const rows = await store.query<{ request_id: string | null; row: string; label: string }>(
      `select request_id, row, label from ${draft} order by rowid`,
    );
    return await recordJudgeLabels(store, rows.map((row, i) => read(row, uri, i)), source);
  } finally {
    await store.query(`drop table if exists ${draft}`);
  }
}

function read(
  { request_id, row, label }: {
    readonly request_id: string | null;
    readonly row: string | null;
    readonly label: string | null;
  },
  uri: string,
  place: number,
): JudgeLabel {
  const fail = (reason: string) =>
    new UsageError(`Cannot take labels from "${uri}": row ${place + 1}: ${reason}; none was kept`);
  if (request_id === null || request_id === "") throw fail("request_id is empty");
  if (label !== "good" && label !== "bad") throw fail(`label "${label ?? ""}" is not good or bad`);
  const number = row === null || row === "" ? 0 : Number(row);
  if (!Number.isInteger(number) || number < 0) throw fail(`row "${row}" is no row`);
  return { requestId: request_id, row: number, label };
}
