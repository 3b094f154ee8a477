/**
 * From a request's body to raw rows: the envelope is checked by zod, the cells by hand, since they
 * are many.
 *
 * @module
 */
import { z } from "zod";
import { matrix } from "../numeric/matrix.ts";
import { suggest } from "../runtime/errors.ts";
import type { RawRows } from "../runtime/predict/predictor.ts";
import type { Signature } from "../runtime/registry/signature.ts";
import { type Detail, HttpError } from "./http_error.ts";

const slice = z.string().min(1).max(200)
  // A class of characters that the regular expressions of every client read.
  // deno-lint-ignore no-control-regex
  .regex(/^[^\u0000-\u001f\u007f-\u009f]*$/, "control characters")
  .refine((text) => text.isWellFormed(), "half a character")
  .optional()
  .describe("Part of the world the records come from, such as a well; monitoring compares by it");

const Envelope = z.strictObject({
  records: z.custom<unknown[]>(Array.isArray, "it must be an array of records").optional(),
  columns: z.custom<Record<string, unknown>>(isObject, "it must be an object of arrays").optional(),
  slice,
});

const BatchEnvelope = z.strictObject({
  ...Envelope.shape,
  include_probabilities: z.boolean().default(false).describe(
    "Whether each prediction carries the probability of every class",
  ),
});

/** The parts of a body beside its records, for the OpenAPI document. */
export const bodyOptions = {
  predict: z.strictObject({ slice }),
  batchPredict: z.strictObject({
    slice,
    include_probabilities: BatchEnvelope.shape.include_probabilities,
  }),
};

/** The records of one request. */
export interface Records {
  readonly rows: RawRows;
  readonly rowCount: number;
  /** What the caller sent, `[n, d]` row-major in full precision; `NaN` is missing. */
  readonly values: Float64Array;
  /** Value of the order column `[n]`, when it was sent. */
  readonly order?: Float64Array;
  readonly slice?: string;
  /** What `/batch_predict` was asked for; always true for `/predict`. */
  readonly hasProbabilities: boolean;
}

/** What bounds the records of one request. */
export interface RecordLimits {
  readonly maxRows: number;
  /** Whether the body may carry the options of `/batch_predict`; default false. */
  readonly isBatch?: boolean;
}

/** Where the cells of one column go. */
interface Field {
  readonly name: string;
  /** Index among the inputs, or -1 for the order column alone. */
  readonly input: number;
  readonly isOrder: boolean;
}

/** What a model asks of a record; make it once per model. */
export interface RecordLayout {
  readonly inputs: number;
  readonly fields: readonly Field[];
  readonly names: readonly string[];
  /** Whether windows look along the order column. */
  readonly isOrdered: boolean;
  readonly order: string | null;
}

/** Gives the layout of the records that a model takes. */
export function makeLayout(signature: Signature): RecordLayout {
  const order = signature.order?.column ?? null;
  const fields: Field[] = signature.inputs.map(({ name }, input) => ({
    name,
    input,
    isOrder: name === order,
  }));
  if (order !== null && !fields.some((field) => field.isOrder)) {
    fields.push({ name: order, input: -1, isOrder: true });
  }
  return {
    inputs: signature.inputs.length,
    fields,
    names: fields.map((field) => field.name),
    isOrdered: order !== null && signature.windows.radii.length > 0 &&
      signature.windows.statistics.length > 0,
    order,
  };
}

/**
 * Reads the records of a parsed body, `{records: [{GR: 1.2, …}]}` or `{columns: {GR: [1.2, …]}}`,
 * each with an optional `slice`. `null` is a missing value; an absent key is an error.
 *
 * @throws {HttpError} 422 that names record and field, 413 when there are too many records.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { readRecords } from "./records.ts";
 *
 * const layout = {
 *   inputs: 1,
 *   fields: [{ name: "GR", input: 0, isOrder: false }],
 *   names: ["GR"],
 *   isOrdered: false,
 *   order: null,
 * };
 * const { values } = readRecords({ records: [{ GR: 1.2 }, { GR: null }] }, layout, { maxRows: 2 });
 * assertEquals(values, Float64Array.of(1.2, NaN));
 * ```
 */
