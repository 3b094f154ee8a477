/** What may be to blame for a change, and how much of the change it explains. */

/** Kinds of causes, the more specific ones first: of two that explain the same, the earlier one leads. */
export const kinds = [
  "swapped columns",
  "missing values",
  "stuck value",
  "unit",
  "scale",
  "shift",
  "requester",
  "version",
  "endpoint",
  "slice",
  "changed values",
  "rows per request",
  "resource",
  "time in the model",
  "time in the queue",
  "time elsewhere",
] as const;

/** What kind of cause it is. */
export type Kind = typeof kinds[number];

/** Something that may be to blame. */
export interface Suspect {
  readonly kind: Kind;
  /** What it is about: a feature, a pair of features as `a, b`, a slice, a key, a version, a resource. */
  readonly subject: string;
  /** Where it is concentrated, such as `slice P-130`; `null` is everywhere. */
  readonly where: string | null;
  /** Share of the change in `[0, 1]` that is gone without it. */
  readonly contribution: number;
  /** The cause as a sentence without its end. */
  readonly text: string;
  /** Numbers and events behind it. */
  readonly evidence: readonly string[];
}

/** Contributions this near to each other say the same. */
const STEP = 0.05;

/** Below this share nothing is blamed. */
export const LEAST = 0.05;

/**
 * Sorts suspects by contribution; of those within the same twentieth the more specific kind leads. Those
 * that explain less than a twentieth are left out.
 */
export function rankSuspects(suspects: readonly Suspect[]): Suspect[] {
  const level = ({ contribution }: Suspect) => Math.round(contribution / STEP);
  return suspects.filter(({ contribution }) => contribution >= LEAST).sort((a, b) =>
    level(b) - level(a) || kinds.indexOf(a.kind) - kinds.indexOf(b.kind) ||
    b.contribution - a.contribution || (a.subject < b.subject ? -1 : 1)
  );
}

/** Gives a share as text, such as `37 %`. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}

/** Gives a number as text with three significant digits. */
export function brief(value: number): string {
  return Number(value.toPrecision(3)).toString();
}
