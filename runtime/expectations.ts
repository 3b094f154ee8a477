/**
 * The quality gate: what every group of rows must hold, with a severity, and the rows that break it.
 *
 * @module
 */
import { z } from "zod";
import type { Finding } from "../plugins/plugin.ts";
import { UsageError } from "./errors.ts";
import { quoteIdentifier, quoteLiteral } from "./store/sql.ts";
import type { Database } from "./store/store.ts";

/** One expectation, as the config writes it. */
export const expectationSchema = z.strictObject({
  check: z.enum(["not_null", "in_range", "increasing", "unique", "min_rows", "has_columns"])
    .describe("What every group must hold"),
  column: z.string().optional().describe("The column it is about"),
  columns: z.array(z.string()).optional().describe("The columns that has_columns asks for"),
  mostly: z.number().min(0).max(1).default(1).describe("Share of the values that must hold"),
  min: z.number().optional().describe("Smallest value (in_range) or number of rows (min_rows)"),
  max: z.number().optional().describe("Largest value (in_range); default: the feature's range"),
  severity: z.enum(["warning", "error"]).describe(
    "warning reports; error stops on training rows and quarantines a group of production rows",
  ),
});

/** What every group of rows must hold. */
export type Expectation = z.infer<typeof expectationSchema>;

/** Rows to judge: a `SELECT` with `_source`, `_row`, `_order` and the group `_key`. */
export interface JudgedRows {
  readonly select: string;
  /** SQL of each column that an expectation may name, by lower-case name. */
  readonly columns: ReadonlyMap<string, string>;
  /** Declared range by lower-case name, for `in_range` without bounds. */
  readonly ranges: ReadonlyMap<string, readonly [number, number]>;
}

/** One group that breaks an expectation. */
export interface Failure {
  readonly expectation: Expectation;
  /** The group, which is its `_key`. */
  readonly group: string;
  /** Rows of the group. */
  readonly rows: number;
  /** What is wrong, as the end of a sentence that begins with the group. */
  readonly state: string;
  /** Up to five offending rows, when single rows offend. */
  readonly shown?: NonNullable<Finding["rows"]>;
}

/**
 * Gives the offending rows of a failure as words for a terminal, or nothing when it shows none.
 *
 * @param order Name of the order column, whose value then stands with each row.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { describeShown } from "./expectations.ts";
 *
 * const shown = [{ _source: "a.csv", _row: 4, _order: 12.5, gr: -5 }, { _row: 6, gr: null }];
 * assertEquals(describeShown(shown, "depth"), "a.csv row 5 (depth 12.5): gr = -5, row 7: gr is missing");
 * ```
 */
export function describeShown(shown: Failure["shown"] = [], order?: string): string {
  return shown.map(({ _source, _row, _order, ...values }) => {
    const place = [_source, `row ${Number(_row) + 1}`].filter(Boolean).join(" ");
    const at = order === undefined || _order === null || _order === undefined
      ? ""
      : ` (${order} ${_order})`;
    const cells = Object.entries(values).filter(([name]) => name !== order).map(([name, value]) =>
      value === null ? `${name} is missing` : `${name} = ${value}`
    );
    return `${place}${at}${cells.length > 0 ? `: ${cells.join(", ")}` : ""}`;
  }).join(", ");
}

/** Offending rows shown with a failure. */
const SHOWN_ROWS = 5;

/**
 * Judges every group of the rows; an empty list means that all expectations hold.
 *
 * Missing values offend `not_null` only; `in_range`, `unique` and `increasing` skip them.
 * `increasing` looks at the rows of a group and source in the order of the file.
 *
 * @throws {UsageError} when an expectation lacks its column or its bounds.
 */
export async function findFailures(
  store: Database,
  rows: JudgedRows,
  expectations: readonly Expectation[],
): Promise<Failure[]> {
  const failures: Failure[] = [];
  for (const expectation of expectations) {
    if (expectation.check === "min_rows") {
      failures.push(...await countRows(store, rows, expectation));
    } else if (expectation.check === "has_columns") {
      failures.push(...await findMissing(store, rows, expectation));
    } else failures.push(...await judgeValues(store, rows, expectation));
  }
  return failures;
}

