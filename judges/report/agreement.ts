/** How far judges, or the members of one, agree on the same predictions. */
import { type AlphaEstimate, estimateAlpha } from "../../numeric/agreement/alpha.ts";

/** Scores of one rater. */
export interface Rater {
  readonly name: string;
  /** A score below it is in disfavor. */
  readonly cut: number;
  /** Score by prediction; one that is missing was not given. */
  readonly scores: ReadonlyMap<string, number>;
}

/** Krippendorff's α of some raters. */
export interface Agreement {
  readonly raters: readonly string[];
  /** Predictions that at least two of them scored. */
  readonly predictions: number;
  /** Of which side of its cut each score lies; `null` without such predictions, or all on one side. */
  readonly nominal: AlphaEstimate | null;
  /** Of the scores themselves. */
  readonly interval: AlphaEstimate | null;
}

/** Measures agreement; `null` of fewer than two raters. */
export function measureAgreement(raters: readonly Rater[]): Agreement | null {
  if (raters.length < 2) return null;
  const keys = [...new Set(raters.flatMap(({ scores }) => [...scores.keys()]))]
    .filter((key) => raters.filter(({ scores }) => scores.has(key)).length >= 2);
  const rate = (read: (score: number, rater: Rater) => number) =>
    raters.map((rater) =>
      keys.map((key) => {
        const score = rater.scores.get(key);
        return score === undefined ? NaN : read(score, rater);
      })
    );
  return {
    raters: raters.map(({ name }) => name),
    predictions: keys.length,
    nominal: estimateAlpha(rate((score, { cut }) => score < cut ? 1 : 0), "nominal"),
    interval: estimateAlpha(rate((score) => score), "interval"),
  };
}

/** Gives the members of an ensemble as raters, from what its verdicts keep; none when it is no ensemble. */
export function readMembers(
  rows: readonly { readonly key: string; readonly members: string | null }[],
): Rater[] {
  const raters = new Map<string, { cut: number; scores: Map<string, number> }>();
  for (const { key, members } of rows) {
    if (members === null) continue;
    const kept: { members: Record<string, number | null>; threshold?: number } = JSON.parse(
      members,
    );
    for (const [name, score] of Object.entries(kept.members)) {
      const rater = raters.get(name) ?? { cut: kept.threshold ?? DEFAULT_CUT, scores: new Map() };
      raters.set(name, rater);
      if (score !== null) rater.scores.set(key, score);
    }
  }
  return [...raters].map(([name, rater]) => ({ name, ...rater }));
}

/** Cut of ensembles whose rows do not name it. */
const DEFAULT_CUT = 0.5;
