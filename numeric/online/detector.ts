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

/** A detector that compares one number with a threshold, which can be calibrated. */
export interface ThresholdDetector extends Detector {
  /** Evidence ≥ 0 for a change; an alarm is where it exceeds the threshold. */
  readonly statistic: number;
}