async function countRows(
  store: Database,
  { select }: JudgedRows,
  expectation: Expectation,
): Promise<Failure[]> {
  const least = expectation.min ?? 1;
  const groups = await store.query<{ group: string; rows: number }>(
    `select _key as "group", count(*) as rows from (${select}) group by 1
     having count(*) < ${quoteLiteral(least)} order by 1`,
  );
  return groups.map((group) => ({
    expectation,
    ...group,
    state: `has ${group.rows} rows and needs ${least}`,
  }));
}

/** A column counts as there when the group has at least one value of it. */
async function findMissing(
  store: Database,
  { select, columns }: JudgedRows,
  expectation: Expectation,
): Promise<Failure[]> {
  const names = [...expectation.column ? [expectation.column] : [], ...expectation.columns ?? []];
  if (names.length === 0) fail(expectation, "it names no column; set columns");
  const counts = names.map((name, j) => `count(${findSql(columns, name)}) as c${j}`);
  const groups = await store.query<Record<string, number | string>>(
    `select _key, count(*) as rows, ${counts.join(", ")} from (${select}) group by 1 order by 1`,
  );
  return groups.flatMap((group) => {
    const missing = names.filter((_, j) => group[`c${j}`] === 0);
    if (missing.length === 0) return [];
    const state = `has no value of ${missing.join(", ")}`;
    return [{ expectation, group: String(group._key), rows: Number(group.rows), state }];
  });
}

async function judgeValues(
  store: Database,
  rows: JudgedRows,
  expectation: Expectation,
): Promise<Failure[]> {
  const { mostly, check, column } = expectation;
  if (!column) fail(expectation, "it names no column; set column");
  const value = findSql(rows.columns, column);
  const bounds = check === "in_range" ? findBounds(rows, expectation) : undefined;
  const judged = `select *, ${selectVerdict(check, value, bounds)} as _holds from (${rows.select})`;
  const groups = await store.query<{ group: string; rows: number; judged: number; bad: number }>(
    `select _key as "group", count(*) as rows, count(_holds) as judged,
      count(*) filter (not _holds) as bad from (${judged}) group by 1 order by 1`,
  );
  const failures: Failure[] = [];
  for (const { group, rows, judged: count, bad } of groups) {
    if (bad === 0 || (count - bad) / count >= mostly) continue;
    const what = bounds ? `${check} [${bounds.join(", ")}]` : check;
    failures.push({
      expectation,
      group,
      rows,
      state: `breaks "${what}": ${bad} of ${count} values of ${column} offend, ${
        percent((count - bad) / count)
      } hold and ${percent(mostly)} must`,
      shown: await store.query(
        `select _source, _row, _order, ${value} as ${quoteIdentifier(column)} from (${judged})
         where _key = ? and not _holds order by _source, _row limit ${SHOWN_ROWS}`,
        [group],
      ),
    });
  }
  return failures;
}

function percent(share: number): string {
  return `${Number((100 * share).toFixed(1))} %`;
}

/** SQL that is true for a row that holds, false for one that offends, null for one it skips. */
function selectVerdict(
  check: Expectation["check"],
  value: string,
  bounds: readonly [number, number] | undefined,
): string {
  if (bounds) {
    const [low, high] = bounds.map((bound) =>
      Number.isFinite(bound) ? quoteLiteral(bound) : `'${bound}'::double`
    );
    return `${value} between ${low} and ${high}`;
  }
  if (check === "unique") {
    return `case when ${value} is not null then count(*) over (partition by _key, ${value}) = 1 end`;
  }
  if (check === "increasing") {
    const before = `lag(${value}) over (partition by _key, _source order by _row)`;
    return `case when ${before} is not null then ${value} > ${before} end`;
  }
  return `${value} is not null`;
}

function findSql(columns: JudgedRows["columns"], name: string): string {
  const sql = columns.get(name.toLowerCase());
  if (sql !== undefined) return sql;
  throw new UsageError(
    `Cannot check column "${name}": the rows have ${[...columns.keys()].join(", ")}`,
  );
}

function findBounds({ ranges }: JudgedRows, expectation: Expectation): [number, number] {
  const { column = "", min, max } = expectation;
  const range = ranges.get(column.toLowerCase());
  if (min === undefined && max === undefined && range === undefined) {
    fail(expectation, "it has no bounds; set min or max, or the range of the feature");
  }
  return [min ?? range?.[0] ?? -Infinity, max ?? range?.[1] ?? Infinity];
}

function fail({ check, column }: Expectation, state: string): never {
  throw new UsageError(
    `Cannot check expectation "${check}${column ? ` ${column}` : ""}": ${state}`,
  );
}
