/**
 * The weaknesses of a version, by rules over its numbers: classes that are not found, classes that are
 * taken for others, features that drifted, slices that do worse than all.
 *
 * @module
 */
import { markdownList } from "../markdown.ts";
import type { CardFacts, SliceAccuracy } from "./model_card_sections.ts";
import { formatInterval, type RecordedReport } from "./recorded_report.ts";

/** A class of which fewer rows are found is a weakness. */
export const WEAK_RECALL = 0.5;

/** Gives what the numbers speak against, and what is not known. */
export function writeWeaknesses({ report: { scores }, seen, slices }: CardFacts): string {
  const weak = (scores?.classes ?? []).filter(({ recall }) =>
    recall === null || recall < WEAK_RECALL
  );
  const overall = pool(slices);
  const items = [
    ...weak.map(({ name, recall, support }) =>
      recall === null
        ? `class ${name}: none of its ${support} rows could be looked for`
        : `class ${name}: ${(100 * recall).toFixed(0)} % of its ${support} rows are found ` +
          `(below ${100 * WEAK_RECALL} %)`
    ),
    ...listConfusions(scores).map(({ truth, predicted, count, rows }) =>
      `class ${truth} is taken for ${predicted} in ${count} of ${rows} rows`
    ),
    ...(seen.drift?.drifted ?? []).map((feature) =>
      `feature ${feature}: it drifted in monitoring run ${seen.drift!.runId}`
    ),
    ...slices.filter(({ accuracy }) => overall !== null && accuracy.high < overall).map((each) =>
      `slice ${each.slice}: accuracy ${
        formatInterval(each.accuracy)
      } on ${each.rows} labelled rows, ` +
      `below ${overall!.toFixed(3)} of all`
    ),
  ];
  const unknown = [
    ...(scores?.classes ? [] : ["Scores by class were not recorded."]),
    ...(seen.drift ? [] : ["Drift was not measured."]),
    ...(slices.length > 0 ? [] : ["No label arrived yet: accuracy by slice is not known."]),
  ];
  return [markdownList(items, "None by these rules."), ...unknown].join("\n\n");
}

/** Confusions that are worth a line: more than this share of a class. */
const CONFUSED_SHARE = 0.25;

/** Rows of one class that are taken for another. */
export interface Confusion {
  readonly truth: string;
  readonly predicted: string;
  readonly count: number;
  /** Rows of the class. */
  readonly rows: number;
}

/** Gives the confusions that are worth a line. */
export function listConfusions(scores: RecordedReport["scores"]): Confusion[] {
  if (!scores?.confusion || !scores.classes) return [];
  const names = scores.classes.map(({ name }) => name);
  return scores.confusion.flatMap((row, truth) => {
    const rows = row.reduce((a, b) => a + b, 0);
    return row.flatMap((count, predicted) =>
      predicted === truth || count <= CONFUSED_SHARE * rows
        ? []
        : [{ truth: names[truth], predicted: names[predicted], count, rows }]
    );
  });
}

function pool(slices: readonly SliceAccuracy[]): number | null {
  const rows = slices.reduce((sum, each) => sum + each.rows, 0);
  if (rows === 0) return null;
  return slices.reduce((sum, each) => sum + each.accuracy.value * each.rows, 0) / rows;
}
