/**
 * What an alert's query says now: its rows as findings and series.
 *
 * @module
 */
import type { Alert, Finding, Plugin, Threshold, ThresholdColumn } from "../../plugins/plugin.ts";
import { describeError } from "../errors.ts";
import { quoteIdentifier } from "../store/sql.ts";
import type { Database, ReadLimits } from "../store/store.ts";
import type { Labels, Observation, SeenSeries } from "./state.ts";
import { holds, ROWS, THRESHOLD, VALUE } from "./threshold.ts";

/** Most findings one evaluation keeps, and most series of one alert. */
export const MAX_FINDINGS = 100;

/** Most rows that are compared with a threshold one by one. */
const MAX_COMPARED = 10_000;

/** Rows of one evaluation. */
export interface Seen {
  readonly observation: Observation;
  readonly findings: readonly Finding[];
  /** Findings there were, counted to one past the limit. */
  readonly findingCount: number;
}

/** Runs an alert's query. Never throws: what went wrong is an observation of its own. */
export async function observe(
  database: Pick<Database, "queryReadOnly">,
  alert: Plugin<"alert">,
  limits: ReadLimits,
): Promise<Seen> {
  try {
    const { rows, isTruncated } = await readRows(database, alert, limits);
    if (rows.length === 0) return seeNothing(alert);
    const { threshold } = alert;
    const speaking = threshold ? rows.filter((row) => holds(threshold, row)) : rows;
    const shown = speaking.slice(0, MAX_FINDINGS);
    const findings = shown.map((row) => toFinding(alert, row));
    return {
      observation: { kind: "rows", series: toSeries(alert, shown, findings) },
      findings,
      findingCount: Math.min(speaking.length + (isTruncated ? 1 : 0), MAX_FINDINGS + 1),
    };
  } catch (error) {
    const [reason] = describeError(error).split("\n");
    return { observation: { kind: "error", reason }, findings: [], findingCount: 0 };
  }
}

type Cells = Readonly<Record<string, unknown>>;

async function readRows(
  database: Pick<Database, "queryReadOnly">,
  alert: Alert,
  limits: ReadLimits,
): Promise<{ readonly rows: Cells[]; readonly isTruncated: boolean }> {
  const maxRows = alert.threshold ? MAX_COMPARED : MAX_FINDINGS;
  const result = await database.queryReadOnly(toQuery(alert), { ...limits, maxRows });
  const { columns, isTruncated } = result;
  if (isTruncated && alert.threshold) {
    throw new RangeError(
      `Cannot compare the rows with the threshold: there are more than ${MAX_COMPARED}; aggregate them`,
    );
  }
  for (const name of [...alert.groupBy ?? [], ...namesOf(alert.threshold)]) {
    if (!columns.includes(name)) {
      throw new RangeError(
        `Cannot find column "${name}" in the rows: there are ${columns.join(", ")}`,
      );
    }
  }
  const rows = result.rows.map((row) =>
    Object.fromEntries(columns.map((name, j) => [name, row[j]]))
  );
  // An aggregate of nothing is a row, too; and a null is no number that could be past a threshold.
  const known = rows.filter((row) => row[ROWS] !== 0 || !isAggregate(alert))
    .filter((row) => hasNumber(alert.threshold, row));
  return { rows: known, isTruncated };
}

function isAggregate({ threshold }: Alert): boolean {
  return threshold?.aggregation !== undefined;
}

function hasNumber(threshold: Threshold | undefined, row: Cells): boolean {
  if (!threshold || threshold.operator === "IS_NULL" || threshold.operator === "IS_NOT_NULL") {
    return true;
  }
  return (row[threshold.aggregation === undefined ? threshold.column : VALUE] ?? null) !== null;
}

/** Columns that a threshold reads row by row. */
function namesOf(threshold: Threshold | undefined): string[] {
  if (!threshold) return [];
  if (threshold.aggregation !== undefined) return [VALUE, THRESHOLD];
  const { value } = threshold;
  return [threshold.column, ...typeof value === "object" ? [value.column] : []];
}

