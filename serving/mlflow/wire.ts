/** The JSON of the MLflow protocol: int64 as numbers or text, NaN and infinities as text. */
import { z } from "zod";
import { invalid } from "../../runtime/tracking/error.ts";
import type { MetricPoint } from "../../runtime/tracking/runs.ts";
import type { Pair } from "../../runtime/tracking/tags.ts";

/** A field of a query may stand there twice; then the last one counts. */
function scalar<T extends z.ZodType>(type: T) {
  return z.preprocess((value) => Array.isArray(value) ? value.at(-1) : value, type);
}

/** A string. */
export const text = scalar(z.string());

/** An integer, as a number or as text. */
export const int64 = scalar(
  z.union([z.number(), z.string().regex(/^-?\d{1,19}$/, "is no integer").transform(Number)])
    .refine(Number.isSafeInteger, "is no integer within 2^53"),
);

/** Milliseconds since 1970, as a date. */
export const time = int64.refine((ms) => ms >= 0 && ms <= 8.64e15, "is no time").transform((ms) =>
  new Date(ms)
);

/** A double, as a number or as text such as `"NaN"`. */
export const double = z.union([
  z.number(),
  z.string().regex(/^(NaN|[-+]?(Infinity|(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?))$/, "is no number")
    .transform(Number),
]);

/** A boolean, as one or as text. */
export const flag = scalar(
  z.union([z.boolean(), z.enum(["true", "false"]).transform((value) => value === "true")]),
);

/** A list, of which a query with one item gives the item alone. */
export function list<T extends z.ZodType>(item: T) {
  return z.preprocess(
    (value) => value === undefined ? [] : Array.isArray(value) ? value : [value],
    z.array(item),
  );
}

/** A list of keys with their texts. */
export const pairs = list(
  z.object({ key: z.string(), value: z.string().default("") }),
) as unknown as z.ZodType<Pair[]>;

/** A number of a model version. */
export const versionNumber = int64.refine(
  (version) => version > 0 && version < 2 ** 31,
  "is no version number",
);

/** A page: most things, and where it begins. */
export function page(byDefault: number, most: number) {
  return {
    max_results: int64.refine(
      (value) => value >= 1 && value <= most,
      `is not between 1 and ${most}`,
    ).default(byDefault),
    page_token: text.optional(),
  };
}

/**
 * Reads the fields of a request.
 * @throws {TrackingError} that names the first wrong one.
 */
export function readFields<S extends z.ZodRawShape>(
  shape: S,
  given: Readonly<Record<string, unknown>>,
): z.output<z.ZodObject<S>> {
  const present = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
  const parsed = z.object(shape).safeParse(present);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const field = issue.path.join(".");
  throw invalid(
    valueAt(present, issue.path) === undefined
      ? `Cannot read the request: "${field}" is missing`
      : `Cannot read the request: "${field}" ${describeIssue(issue.message)}`,
  );
}

/** Gives zod's message as the end of a sentence. */
function describeIssue(message: string): string {
  const state = message.replace(/^Invalid input(: )?/, "").replace(/^Invalid option: /, "");
  if (state === "") return "is of a wrong type or form";
  return /^is /.test(state) ? state : `is wrong: ${state}`;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key],
    value,
  );
}

/**
 * Gives JSON text with NaN and infinities as the text that protocol buffers use.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { writeJson } from "./wire.ts";
 *
 * assertEquals(writeJson({ value: NaN, none: undefined }), '{"value":"NaN"}');
 * ```
 */
export function writeJson(value: unknown): string {
  return JSON.stringify(
    value,
    (_key, plain) => typeof plain === "number" && !Number.isFinite(plain) ? String(plain) : plain,
  );
}

/** Fields of a metric. */
export const metricFields = {
  key: text,
  value: double,
  timestamp: time,
  step: int64.default(0),
  model_id: text.optional(),
  dataset_name: text.optional(),
  dataset_digest: text.optional(),
};

/** Fields of a metric as the store wants them. */
export function toMetric(fields: z.output<z.ZodObject<typeof metricFields>>): MetricPoint {
  return {
    key: fields.key,
    value: fields.value,
    time: fields.timestamp,
    step: fields.step,
    modelId: fields.model_id ?? null,
    datasetName: fields.dataset_name ?? null,
    datasetDigest: fields.dataset_digest ?? null,
  };
}

/** A metric as clients read it. */
export function writeMetric(metric: MetricPoint) {
  return {
    key: metric.key,
    value: metric.value,
    timestamp: metric.time.getTime(),
    step: metric.step,
    model_id: metric.modelId ?? undefined,
    dataset_name: metric.datasetName ?? undefined,
    dataset_digest: metric.datasetDigest ?? undefined,
  };
}
