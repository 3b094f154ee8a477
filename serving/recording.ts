/**
 * What of a request is kept: its metadata always, its records and its bodies as the config says, and
 * never the fields that are to be redacted.
 *
 * @module
 */
import { z } from "zod";
import type { InferenceRows, Payload, RequestRow } from "../runtime/inference/inference_log.ts";
import { hashToBucket } from "./traffic/buckets.ts";

const Share = z.number().min(0).max(1);

/** One share for every model, or shares by the model's name; a model that is left out has the default. */
const ShareByModel = z.union([Share, z.record(z.string(), Share)]);

/** Parses what is kept of requests; `RecordingParams.parse({})` keeps every record and no body. */
export const RecordingParams = z.strictObject({
  records: ShareByModel.default(1).describe(
    "Share of the requests whose records are rows of the inference table: a number, or one by model",
  ),
  payloads: ShareByModel.default(0).describe(
    "Share of the requests whose bodies are kept as they came and went: a number, or one by model",
  ),
  maxPayloadBytes: z.int().positive().default(64 * 2 ** 10).describe(
    "Largest body that is kept; of a larger one the size is, and why it is missing",
  ),
  redact: z.array(z.string().min(1)).default([]).describe(
    "Inputs and JSON fields whose values are never kept",
  ),
});

/** Parsed {@linkcode RecordingParams}. */
export type RecordingParams = z.infer<typeof RecordingParams>;

/** What stands in a body for a value that was redacted. */
const REDACTED = "[redacted]";

/** Forms of a body whose values have names, so that a name finds all of them. */
const namedForms = ["records", "dataframe_records", "dataframe_split"];

/** What was said in a request, as its handler leaves it. */
export interface Said {
  readonly requestId: string;
  readonly model: string;
  /** Columns of the features. */
  readonly inputs: readonly { readonly name: string }[];
  /** Name of the order column, where there is one. */
  readonly order: string | undefined;
  readonly inferences: InferenceRows | null;
  /** Body as it came, text or bytes; `null` when it was not read as a whole. */
  readonly request: string | Uint8Array | null;
  readonly response: string | Uint8Array;
  /** What was wrong with it. */
  readonly error: string | null;
}

/** What is kept of a request. */
export type Kept =
  & Required<Pick<RequestRow, "samplingFraction" | "redacted" | "payload" | "error">>
  & { readonly inferences: InferenceRows | null };

/** Decides what is kept. The same request id is always decided alike. */
export class Recording {
  readonly #params: RecordingParams;
  readonly #redact: ReadonlySet<string>;
  readonly #isPlain: boolean;

  constructor(params: RecordingParams) {
    this.#params = params;
    this.#redact = new Set(params.redact);
    this.#isPlain = params.records === 1 && params.payloads === 0 && params.redact.length === 0;
  }

  /** Gives what is kept of a request that a model was asked for. */
  keep(said: Said): Kept {
    // The default costs a request nothing.
    if (this.#isPlain) {
      const { inferences, error } = said;
      return { inferences, samplingFraction: 1, redacted: null, payload: null, error };
    }
    const samplingFraction = shareOf(this.#params.records, said.model, 1);
    const isKept = isSampled("records", said.requestId, samplingFraction);
    const inferences = isKept && said.inferences ? this.#redactRows(said) : null;
    return {
      inferences,
      samplingFraction,
      redacted: this.#redactedInputs(said),
      payload: this.#keepPayload(said),
      error: this.#redactError(said.error),
    };
  }

  /** Keeps no sentence that names a redacted field: its value could stand beside it. */
  #redactError(error: string | null): string | null {
    const name = error === null
      ? undefined
      : this.#params.redact.find((one) => error.includes(one));
    return name === undefined ? error : `${REDACTED}: it names "${name}"`;
  }

  #redactedInputs({ inputs, order }: Said): string[] | null {
    const names = [...inputs.map(({ name }) => name), ...(order === undefined ? [] : [order])]
      .filter((name) => this.#redact.has(name));
    return names.length === 0 ? null : names;
  }

  #redactRows({ inferences, inputs, order }: Said): InferenceRows {
    const rows = inferences!;
    const columns = inputs.flatMap(({ name }, j) => this.#redact.has(name) ? [j] : []);
    const isOrderKept = order === undefined || !this.#redact.has(order);
    if (columns.length === 0 && isOrderKept) return rows;
    const features = rows.features.slice();
    for (let at = 0; at < features.length; at += inputs.length) {
      for (const j of columns) features[at + j] = NaN;
    }
    const { order: positions, ...rest } = rows;
    return { ...rest, features, ...(isOrderKept && positions ? { order: positions } : {}) };
  }

  #keepPayload(said: Said): Payload | null {
    const fraction = shareOf(this.#params.payloads, said.model, 0);
    if (fraction === 0 || !isSampled("payloads", said.requestId, fraction)) return null;
    const errors: string[] = [];
    const request = said.request === null
      ? null
      : this.#keepBody(said.request, { name: "REQUEST", isNamed: false, errors });
    // The sentences of a refusal name fields, but not where their values are.
    const isNamed = this.#redactError(said.error) === said.error;
    const response = this.#keepBody(said.response, { name: "RESPONSE", isNamed, errors });
    return { request, response, errors, fraction };
  }

  #keepBody(
    body: string | Uint8Array,
    { name, isNamed, errors }: {
      readonly name: string;
      readonly isNamed: boolean;
      readonly errors: string[];
    },
  ): string | null {
    // The length of a text in bytes is at least its length.
    if (body.length > this.#params.maxPayloadBytes) {
      errors.push(`MAX_${name}_SIZE_EXCEEDED`);
      return null;
    }
    const text = typeof body === "string" ? body : decode(body);
    if (text === null) errors.push(`BINARY_${name}`);
    if (text === null || this.#redact.size === 0) return text;
    const redacted = this.#redactText(text, isNamed);
    if (redacted === null) errors.push(`${name}_NOT_REDACTABLE`);
    return redacted;
  }

  /** Gives the text without the redacted values, `null` when these cannot be told by name. */
  #redactText(text: string, isNamed: boolean): string | null {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return null;
    }
    if (typeof value !== "object" || value === null) return null;
    if (!isNamed && !namedForms.some((form) => form in value)) return null;
    return JSON.stringify(this.#redactValue(value));
  }

  #redactValue(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((item) => this.#redactValue(item));
    if (typeof value !== "object" || value === null) return value;
    const record = value as Record<string, unknown>;
    const { columns, data } = record;
    if (Array.isArray(columns) && Array.isArray(data)) {
      return { ...record, data: data.map((row) => this.#redactCells(row, columns)) };
    }
    return Object.fromEntries(
      Object.entries(record).map(([key, inner]) => [
        key,
        this.#redact.has(key) ? REDACTED : this.#redactValue(inner),
      ]),
    );
  }

  #redactCells(row: unknown, columns: readonly unknown[]): unknown {
    if (!Array.isArray(row)) return REDACTED;
    return row.map((cell, j) => this.#redact.has(String(columns[j])) ? REDACTED : cell);
  }
}

function shareOf(
  shares: z.infer<typeof ShareByModel>,
  model: string,
  otherwise: number,
): number {
  return typeof shares === "number" ? shares : shares[model] ?? otherwise;
}

function isSampled(what: string, requestId: string, share: number): boolean {
  return share >= 1 || hashToBucket(what, requestId) < share * 10_000;
}

function decode(bytes: Uint8Array): string | null {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    // Tensors can be valid UTF-8 by chance, but hold NUL as no JSON does.
    return text.includes("\0") ? null : text;
  } catch {
    return null;
  }
}