/** The query as it runs: DuckDB computes the aggregate, over all rows. */
function toQuery(alert: Alert): string {
  const { threshold, sql, groupBy = [] } = alert;
  if (!threshold || !isAggregate(alert)) return sql;
  const other = typeof threshold.value === "object" ? toAggregate(threshold.value) : "null";
  const keys = groupBy.map((name) => quoteIdentifier(name));
  return `select ${keys.map((key) => `${key}, `).join("")}${toAggregate(threshold)} as "${VALUE}",
    ${other} as "${THRESHOLD}", count(*) as "${ROWS}" from (\n${sql}\n)
    ${keys.length > 0 ? "group by all order by all" : ""}`;
}

const functions = {
  SUM: "sum",
  COUNT: "count",
  AVG: "avg",
  MEDIAN: "median",
  MIN: "min",
  MAX: "max",
  STDDEV: "stddev",
} as const;

function toAggregate({ column, aggregation }: ThresholdColumn): string {
  const name = quoteIdentifier(column);
  if (aggregation === "COUNT_DISTINCT") return `count(distinct ${name})`;
  return `${aggregation === undefined ? "first" : functions[aggregation]}(${name})`;
}

function seeNothing(alert: Plugin<"alert">): Seen {
  const message = `${alert.summary}: the query gave no row`;
  const nothing = { findings: [], findingCount: 0 };
  switch (alert.empty) {
    case "ok":
      return { observation: { kind: "rows", series: [] }, ...nothing };
    case "no_data":
      return { observation: { kind: "no_data" }, ...nothing };
    case "error":
      return { observation: { kind: "error", reason: "the query gave no row" }, ...nothing };
    case "firing":
      return {
        observation: {
          kind: "rows",
          series: [{ series: "", labels: labelsOf(alert, {}), value: null, message }],
        },
        findings: [{ check: `alert:${alert.name}`, severity: alert.severity, message }],
        findingCount: 1,
      };
  }
}

/** One series per label set; several rows of one label set are one series. */
function toSeries(
  alert: Plugin<"alert">,
  rows: readonly Cells[],
  findings: readonly Finding[],
): SeenSeries[] {
  const series = new Map<string, SeenSeries & { readonly count: number }>();
  rows.forEach((row, i) => {
    const { name, labels } = identify(alert, row);
    const first = series.get(name);
    series.set(
      name,
      first ? { ...first, count: first.count + 1 } : {
        series: name,
        labels: labelsOf(alert, labels),
        value: valueOf(alert, row),
        message: findings[i].message,
        count: 1,
      },
    );
  });
  return [...series.values()].map(({ count, ...rest }) =>
    count === 1 ? rest : { ...rest, message: `${rest.message} (and ${count - 1} more)` }
  );
}

function identify(
  { groupBy, threshold }: Alert,
  row: Cells,
): { readonly name: string; readonly labels: Labels } {
  if (groupBy) {
    const labels = Object.fromEntries(groupBy.map((name) => [name, String(row[name])]));
    const name = groupBy.map((key) => `${key}=${JSON.stringify(labels[key])}`).join(",");
    return { name, labels };
  }
  const subject = threshold?.aggregation === undefined ? row.subject : undefined;
  return typeof subject === "string"
    ? { name: subject, labels: { subject } }
    : { name: "", labels: {} };
}

/** The labels that matchers see: a series' own, the header's, the name and the severity. */
export function labelsOf(alert: Plugin<"alert">, own: Labels): Labels {
  return { ...own, ...alert.labels, alert: alert.name, severity: alert.severity };
}

function valueOf({ threshold }: Alert, row: Cells): number | string | null {
  const name = threshold === undefined
    ? "value"
    : threshold.aggregation === undefined
    ? threshold.column
    : VALUE;
  const value = row[name];
  return typeof value === "number" || typeof value === "string" ? value : null;
}

/** A row becomes a sentence: its `message` column, else its columns by name. */
function toFinding(alert: Plugin<"alert">, row: Cells): Finding {
  const { message, subject } = row;
  const text = typeof message === "string" && message !== ""
    ? message
    : Object.entries(row).filter(([name]) => name !== "message")
      .map(([name, value]) => `${name} = ${formatCell(value)}`).join(", ") || alert.summary;
  return {
    check: `alert:${alert.name}`,
    severity: alert.severity,
    message: text,
    ...(typeof subject === "string" ? { subject } : {}),
    rows: [row],
  };
}

function formatCell(value: unknown): string {
  if (typeof value === "number" && !Number.isInteger(value)) return value.toPrecision(4);
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}