export function readRecords(body: unknown, layout: RecordLayout, limits: RecordLimits): Records {
  const envelope = readEnvelope(body, limits.isBatch ?? false);
  const { records, columns } = envelope;
  if ((records === undefined) === (columns === undefined)) {
    throw invalid(
      `Cannot read the body: give ${records ? "only one" : "one"} of "records" and "columns"`,
    );
  }
  const rowCount = records ? records.length : countRows(columns!, layout);
  if (rowCount === 0) throw invalid('Cannot predict "records": there are none; send at least one');
  if (rowCount > limits.maxRows) {
    throw new HttpError(
      `Cannot take ${rowCount} records in one request: the limit is ${limits.maxRows}; send them in parts`,
      "too_large",
    );
  }
  const target = new Cells(rowCount, layout);
  const isRead = records ? target.fillRecords(records) : target.fillColumns(columns!);
  if (!isRead) {
    const details = records
      ? explainRecords(records, layout)
      : explainColumns(columns!, layout, rowCount);
    throw invalid(`Cannot read the body: ${details[0].message}`, details);
  }
  return {
    rows: target.toRows(),
    rowCount,
    values: target.values,
    ...(target.order && target.hasOrder ? { order: target.order } : {}),
    ...(envelope.slice === undefined ? {} : { slice: envelope.slice }),
    hasProbabilities: envelope.include_probabilities ?? true,
  };
}

function readEnvelope(body: unknown, isBatch: boolean): {
  records?: unknown[] | undefined;
  columns?: Record<string, unknown> | undefined;
  slice?: string | undefined;
  include_probabilities?: boolean;
} {
  if (!isObject(body)) {
    throw invalid('Cannot read the body: it must be an object such as {"records": [{…}]}');
  }
  const Schema = isBatch ? BatchEnvelope : Envelope;
  const parsed = Schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const details = parsed.error.issues.map((issue): Detail => {
    if (issue.code !== "unrecognized_keys") {
      return {
        field: issue.path.join("."),
        message: `"${issue.path.join(".")}": ${issue.message}`,
      };
    }
    const [key] = issue.keys;
    const nearest = suggest(key, Object.keys(Schema.shape));
    return {
      field: key,
      message: `unknown key "${key}"` +
        (nearest
          ? `; did you mean "${nearest}"?`
          : `; there are ${Object.keys(Schema.shape).join(", ")}`),
    };
  });
  throw invalid(`Cannot read the body: ${details[0].message}`, details);
}

/** The cells of a request, filled by the form in which it came. */
class Cells {
  readonly values: Float64Array;
  readonly order: Float64Array | null;
  readonly #X: Float32Array;
  readonly #layout: RecordLayout;
  readonly #rowCount: number;
  hasOrder = false;

  constructor(rowCount: number, layout: RecordLayout) {
    this.#rowCount = rowCount;
    this.#layout = layout;
    this.values = new Float64Array(rowCount * layout.inputs);
    this.#X = new Float32Array(rowCount * layout.inputs);
    this.order = layout.order === null ? null : new Float64Array(rowCount);
  }

