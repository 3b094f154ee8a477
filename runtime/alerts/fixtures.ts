/**
 * Rows that stand in for the documented views in the tests of an alert.
 *
 * @module
 */
import { parseDuration } from "../../numeric/durations.ts";
import { suggest } from "../../numeric/suggest.ts";
import { UsageError } from "../errors.ts";
import { quoteIdentifier, quoteLiteral } from "../store/sql.ts";
import type { Store } from "../store/store.ts";
import type { Rows } from "./as_of.ts";

/** Cells by column; `repeat` is how many rows there are of it. */
export type FixtureRow = Readonly<Record<string, unknown>>;

/** Rows by view. */
export type Fixtures = Readonly<Record<string, readonly FixtureRow[]>>;

/** Most rows that one `repeat` makes. */
const MOST_REPEATS = 1_000_000;

/**
 * Gives the `SELECT` of each view that has rows, and of an empty one for every other. A time is one as
 * ISO 8601 has it, or a span from `start`, such as `-5m`.
 *
 * @throws {UsageError} when a view or a column is not known; the message names the nearest one.
 */
export async function buildRows(
  store: Store,
  fixtures: Fixtures,
  start: number,
): Promise<Rows> {
  const columns = await store.query<{ view: string; name: string; type: string }>(
    `select table_name as view, column_name as name, data_type as type from duckdb_columns()
     where schema_name = 'main' and database_name = current_database() order by column_index`,
  );
  const views = Map.groupBy(columns, ({ view }) => view);
  for (const view of Object.keys(fixtures)) {
    if (!views.has(view)) throw unknown("view", view, [...views.keys()]);
  }
  const selects = new Map(
    [...views].map(([view, types]) => [
      view,
      buildSelect(types, fixtures[view] ?? [], { view, start }),
    ]),
  );
  return (view) => selects.get(view);
}

function buildSelect(
  types: readonly { readonly name: string; readonly type: string }[],
  rows: readonly FixtureRow[],
  { view, start }: { readonly view: string; readonly start: number },
): string {
  const empty = `select ${
    types.map(({ name, type }) => `null::${type} as ${quoteIdentifier(name)}`).join(", ")
  } where false`;
  const selects = rows.map(({ repeat = 1, ...cells }) => {
    for (const name of Object.keys(cells)) {
      const known = types.map((type) => type.name);
      if (!known.includes(name)) throw unknown(`column of ${view}`, name, known);
    }
    if (!Number.isInteger(repeat) || Number(repeat) < 0 || Number(repeat) > MOST_REPEATS) {
      throw new UsageError(
        `Cannot repeat a row of "${view}" ${repeat} times: write an integer up to ${MOST_REPEATS}`,
      );
    }
    const values = types.map(({ name, type }) =>
      `${toSql(cells[name] ?? null, { type, start })} as ${quoteIdentifier(name)}`
    );
    return `select ${values.join(", ")} from range(${repeat})`;
  });
  return [empty, ...selects].join("\nunion all ");
}

function toSql(
  value: unknown,
  { type, start }: { readonly type: string; readonly start: number },
): string {
  if (value === null) return `null::${type}`;
  if (typeof value === "object") return `${quoteLiteral(JSON.stringify(value))}::json::${type}`;
  const text = type.startsWith("TIMESTAMP") ? readTime(String(value), start) : String(value);
  return `${quoteLiteral(text)}::${type}`;
}

/** Gives a time as DuckDB reads it. */
function readTime(text: string, start: number): string {
  const [, sign, span] = /^([+-]?)(0|(?:\d+(?:ms|[smhdw]))+)$/.exec(text) ?? [];
  const time = span === undefined
    ? Date.parse(text)
    : start + (sign === "-" ? -1 : 1) * parseDuration(span);
  if (!Number.isNaN(time)) return new Date(time).toISOString().replace("T", " ").replace("Z", "");
  throw new UsageError(
    `Cannot read time "${text}": write one such as 2026-01-31T12:00:00Z, or a span such as -5m`,
  );
}

function unknown(what: string, name: string, known: readonly string[]): UsageError {
  const near = suggest(name, known);
  return new UsageError(
    `Cannot find ${what} "${name}": ${
      near ? `did you mean "${near}"?` : `there are ${known.toSorted().join(", ")}`
    }`,
  );
}
