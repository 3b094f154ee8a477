/** What a test of two samples found. */
export interface TestOutcome {
  /** The test's own statistic. */
  readonly statistic: number;
  /** Two-sided p-value in `[0, 1]`. */
  readonly pValue: number;
  /** How large the difference is, in `[0, 1]` whatever the sizes of the samples; 0 for none. */
  readonly effect: number;
}
