/**
 * Predictions of known truth, made from the rows that training held out: every second one with its true
 * label, the others with another class in its place. Each row has a number by the seed: those below one
 * half measure judges (cards), the others teach them (`known()`, canaries), so that no judge is measured
 * on what it has learned from.
 *
 * @module
 */
import { Random } from "../../numeric/random.ts";
import type { KnownInference } from "../../plugins/plugin.ts";
import type { Store } from "../../runtime/store/store.ts";

/** Which rows to take. */
export interface CaseOptions {
  readonly model: string;
  readonly version: number;
  /** Most of them. */
  readonly count: number;
  /** What the rows are for. */
  readonly half: "measure" | "teach";
  /** Draws other rows of the half; the same one draws the same. */
  readonly seed?: string;
}

interface HeldOutRow extends Record<string, unknown> {
  readonly position: number;
  readonly features: readonly (number | null)[];
  readonly class: number;
  readonly probabilities: readonly number[];
  readonly input_names: readonly string[];
  readonly class_names: readonly string[];
}

/** The number of a held-out row, `[0, 1)`. */
const HALF = "('0x' || substr(md5('half:' || position), 1, 8))::ubigint / 4294967296.0";

/** Gives cases; none when the store has no held-out rows of the version, or it has one class alone. */
export async function makeCases(
  store: Store,
  { model, version, count, half, seed = "" }: CaseOptions,
): Promise<KnownInference[]> {
  const rows = await store.query<HeldOutRow>(
    `select h.position, h.features, h.class, h.probabilities, v.input_names, v.class_names
     from core.held_out_predictions h
     join core.model_versions v on h.predictions = (v.report->'predictions'->>'predictions')
     where v.model = ? and v.version = ? and len(v.class_names) > 1
       and ${HALF} ${half === "measure" ? "<" : ">="} 0.5
     order by md5(? || ':' || h.position), h.position limit ?`,
    [model, version, seed, count],
  );
  return rows.map((row, i) => toCase(row, { model, version, isGood: i % 2 === 0 }));
}

function toCase(
  row: HeldOutRow,
  { model, version, isGood }: {
    readonly model: string;
    readonly version: number;
    readonly isGood: boolean;
  },
): KnownInference {
  const { position, class_names: names, probabilities } = row;
  const others = names.map((_, c) => c).filter((c) => c !== row.class);
  const shown = isGood ? row.class : others[new Random(position).below(others.length)];
  return {
    isGood,
    inference: {
      requestId: `held-out:${position}:${isGood ? "true" : "swapped"}`,
      row: 0,
      model,
      version,
      features: Object.fromEntries(row.input_names.map((name, j) => [name, row.features[j]])),
      label: names[shown],
      probabilities: Object.fromEntries(names.map((name, c) => [name, probabilities[c]])),
      confidence: probabilities[shown],
    },
  };
}
