/**
 * Where what is judged comes from: predictions of a version, or calls of language models. One loop
 * draws, asks and keeps verdicts of either.
 *
 * @module
 */
import type { Inference } from "../../plugins/plugin.ts";
import type { Asked } from "../asking.ts";
import type { Query } from "../sampling/plan.ts";

/** A span, as traces name it. */
export interface SpanId {
  readonly traceId: string;
  readonly spanId: string;
}

/** What a judge looks at. */
export interface Subject {
  readonly inference: Inference;
  /** The call that it was, `null` of a prediction. */
  readonly call: SpanId | null;
}

/** A subject that was drawn. */
export interface Drawn extends Subject {
  /** Probability in `(0, 1]` with which it was. */
  readonly probability: number;
  /** Rows that it was drawn among. */
  readonly stratum: string;
}

/** How the sample of one judge is drawn; a cursor is of one plan. */
export interface Plan {
  readonly model: string;
  readonly version: number;
  /** Share of the rows to draw, in `[0, 1]`. */
  readonly rate: number;
}

/** The sample of one judge. All queries have the columns `request_id` and `row`, which name a row. */
export interface Sample {
  readonly plan: Plan;
  /** Drawn rows from a time on, with `request_time`, `probability` and `stratum`. */
  drawn(from: Date | null): Query;
  /** All rows before a time, drawn or not: what a cursor rests on. */
  existing(before: Date): Query;
  /** Relation of the verdicts, with `judge`, `judge_version` and `status`. */
  readonly verdicts: string;
}

/** A source of what is judged. */
export interface Subjects {
  /** Whose history and profiles judges may look at; of calls those of nothing. */
  readonly model: string;
  readonly version: number;
  /** Name of the lease: one process at a time judges these. */
  readonly lease: string;
  /** What it says when another has it. */
  readonly busy: string;
  /** Most subjects that one judge takes per call. */
  readonly maxRows: number;
  /** @throws {UsageError} when its filter is no condition. */
  check(): Promise<void>;
  sampleFor(judge: string): Sample;
  /** Columns of `relation`, which is called `i` and has `request_id` and `row`, that make a subject. */
  readonly columns: string;
  readonly relation: string;
  /** Gives the subject of each row, in their order. */
  read(rows: readonly Readonly<Record<string, unknown>>[]): Promise<readonly Subject[]>;
  /** Table of the verdicts, and its columns that name what they are of. */
  readonly table: string;
  name(rows: readonly Drawn[]): Readonly<Record<string, readonly unknown[]>>;
  /** Asks about rows of known truth, where there are such. */
  askCanaries?(asked: Asked): Promise<void>;
}
