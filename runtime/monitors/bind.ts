/**
 * Whether the expressions of `monitoring.profile` can be computed, asked before a window is: each is
 * bound over rows as windows have them, of which none is read.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import type { Store } from "../store/store.ts";
import type { Cell } from "./cells.ts";
import type { ProfileDefinition } from "./definition.ts";
import { predictionRows, rowColumns } from "./rows.ts";
import { knownMetrics } from "./table_rows.ts";

/** Numbers that metrics may be derived from, of a cell without rows. */
const none: Cell = {
  window: 0,
  sliceKey: null,
  sliceValue: null,
  hash: 0,
  rows: 0,
  fraction: 1,
  predictions: new Map(),
  truths: new Map(),
  confusion: [],
};

/**
 * Refuses the first expression that does not parse, or names a column or a function that is not there.
 * Where nobody knows the inputs yet, a name that is no column of a row is
 * taken for one of them.
 *
 * @throws {UsageError} with the key of the config, what is wrong and the columns there are.
 */
export async function checkProfile(
  store: Store,
  { slices, metrics }: Pick<ProfileDefinition, "slices" | "metrics">,
  inputs: readonly string[] | null,
): Promise<void> {
  const epoch = new Date(0);
  const monitored = { model: "", version: 0, inputs: inputs ?? [], classes: [] };
  const relation = predictionRows(monitored, [{ start: epoch, end: epoch }], [
    ...slices,
    ...metrics.map(({ sql }) => sql),
  ]);
  const rows = [...inputs ?? [], ...rowColumns];
  const check = async (key: string, text: string, { sql, columns, isOpen }: {
    readonly sql: string;
    readonly columns: readonly string[];
    readonly isOpen: boolean;
  }) => {
    try {
      await store.query(`describe ${sql}`);
    } catch (error) {
      const [line] = (error as Error).message.split("\n");
      if (isOpen && /Referenced column .* not found/.test(line)) return;
      const state = line.replace(/^.*?\b(?:Binder|Parser|Catalog) Error: /, "")
        .replace(
          /^column "request_time" must appear in the GROUP BY .*/,
          "an aggregate is of no row",
        )
        .replace(/[!.]$/, "");
      throw new UsageError(
        `Cannot compute "${text}" of monitoring.profile.${key}: ${state}; write SQL over ` +
          `${columns.join(", ")}, or take it out of monitoring.profile`,
        { cause: error },
      );
    }
  };
  const isOpen = inputs === null;
  for (const [i, text] of slices.entries()) {
    // Beside a column, so that an aggregate, which no row has, is refused.
    const sql = `select (${text}), request_time from ${relation}`;
    await check(`slices[${i}]`, text, { sql, columns: rows, isOpen });
  }
  const known = Object.keys(knownMetrics(none, null));
  for (const [i, { name, kind, sql: text }] of metrics.entries()) {
    const others = kind === "drift"
      ? metrics.filter((other) => other.kind !== "drift")
      : metrics.slice(0, i).filter((other) => other.kind !== "drift");
    const columns = [...known, ...others.map((other) => other.name)];
    const fields = columns.map((column) => `'${column}': null::double`).join(", ");
    const from = {
      aggregate: `(select *, 0 as _w from ${relation}) group by grouping sets ((_w))`,
      derived: `(select unnest({${fields}}))`,
      drift: `(select {${fields}} as current, {${fields}} as base)`,
    }[kind];
    await check(`metrics[${i}] "${name}"`, text, {
      sql: `select (${text})::double from ${from}`,
      columns: kind === "aggregate"
        ? rows
        : kind === "derived"
        ? columns
        : columns.flatMap((column) => [`current.${column}`, `base.${column}`]),
      isOpen: isOpen && kind === "aggregate",
    });
  }
}
