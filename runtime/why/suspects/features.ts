/** Suspects among the inputs: one feature whose values changed, or two that were swapped. */
import { matrix } from "../../../numeric/matrix.ts";
import { explainedShare, meanOutcome } from "../change.ts";
import { distanceOf, findMechanism } from "../mechanism.ts";
import { columnOf, FEWEST, groupRows, type Problem } from "../problem.ts";
import { restoreFeature } from "../restore.ts";
import { percent, type Suspect } from "../suspect.ts";

/** Features nearer to their reference than this are not suspects. */
const LEAST_DISTANCE = 0.03;

/** A slice's or requester's feature must move by more than so much to stand out, or to be swapped. */
const CLEAR_DISTANCE = 0.12;

/** Brings each feature that moved back to its reference's values, and sees what is left of the change. */
export async function suspectFeatures(problem: Problem): Promise<Suspect[]> {
  const { inputs, current, measure, change } = problem;
  const suspects: Suspect[] = [];
  const missing: number[] = [];
  for (const [j, { name, unit }] of inputs.entries()) {
    const place = locate(problem, j);
    if (place.distance < LEAST_DISTANCE) continue;
    const X = restoreFeature(problem, j);
    const contribution = explainedShare(change, meanOutcome(await measure.of(current, { X })));
    const { kind, text, evidence } = findMechanism(place.reference, place.current, unit);
    if (kind === "missing values") missing.push(j);
    suspects.push({
      kind,
      subject: name,
      where: place.where,
      contribution,
      text: `${name} ${text}${place.where === null ? "" : ` in ${place.where}`}`,
      evidence,
    });
  }
  return missing.length < 2 ? suspects : [...suspects, await suspectMissing(problem, missing)];
}

/** Inputs that went together: what one of them explains may hide behind another. */
async function suspectMissing(problem: Problem, missing: readonly number[]): Promise<Suspect> {
  const { inputs, current, measure, change } = problem;
  const restored = missing.reduce(
    (sample, j) => ({ ...sample, X: restoreFeature({ ...problem, current: sample }, j) }),
    current,
  );
  const names = missing.map((j) => inputs[j].name);
  const all = [...current.slice.keys()];
  return {
    kind: "missing values",
    subject: names.join(", "),
    where: null,
    contribution: explainedShare(
      change,
      meanOutcome(await measure.of(current, { X: restored.X })),
    ),
    text: `${names.join(", ")} are missing more or less than before, together`,
    evidence: missing.map((j) => {
      const now = columnOf(current.X, j, all);
      const share = now.filter((value) => Number.isNaN(value)).length / now.length;
      return `${inputs[j].name}: ${percent(share)} missing now`;
    }),
  };
}

interface Place {
  readonly where: string | null;
  readonly distance: number;
  readonly reference: Float64Array;
  readonly current: Float64Array;
}

/** A slice or requester holds a change alone when the others move less than this part of it. */
const ELSEWHERE = 0.35;

/** Where a feature moved: everywhere, or in one slice or of one requester alone. */
function locate({ reference, current }: Problem, j: number): Place {
  const of = (where: string | null, before: readonly number[], now: readonly number[]): Place => {
    const a = columnOf(reference.X, j, before);
    const b = columnOf(current.X, j, now);
    return { where, distance: distanceOf(a, b), reference: a, current: b };
  };
  const everywhere = of(null, [...reference.slice.keys()], [...current.slice.keys()]);
  const places = (["slice", "requester"] as const).flatMap((dimension) => {
    const before = groupRows(reference[dimension]);
    const now = groupRows(current[dimension]);
    return [...now].flatMap(([value, rows]) => {
      const known = before.get(value) ?? [];
      if (known.length < FEWEST || rows.length < FEWEST || now.size === 1) return [];
      const place = of(`${dimension} ${value}`, known, rows);
      const rest = [...now].filter(([other]) => other !== value)
        .map(([other, rows]) => [before.get(other) ?? [], rows] as const)
        .filter(([a, b]) => a.length >= FEWEST && b.length >= FEWEST)
        .map(([a, b]) => of(null, a, b).distance);
      const isAlone = rest.length > 0 && Math.max(...rest) < ELSEWHERE * place.distance;
      return isAlone ? [place] : [];
    });
  });
  const [nearest] = places.sort((a, b) => b.distance - a.distance);
  return nearest && nearest.distance > CLEAR_DISTANCE ? nearest : everywhere;
}

/** Two columns are swapped when swapping them back leaves less than this part of their distances. */
const SWAP_REST = 0.5;

/** Swaps every two features back where each then looks like its reference. */
export async function suspectSwaps(problem: Problem): Promise<Suspect[]> {
  const { inputs, reference, current, measure, change } = problem;
  const before = groupRows(reference.slice);
  const suspects: Suspect[] = [];
  for (let a = 0; a < inputs.length; a++) {
    for (let b = a + 1; b < inputs.length; b++) {
      const rows = [...groupRows(current.slice)].flatMap(([slice, now]) => {
        const known = before.get(slice) ?? [...reference.slice.keys()];
        return isSwapped(problem, [a, b], { known, now }) ? now : [];
      });
      if (rows.length === 0) continue;
      const { cols, data } = current.X;
      const X = matrix(current.X.rows, cols, data.slice());
      for (const row of rows) {
        X.data[row * cols + a] = data[row * cols + b];
        X.data[row * cols + b] = data[row * cols + a];
      }
      const names = `${inputs[a].name}, ${inputs[b].name}`;
      const slices = [...new Set(rows.map((row) => current.slice[row]))];
      const isEverywhere = rows.length === current.X.rows;
      suspects.push({
        kind: "swapped columns",
        subject: names,
        where: isEverywhere ? null : `slice ${slices.join(", ")}`,
        contribution: explainedShare(change, meanOutcome(await measure.of(current, { X }))),
        text: `${inputs[a].name} and ${inputs[b].name} are swapped${
          isEverywhere ? "" : ` in slice ${slices.join(", ")}`
        }`,
        evidence: [`swapped back, each looks as before in ${rows.length} rows`],
      });
    }
  }
  return suspects;
}

function isSwapped(
  { reference, current }: Problem,
  [a, b]: readonly [number, number],
  { known, now }: { readonly known: readonly number[]; readonly now: readonly number[] },
): boolean {
  if (now.length < FEWEST || known.length < FEWEST) return false;
  const apart = (of: number, as: number) =>
    distanceOf(columnOf(reference.X, as, known), columnOf(current.X, of, now));
  const straight = [apart(a, a), apart(b, b)];
  const crossed = [apart(a, b), apart(b, a)];
  return Math.min(...straight) > CLEAR_DISTANCE &&
    crossed.every((distance, i) => distance < SWAP_REST * straight[i]);
}
