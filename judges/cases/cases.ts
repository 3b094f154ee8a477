/**
 * Predictions of known truth, made from the rows that training held out: the model's own predictions,
 * half of them wrong (`mistakes`), or the true label and another class in its place by turns
 * (`swapped`). Each row has a number: those below one half measure judges (cards), the others teach
 * them (`known()`, canaries), so that no judge is measured on what it has learned from.
 *
 * @module
 */
import { Random } from "../../numeric/random.ts";
import type { KnownInference } from "../../plugins/plugin.ts";
import type { Store } from "../../runtime/store/store.ts";

/** Fewer cases, half of them good, say too little of a judge. */
export const FEWEST_CASES = 30;

/** What is shown of a row. */
export type CaseTask = "mistakes" | "swapped";

/** Which rows to take. */
export interface CaseOptions {
  readonly model: string;
  readonly version: number;
  /** Most of them. */
  readonly count: number;
  /** What the rows are for. */
  readonly half: "measure" | "teach";
  readonly task: CaseTask;
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
  readonly predicted: number;
  readonly is_right: boolean;
  readonly place: number;
}

/** SQL that says whether the row of this key measures judges; the others teach them. */
export function isMeasured(key: string): string {
  return `('0x' || substr(md5('half:' || ${key}), 1, 8))::ubigint < 2147483648`;
}

/** SQL of the class that a held-out row is predicted as. */
const PREDICTED = "list_position(h.probabilities, list_max(h.probabilities)) - 1";

/**
 * Gives cases, good and bad ones by turns and as many of either; none when the store has no held-out
 * rows of the version, or it has one class alone.
 */
export async function makeCases(
  store: Store,
  { model, version, count, half, task, seed = "" }: CaseOptions,
): Promise<KnownInference[]> {
  const rows = await store.query<HeldOutRow>(
    `with rows as (
       select h.position, h.features, h.class, h.probabilities, v.input_names, v.class_names,
         ${PREDICTED} as predicted, predicted = h.class as is_right, md5(? || ':' || h.position) as draw
       from core.held_out_predictions h
       join core.model_versions v on h.predictions = (v.report->'predictions'->>'predictions')
       where v.model = ? and v.version = ? and len(v.class_names) > 1
         and ${half === "measure" ? "" : "not "}${isMeasured("position")}),
     placed as (select *, row_number() over (
       partition by ${task === "mistakes" ? "is_right" : "1"} order by draw, position) as place
       from rows)
     select * exclude (draw) from placed where place <= ? order by place, is_right desc`,
    [seed, model, version, task === "mistakes" ? Math.floor(count / 2) : count],
  );
  if (task === "swapped") {
    return rows.map((row, i) => {
      const isGood = i % 2 === 0;
      const others = row.class_names.map((_, c) => c).filter((c) => c !== row.class);
      const other = others[new Random(row.position).below(others.length)];
      return toCase(row, { model, version, isGood, shown: isGood ? row.class : other });
    });
  }
  const fewest = Math.min(...[true, false].map((is) => countRight(rows, is)));
  return rows.filter(({ place }) => place <= fewest).map((row) =>
    toCase(row, { model, version, isGood: row.is_right, shown: row.predicted })
  );
}

function countRight(rows: readonly HeldOutRow[], isRight: boolean): number {
  return rows.filter(({ is_right }) => is_right === isRight).length;
}

function toCase(
  { position, class_names: names, input_names, features, probabilities }: HeldOutRow,
  { model, version, isGood, shown }: {
    readonly model: string;
    readonly version: number;
    readonly isGood: boolean;
    readonly shown: number;
  },
): KnownInference {
  return {
    isGood,
    inference: {
      requestId: `held-out:${position}:${names[shown]}`,
      row: 0,
      model,
      version,
      features: Object.fromEntries(input_names.map((name, j) => [name, features[j]])),
      label: names[shown],
      probabilities: Object.fromEntries(names.map((name, c) => [name, probabilities[c]])),
      confidence: probabilities[shown],
    },
  };
}
