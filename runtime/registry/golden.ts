/**
 * The golden batch of a version: graph inputs, and the probabilities that training saw for them. A
 * machine on which a version answers otherwise must not serve it.
 *
 * @module
 */
import { matrix } from "../../numeric/matrix.ts";
import { readArtifact } from "../artifacts.ts";
import type { Predictor } from "../predict/predictor.ts";
import type { Store } from "../store/store.ts";

/** Largest difference of a probability from what the trainer computed. */
export const PARITY_TOLERANCE = 1e-5;

/** A batch of graph inputs with the probabilities training saw; `null` is a missing value. */
export interface GoldenBatch {
  readonly features: readonly (readonly (number | null)[])[];
  readonly probabilities: readonly (readonly number[])[];
}

/**
 * Checks that a loaded version answers its golden batch as training saw it.
 * @param golden Artifact of the batch; `null` for a version without one, which passes.
 * @throws {Error} that names the first row that is answered otherwise, or when the batch is gone.
 */
export async function checkGolden(
  store: Store,
  predictor: Predictor,
  { golden, name }: { readonly golden: string | null; readonly name: string },
): Promise<void> {
  if (golden === null) return;
  const { features, probabilities }: GoldenBatch = JSON.parse(
    new TextDecoder().decode(await readArtifact(store, golden)),
  );
  const X = matrix(
    features.length,
    features[0].length,
    Float32Array.from(features.flat(), (value) => value ?? NaN),
  );
  const answer = (await predictor.classify(X)).probabilities;
  probabilities.flat().forEach((expected, i) => {
    const difference = Math.abs(answer.data[i] - expected);
    if (!(difference <= PARITY_TOLERANCE)) {
      throw new Error(
        `Cannot use ${name}: golden row ${Math.floor(i / answer.cols)} answers ${
          answer.data[i]
        } where training saw ${expected}; train again on this machine`,
      );
    }
  });
}
