/**
 * Detectors that read a stream value by value and say when it changed.
 *
 * @module
 */

/** What every detector of a change in a stream does. `NaN` is a missing value: it changes nothing. */
export interface Detector {
  /**
   * Reads one value and says whether the stream has changed. After an alarm the detector begins
   * anew with the next value.
   */
  update(value: number): boolean;
}

/** A detector that says when the change began, and that outlives its process. */
export interface ResumableDetector extends Detector {
  /**
   * After an alarm: the number of latest values that are of the changed stream, by estimate, the
   * alarm's own counted.
   */
  readonly sinceChange: number;
  /** Gives all it knows of the stream, as numbers that JSON keeps when the values are finite. */
  save(): number[];
  /**
   * Goes on where the detector of the same options was that saved this.
   * @throws {RangeError} when it is no such state; the detector is then as it was.
   */
  restore(state: readonly number[]): void;
}

/** A detector that compares one number with a threshold, which can be calibrated. */
export interface ThresholdDetector extends Detector {
  /** Evidence ≥ 0 for a change; an alarm is where it exceeds the threshold. */
  readonly statistic: number;
}

/** Checks that a saved state is `length` finite numbers. */
export function checkState(state: readonly number[], length: number): void {
  if (state.length === length && state.every(Number.isFinite)) return;
  throw new RangeError(
    `Cannot restore a detector from ${state.length} numbers: it takes ${length} finite ones`,
  );
}
