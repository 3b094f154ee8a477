/** What a shadow version said of a request, beside what was answered. */
import { UsageError } from "../../runtime/errors.ts";
import type { Step } from "../../runtime/store/store.ts";
import type { RecordLayout, Records } from "../records.ts";
import type { ServedModel, ServedPrediction } from "../served_model.ts";
import type { Mirrored } from "./shadow.ts";

/** One record that both versions predicted. */
export interface ShadowRow {
  readonly label: string;
  readonly probabilities: readonly number[];
  readonly isAgreed: boolean;
  /** Largest difference of a class's probability, in `[0, 1]`; a class that one lacks has 0 there. */
  readonly maxDifference: number;
}

/** One request that was mirrored. */
export interface ShadowedRows {
  readonly mirrored: Mirrored;
  /** `null` when it could not be loaded. */
  readonly version: number | null;
  readonly ms: number;
  readonly error: string | null;
  /** `null` when there is an error. */
  readonly rows: readonly ShadowRow[] | null;
}

/**
 * Gives the records of a request as the shadow takes them.
 * @throws {UsageError} when it takes other columns, or a position that the request does not have.
 */
export function toShadowRows(
  { champion, records }: Mirrored,
  layout: RecordLayout,
): Records {
  const inputs = (of: RecordLayout) =>
    of.fields.filter(({ input }) => input >= 0).map(({ name }) => name);
  const [sent, taken] = [inputs(champion.layout), inputs(layout)];
  if (sent.join("\n") !== taken.join("\n")) {
    throw new UsageError(
      `Cannot mirror the request: it has ${sent.join(", ")} and the shadow takes ${
        taken.join(", ")
      }`,
    );
  }
  const { rows: { X }, order, rowCount } = records;
  if (!layout.isOrdered) return { ...records, rows: { X } };
  const isKnown = order !== undefined && layout.order === champion.layout.order;
  if (!isKnown && rowCount > 1) {
    throw new UsageError(
      `Cannot mirror the request: it has no "${layout.order}", along which the shadow looks`,
    );
  }
  return { ...records, rows: { X, order: isKnown ? order : new Float64Array(1) } };
}

/** Compares the shadow's prediction with what was answered, record by record and class by class. */
export function compareRows(
  mirrored: Mirrored,
  shadow: Pick<ServedModel, "version" | "signature">,
  { prediction, ms }: { readonly prediction: ServedPrediction; readonly ms: number },
): ShadowedRows {
  const { champion, prediction: answered } = mirrored;
  const names = champion.signature.classes;
  const others = shadow.signature.classes;
  const all = [...new Set([...names, ...others])].map((name) => [
    names.indexOf(name),
    others.indexOf(name),
  ]);
  const rows = Array.from(prediction.labels, (label, i): ShadowRow => {
    const a = rowOf(answered.probabilities, i);
    const b = rowOf(prediction.probabilities, i);
    return {
      label: others[label],
      probabilities: Array.from(b),
      isAgreed: others[label] === names[answered.labels[i]],
      maxDifference: Math.max(...all.map(([j, k]) => Math.abs((a[j] ?? 0) - (b[k] ?? 0)))),
    };
  });
  return { mirrored, version: shadow.version.version, ms, error: null, rows };
}

function rowOf({ data, cols }: ServedPrediction["probabilities"], i: number): Float32Array {
  return data.subarray(i * cols, (i + 1) * cols);
}

/** Gives the step that writes requests to `core.shadow_inferences`. */
export function toStep(shadowed: readonly ShadowedRows[]): Step {
  const cells = shadowed.flatMap(({ mirrored, version, ms, error, rows }) => {
    const { champion, prediction: { labels } } = mirrored;
    return Array.from(labels, (label, row) => ({
      request_id: mirrored.requestId,
      row,
      request_time: mirrored.time,
      model: champion.version.model,
      champion_version: champion.version.version,
      shadow_version: version,
      champion_label: champion.signature.classes[label],
      shadow_label: rows?.[row].label ?? null,
      probabilities: rows?.[row].probabilities ?? null,
      is_agreed: rows?.[row].isAgreed ?? null,
      max_difference: rows?.[row].maxDifference ?? null,
      ms,
      error,
    }));
  });
  type Cell = (typeof cells)[number];
  const columns = (Object.keys(cells[0]) as (keyof Cell)[]).map((name) => [
    name,
    cells.map((cell) => cell[name]),
  ]);
  return { append: "core.shadow_inferences", columns: Object.fromEntries(columns) };
}
