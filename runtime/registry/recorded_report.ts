/**
 * The report that is recorded with a version, as those read it who come later: gates, the model card,
 * answers of the server. Pipelines write all of it; what an MLflow client registers has a part at most.
 *
 * @module
 */
import type { ClassifierComparison, ClassifierScore, Interval } from "../../numeric/metrics.ts";
import type { Evidence } from "./evidence.ts";

/** What a report may hold; whoever reads it is ready for any part to be missing. */
export interface RecordedReport {
  readonly trainer?: string;
  readonly rows?: number;
  readonly split?: { readonly kind: string; readonly folds: number; readonly embargo: number };
  /** Scores of the cross-validated predictions. */
  readonly scores?: Partial<ClassifierScore>;
  readonly baselines?: readonly {
    readonly trainer: string;
    readonly scores: Partial<ClassifierScore>;
    /** Model minus baseline. */
    readonly difference: ClassifierComparison;
  }[];
  readonly parity?: {
    readonly rows: number;
    readonly maxDifference: number;
    readonly flips: number;
  };
  readonly golden?: string;
  readonly data?: RecordedData;
  readonly about?: About;
}

/** What a model was trained on. */
export interface RecordedData {
  readonly contentHash: string;
  readonly rows: number;
  readonly rowsLeftOut: number;
  readonly classes: readonly { readonly name: string; readonly rows: number }[];
  readonly sources: readonly {
    readonly uri: string;
    readonly sha256: string;
    readonly rows: number;
  }[];
}

/** What people say about a model; nothing of it is made up when they say nothing. */
export interface About {
  readonly description?: string | undefined;
  readonly intendedUse?: string | undefined;
  readonly license?: string | undefined;
}

/** Gives the report of a version's evidence; an empty one when it has none. */
export function reportOf({ report }: Evidence): RecordedReport {
  const isObject = typeof report === "object" && report !== null && !Array.isArray(report);
  return isObject ? report as RecordedReport : {};
}

/** Gives a score with its interval as text, `null` when there is none. */
export function formatInterval(interval: Partial<Interval> | null | undefined): string | null {
  if (interval?.value === undefined) return null;
  const { value, low, high } = interval;
  const ends = typeof low === "number" && typeof high === "number"
    ? ` (${low.toFixed(3)} to ${high.toFixed(3)})`
    : "";
  return value.toFixed(3) + ends;
}
