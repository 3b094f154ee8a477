/** Suspects among where rows come from: a slice or requester with another share, or other rows. */
import { explainedShare, meanOutcome, measureChange, takeOutcomes } from "../change.ts";
import { FEWEST, groupRows, type Problem } from "../problem.ts";
import { percent, type Suspect } from "../suspect.ts";

/** What the rows of one value say. */
interface Part {
  readonly value: string;
  readonly shareBefore: number;
  readonly shareNow: number;
  readonly before: Float64Array | null;
  readonly now: Float64Array | null;
  /** Whether its own rows changed beyond chance. */
  readonly isChanged: boolean;
}

/** Takes the changed shares of slices and of requesters back, and sees what is left of the change. */
export function suspectMix(problem: Problem): Suspect[] {
  // Nobody sent training rows, and their slices are the groups of the table.
  if (problem.isTraining) return [];
  return (["slice", "requester"] as const).flatMap((dimension) => {
    const parts = listParts(problem, dimension);
    const { reference, current } = problem.change;
    const instead = current.slice();
    const moves = parts.map((part) => {
      const mean = part.before ?? part.now!;
      const shift = part.shareNow - part.shareBefore;
      mean.forEach((value, c) => instead[c] -= shift * value);
      return { ...part, size: shift * Math.hypot(...mean.map((value, c) => value - reference[c])) };
    });
    const contribution = explainedShare(problem.change, instead);
    const [most] = moves.sort((a, b) => Math.abs(b.size) - Math.abs(a.size));
    if (!most || contribution === 0) return [];
    const shares = (part: Part) =>
      `${dimension} ${part.value}: ${percent(part.shareNow)} of the rows, before ${
        percent(part.shareBefore)
      }`;
    return [{
      kind: dimension,
      subject: most.value,
      where: null,
      contribution,
      text: most.shareBefore === 0
        ? `${dimension} ${most.value} is new`
        : `${dimension} ${most.value} sends ${most.shareNow > most.shareBefore ? "more" : "less"}`,
      evidence: moves.slice(0, 3).map(shares),
    }];
  });
}

/**
 * Takes a requester's or a slice's own change back: as if its rows had the outcome of its reference. What
 * it explains beyond its share of the rows counts.
 */
export function suspectSources(problem: Problem): Suspect[] {
  if (problem.isTraining) return [];
  return (["slice", "requester"] as const).flatMap((dimension) =>
    listParts(problem, dimension).flatMap(
      ({ value, before, now, shareNow, isChanged }): Suspect[] => {
        if (!before || !now || !isChanged || shareNow > 0.9) return [];
        const instead = problem.change.current.map((mean, c) =>
          mean - shareNow * (now[c] - before[c])
        );
        const explained = explainedShare(problem.change, instead);
        return [{
          kind: dimension,
          subject: value,
          where: null,
          contribution: Math.max(0, (explained - shareNow) / (1 - shareNow)),
          text: `${dimension} ${value} sends other rows than before`,
          evidence: [`without its change, ${percent(explained)} of the change is gone`],
        }];
      },
    )
  );
}

function listParts(
  { reference, current, outcomes }: Problem,
  dimension: "slice" | "requester",
): Part[] {
  const before = groupRows(reference[dimension]);
  const now = groupRows(current[dimension]);
  const values = [...new Set([...before.keys(), ...now.keys()])].sort();
  return values.map((value) => {
    const a = before.get(value) ?? [];
    const b = now.get(value) ?? [];
    return {
      value,
      shareBefore: a.length / reference.slice.length,
      shareNow: b.length / current.slice.length,
      before: a.length >= FEWEST || b.length === 0 ? meanOutcome(outcomes.reference, a) : null,
      now: b.length > 0 ? meanOutcome(outcomes.current, b) : null,
      isChanged: a.length >= FEWEST && b.length >= FEWEST &&
        measureChange(takeOutcomes(outcomes.reference, a), takeOutcomes(outcomes.current, b))
          .isReal,
    };
  });
}
