/** A small evaluation report of a test model, with numbers that pass the default gates. */
import { testClasses } from "./model_fixture.ts";

const interval = (value: number, half = 0.05) => ({ value, low: value - half, high: value + half });

/** What a test wants otherwise. */
export interface ReportOptions {
  /** Value of macro-F1; its interval is 0.05 wide on each side. Default 0.8. */
  readonly macroF1?: number;
  /** Ends of the log-loss difference to the baseline `prior`; default clearly ahead. */
  readonly priorDifference?: readonly [low: number, high: number];
  readonly [part: string]: unknown;
}

/** Gives a report; other keys replace whole parts, `undefined` leaves one out. */
export function makeReport(
  { macroF1 = 0.8, priorDifference = [-0.6, -0.4], ...parts }: ReportOptions = {},
) {
  const scores = {
    rows: 300,
    blocks: 30,
    accuracy: interval(0.85),
    balancedAccuracy: interval(0.8),
    macroF1: interval(macroF1),
    weightedF1: interval(0.84),
    rocAuc: interval(0.93, 0.02),
    logLoss: interval(0.5),
    brier: interval(0.2),
    calibrationError: interval(0.04, 0.01),
    classes: testClasses.map((name, i) => ({
      name,
      support: 100,
      precision: 0.9 - i / 10,
      recall: 0.9 - i / 4,
      f1: 0.85 - i / 10,
      rocAuc: 0.95,
    })),
    rocAucLeftOut: [],
    confusion: [[90, 5, 5], [20, 65, 15], [10, 50, 40]],
  };
  const [low, high] = priorDifference;
  return {
    trainer: "fixture",
    target: "lithology",
    rows: 300,
    split: { kind: "blocked", folds: 5, embargo: 2 },
    scores,
    baselines: [{
      trainer: "prior",
      scores: { ...scores, macroF1: interval(0.2), accuracy: interval(0.35) },
      difference: {
        accuracy: { difference: 0.5, low: 0.4, high: 0.6 },
        macroF1: { difference: macroF1 - 0.2, low: 0.4, high: 0.7 },
        logLoss: { difference: (low + high) / 2, low, high },
      },
    }],
    parity: { rows: 300, maxDifference: 2e-7, flips: 0 },
    data: {
      contentHash: "2".repeat(64),
      rows: 300,
      rowsLeftOut: 7,
      classes: testClasses.map((name) => ({ name, rows: 100 })),
      sources: [{ uri: "data/a|b.csv", sha256: "3".repeat(64), rows: 307 }],
    },
    ...parts,
  };
}