  toRows(): RawRows {
    const X = matrix(this.#rowCount, this.#layout.inputs, this.#X);
    // One record without a position is a sequence of length one, wherever it lies.
    if (this.#layout.isOrdered) {
      return { X, order: this.hasOrder ? this.order! : new Float64Array(1) };
    }
    return { X };
  }

  /** Whether every cell was in order; {@linkcode explainRecords} says what was not. */
  fillRecords(records: readonly unknown[]): boolean {
    const { fields, isOrdered } = this.#layout;
    let orders = 0;
    for (let i = 0; i < records.length; i++) {
      const record = records[i];
      if (!isObject(record)) return false;
      let taken = 0;
      for (const field of fields) {
        const value = record[field.name];
        if (value === undefined && field.input < 0) continue;
        taken++;
        if (field.isOrder) orders++;
        if (!this.#set(i, field, value)) return false;
      }
      for (const _ in record) taken--;
      if (taken !== 0) return false;
    }
    if (orders > 0 && orders < records.length) return false;
    this.hasOrder = orders > 0;
    return !isOrdered || records.length === 1 || (this.hasOrder && this.#isOrderKnown());
  }

  /** Whether every cell was in order; {@linkcode explainColumns} says what was not. */
  fillColumns(columns: Readonly<Record<string, unknown>>): boolean {
    const { fields, isOrdered } = this.#layout;
    let taken = 0;
    for (const field of fields) {
      const column = columns[field.name];
      if (column === undefined && field.input < 0) continue;
      if (!Array.isArray(column) || column.length !== this.#rowCount) return false;
      taken++;
      if (field.isOrder) this.hasOrder = true;
      for (let i = 0; i < column.length; i++) if (!this.#set(i, field, column[i])) return false;
    }
    if (Object.keys(columns).length !== taken) return false;
    return !isOrdered || this.#rowCount === 1 || (this.hasOrder && this.#isOrderKnown());
  }

  #set(row: number, field: Field, value: unknown): boolean {
    let number: number;
    if (typeof value === "number") {
      number = value;
      // Also refuses what no float32 can hold, which would reach the model as infinity.
      if (!Number.isFinite(Math.fround(number))) return false;
    } else if (value === null) number = NaN;
    else return false;
    if (field.isOrder) this.order![row] = number;
    if (field.input >= 0) {
      const at = row * this.#layout.inputs + field.input;
      this.values[at] = number;
      this.#X[at] = number;
    }
    return true;
  }

  #isOrderKnown(): boolean {
    return !this.order!.some(Number.isNaN);
  }
}

/** A person reads the first few; more would only fill the log. */
const MAX_DETAILS = 10;

function explainRecords(records: readonly unknown[], layout: RecordLayout): Detail[] {
  const details: Detail[] = [];
  const needsOrder = layout.order !== null && records.length > 1 &&
    (layout.isOrdered || records.some((r) => isObject(r) && Object.hasOwn(r, layout.order!)));
  for (let i = 0; i < records.length && details.length < MAX_DETAILS; i++) {
    const record = records[i];
    if (!isObject(record)) {
      details.push({
        record: i,
        message: `record ${i} is ${describeValue(record)}, not an object`,
      });
      continue;
    }
    for (const { name, input, isOrder } of layout.fields) {
      const where = { record: i, field: name };
      if (!Object.hasOwn(record, name)) {
        if (input >= 0 || needsOrder) {
          details.push({
            ...where,
            message: `record ${i} lacks "${name}"; ${missingHint(isOrder)}`,
          });
        }
        continue;
      }
      const problem = explainCell(record[name], isOrder && needsOrder && layout.isOrdered);
      if (problem) details.push({ ...where, message: `record ${i}, "${name}": ${problem}` });
    }
    for (const name of Object.keys(record)) {
      if (layout.names.includes(name)) continue;
      details.push({
        record: i,
        field: name,
        message: `record ${i} has an unknown feature "${name}"; ${unknownHint(name, layout)}`,
      });
    }
  }
  return details.slice(0, MAX_DETAILS);
}

function explainColumns(
  columns: Readonly<Record<string, unknown>>,
  layout: RecordLayout,
  rowCount: number,
): Detail[] {
  const details: Detail[] = [];
  const isOrderNeeded = layout.isOrdered && rowCount > 1;
  for (const { name, input, isOrder } of layout.fields) {
    if (!Object.hasOwn(columns, name)) {
      if (input >= 0 || isOrderNeeded) {
        details.push({
          field: name,
          message: `there is no column "${name}"; ${missingHint(isOrder)}`,
        });
      }
      continue;
    }
    const column = columns[name];
    if (!Array.isArray(column)) {
      details.push({
        field: name,
        message: `column "${name}" is ${describeValue(column)}, not an array`,
      });
    } else if (column.length !== rowCount) {
      const message = `column "${name}" has ${column.length} values where others have ${rowCount}`;
      details.push({ field: name, message });
    } else {
      column.forEach((value, record) => {
        const problem = details.length < MAX_DETAILS &&
          explainCell(value, isOrder && isOrderNeeded);
        if (problem) {
          details.push({ record, field: name, message: `record ${record}, "${name}": ${problem}` });
        }
      });
    }
  }
  for (const name of Object.keys(columns)) {
    if (layout.names.includes(name)) continue;
    details.push({
      field: name,
      message: `unknown column "${name}"; ${unknownHint(name, layout)}`,
    });
  }
  return details.slice(0, MAX_DETAILS);
}

function countRows(columns: Readonly<Record<string, unknown>>, layout: RecordLayout): number {
  const lengths = layout.names.map((name) => columns[name]).filter(Array.isArray)
    .map((column) => column.length);
  if (lengths.length === 0) {
    const details = explainColumns(columns, layout, 1);
    throw invalid(`Cannot read the body: ${details[0].message}`, details);
  }
  return Math.max(...lengths);
}

function explainCell(value: unknown, isNeeded: boolean): string | undefined {
  if (value === null) return isNeeded ? "null; a sequence needs every position" : undefined;
  if (typeof value !== "number") return `${describeValue(value)} where a number or null belongs`;
  if (!Number.isFinite(value)) return "the number is not finite";
  if (!Number.isFinite(Math.fround(value))) return `${value} is too large for float32`;
  return undefined;
}

function missingHint(isOrder: boolean): string {
  return isOrder
    ? "the model looks along it, so more than one record needs it"
    : "send null when the value is unknown";
}

function unknownHint(name: string, layout: RecordLayout): string {
  const nearest = suggest(name, layout.names);
  return nearest ? `did you mean "${nearest}"?` : `the model takes ${layout.names.join(", ")}`;
}

function describeValue(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "string") return `the text ${JSON.stringify(value.slice(0, 40))}`;
  return typeof value === "object" ? "an object" : String(value);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalid(message: string, details?: readonly Detail[]): HttpError {
  return new HttpError(message, "invalid_input", details ? { details } : {});
}
