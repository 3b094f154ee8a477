/**
 * From a body of MLflow's scoring protocol to records: a data frame by columns or records, tensors
 * by rows or columns, or CSV.
 *
 * @see https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/#json-input
 * @module
 */
import { HttpError } from "./http_error.ts";
import { parseJson } from "./json.ts";
import { readRecords, type RecordLayout, type Records } from "./records.ts";

/** The four keys under which a body may carry its records. */
const forms = ["dataframe_split", "dataframe_records", "instances", "inputs"] as const;

/** A body that was understood, before any model has seen it. */
export interface ScoringBody {
  /** Whether to answer the probability of every class, too. */
  readonly hasProbabilities: boolean;
  readonly slice: unknown;
  readonly form: (typeof forms)[number];
  readonly data: unknown;
}

/**
 * Reads a body of JSON, or of CSV with a header line.
 * @throws {HttpError} 400 or 422 when it does not have exactly one of the four forms.
 */
export function parseScoring(text: string, contentType: string | null): ScoringBody {
  if (/^text\/csv\b/i.test(contentType ?? "")) {
    const data = parseCsv(text);
    return { hasProbabilities: false, slice: undefined, form: "dataframe_split", data };
  }
  const body = parseJson(text);
  if (!isObject(body)) throw invalid("it is no object", usage);
  const given = forms.filter((form) => Object.hasOwn(body, form));
  if (given.length !== 1) {
    throw invalid(
      given.length === 0 ? "it has no records" : `it has ${given.join(" and ")}`,
      usage,
    );
  }
  const params = body.params ?? {};
  if (!isObject(params)) {
    throw invalid('"params" is no object', 'give such as {"probabilities": true}');
  }
  const { probabilities = false, slice } = params;
  if (typeof probabilities !== "boolean") {
    throw invalid('"params.probabilities" is no boolean', "give true or false");
  }
  return { hasProbabilities: probabilities, slice, form: given[0], data: body[given[0]] };
}

const usage = `give exactly one of ${forms.join(", ")}`;

/**
 * Gives the records of a body for one model. Values without names are in the order of the signature.
 * @throws {HttpError} as {@linkcode readRecords}, and 422 when the form is not as it should be.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseScoring, readScoring } from "./scoring_body.ts";
 *
 * const layout = {
 *   inputs: 1,
 *   fields: [{ name: "GR", input: 0, isOrder: false }],
 *   names: ["GR"],
 *   isOrdered: false,
 *   order: null,
 * };
 * for (const body of ['{"inputs": {"GR": [1, 2]}}', '{"instances": [[1], [2]]}']) {
 *   const { values } = readScoring(parseScoring(body, null), layout, 10);
 *   assertEquals(values, Float64Array.of(1, 2));
 * }
 * ```
 */
export function readScoring(body: ScoringBody, layout: RecordLayout, maxRows: number): Records {
  const { form, data, slice } = body;
  const records = form === "dataframe_split"
    ? readSplit(data, layout)
    : readRows(form, data, layout);
  return readRecords({ ...records, ...(slice === undefined ? {} : { slice }) }, layout, {
    maxRows,
  });
}

type Body = { records: unknown[] } | { columns: Record<string, unknown> };

function readSplit(data: unknown, layout: RecordLayout): Body {
  if (!isObject(data) || !Array.isArray(data.data)) {
    throw invalid('"dataframe_split" is no data frame', 'give {"columns": […], "data": [[…], …]}');
  }
  const { columns } = data;
  if (columns !== undefined && !isNames(columns)) {
    throw invalid('"dataframe_split.columns" are no different names', "give an array of texts");
  }
  return toColumns("dataframe_split.data", data.data, { layout, names: columns });
}

function readRows(form: string, data: unknown, layout: RecordLayout): Body {
  if (form === "inputs" && isObject(data)) {
    return {
      columns: Object.fromEntries(Object.entries(data).map(([name, c]) => [name, toColumn(c)])),
    };
  }
  if (!Array.isArray(data)) {
    throw invalid(
      `"${form}" is no array`,
      form === "inputs" ? "give rows, or an object of columns" : "give one entry for each record",
    );
  }
  if (form === "dataframe_records" || data.length === 0 || isObject(data[0])) {
    return { records: data };
  }
  // A model of one column takes its values without brackets, too.
  const rows = layout.fields.length === 1 ? data.map((v) => Array.isArray(v) ? v : [v]) : data;
  return toColumns(form, rows, { layout });
}

/** Gives the columns of rows whose values stand in the order of `names`, else of the signature. */
function toColumns(
  what: string,
  rows: readonly unknown[],
  options: { readonly layout: RecordLayout; readonly names?: readonly string[] | undefined },
): Body {
  const { layout } = options;
  const width = Array.isArray(rows[0]) ? rows[0].length : 0;
  const names = options.names ??
    (width === layout.inputs ? layout.names.slice(0, width) : layout.names);
  const columns = names.map(() => new Array<unknown>(rows.length));
  rows.forEach((row, i) => {
    if (!Array.isArray(row) || row.length !== names.length) {
      throw invalid(
        `"${what}" has ${Array.isArray(row) ? `${row.length} values` : "no array"} in row ${i}`,
        `give ${names.length}: ${names.slice(0, 20).join(", ")}`,
      );
    }
    row.forEach((value, j) => columns[j][i] = value);
  });
  return { columns: Object.fromEntries(names.map((name, j) => [name, columns[j]])) };
}

/** A column as a tensor: one value, `[n]` or `[n, 1]`. */
function toColumn(column: unknown): unknown {
  if (!Array.isArray(column)) return [column];
  return column.map((value) => Array.isArray(value) && value.length === 1 ? value[0] : value);
}

/** What a data frame's reader takes for a missing value. */
const MISSING = /^(|nan|null|na|n\/a|none|<na>)$/i;

const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

/**
 * Gives the data frame of CSV text with a header line. Names and numbers may be quoted, but hold no
 * comma.
 *
 * @throws {HttpError} 422 that names the line.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseCsv } from "./scoring_body.ts";
 *
 * assertEquals(parseCsv('"GR",RHOB\n1.5,\n'), { columns: ["GR", "RHOB"], data: [[1.5, null]] });
 * ```
 */
export function parseCsv(text: string): { columns: string[]; data: (number | null)[][] } {
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  while (lines.length > 1 && lines.at(-1) === "") lines.pop();
  const columns = lines[0].split(",").map((name) => unquote(name.trim()));
  const data = lines.slice(1).map((line, i) => {
    const cells = line.split(",");
    if (cells.length !== columns.length) {
      throw invalid(
        `line ${i + 2} of the CSV has ${cells.length} values`,
        `give ${columns.length} as in the header`,
      );
    }
    return cells.map((cell) => {
      const value = unquote(cell.trim());
      if (MISSING.test(value)) return null;
      if (NUMBER.test(value)) return Number(value);
      throw invalid(
        `line ${i + 2} of the CSV has ${JSON.stringify(value.slice(0, 40))}`,
        "give a number, or nothing when it is unknown",
      );
    });
  });
  return { columns, data };
}

function unquote(cell: string): string {
  return /^".*"$/.test(cell) ? cell.slice(1, -1).replaceAll('""', '"') : cell;
}

function isNames(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((name) => typeof name === "string") &&
    new Set(value).size === value.length;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalid(state: string, wayOut: string): HttpError {
  return new HttpError(`Cannot read the body: ${state}; ${wayOut}`, "invalid_input");
}
