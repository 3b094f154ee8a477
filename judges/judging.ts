/**
 * Judges a sample of the inference table, or of calls of language models: what was judged before is
 * skipped, what a judge could not answer is a row of its own kind and never a number.
 *
 * @module
 */
import { z } from "zod";
import { estimateMean } from "../numeric/survey/design.ts";
import type { Plugin } from "../plugins/plugin.ts";
import { withLease } from "../runtime/alerts/lease.ts";
import type { Step, Store } from "../runtime/store/store.ts";
import { ask, type Asked, openAsking, probe } from "./asking.ts";
import { isLasting } from "./lasting.ts";
import { type Judgement, writeJudgements } from "./rows.ts";
import { readPending, settleCursor } from "./sampling/pending.ts";
import { SamplingParams } from "./sampling/plan.ts";
import { CallParams, callSubjects } from "./subjects/calls.ts";
import { predictionSubjects } from "./subjects/predictions.ts";
import type { Subjects } from "./subjects/subjects.ts";
import { traceVerdict } from "./tracing.ts";

/** Section `judging` of a config. */
export const JudgingParams = z.strictObject({
  judges: z.array(z.string()).default(["rule", "llm", "combined"])
    .describe("judges by name; one that cannot answer now is skipped and said so"),
  samplingRate: z.number().min(0).max(1).default(0.02)
    .describe("share of predictions that are judged"),
  maxRows: z.int().min(0).default(2000).describe("most predictions one judge takes per call"),
  maxSeconds: z.number().positive().default(20)
    .describe("longest one judge may work per call, but for the prediction it is at"),
  threshold: z.number().min(0).max(1).default(0.2)
    .describe("a score below it counts as implausible, and an LLM is asked why"),
  params: z.record(z.string(), z.unknown()).default({})
    .describe("parameters by judge, such as the ranges of plausibility"),
  redact: z.array(z.string()).default([])
    .describe("columns and texts that no prompt shows; personal data is redacted anywhere"),
  sampling: SamplingParams.prefault({}).describe("how the sample is drawn"),
  canaries: z.int().min(0).default(10)
    .describe("rows of known truth that each judge is asked about in every call that judges"),
  traces: CallParams.prefault({}).describe(
    "which calls of language models are judged, and by whom",
  ),
  everySeconds: z.number().min(1).nullable().default(null)
    .describe("how often a server judges what is new; null is never"),
});

/** What one judge did in one call. */
export interface JudgeSummary {
  readonly judge: string;
  /** `skipped` when the judge could not answer at all; `detail` says why. */
  readonly status: "judged" | "skipped";
  readonly detail: string;
  readonly scored: number;
  readonly abstained: number;
  readonly errors: number;
  /** Share of the answers that are a score, or `null` without answers. */
  readonly coverage: number | null;
  /** Mean score of the scored, each weighted by 1 / its probability, or `null` when none was. */
  readonly meanScore: number | null;
  /** Share of the scored below the threshold, weighted so, too. */
  readonly implausible: number | null;
  /** What is sampled and left for the next call, those that ended in an error among them. */
  readonly left: number;
  /** Why the judge was asked no further, such as spent tokens; `null` when it was not so. */
  readonly stopped: string | null;
}

/** What to judge. */
export interface JudgingOptions {
  readonly judges: readonly Plugin<"judge">[];
  readonly model: string;
  readonly version: number;
  readonly params: z.infer<typeof JudgingParams>;
  readonly seed: number;
  readonly signal: AbortSignal;
  readonly onProgress?: (judge: string, share: number) => void;
  /** Milliseconds to wait while another process judges this version; default 30,000. */
  readonly waitMs?: number;
}

/** What to judge, where it is of no version: as in {@linkcode JudgingOptions}. */
export type CallJudgingOptions = Omit<JudgingOptions, "model" | "version">;

/** Verdicts are written in batches of this many, … */
const BATCH_ROWS = 256;

/** … or after this long, so that a kill loses little, also of a slow judge. */
const BATCH_MS = 2_000;

/** One who dies holds up the others so long. */
const LEASE_MS = 5_000;

/**
 * Judges what is sampled and not yet judged by this version of each judge, and gives one summary
 * per judge. A prediction that ended in an error is asked about again, after those never asked. After an
 * error that all others would meet, too, such as spent tokens, the judge is asked no further: one row
 * says so, and the rest stays due.
 *
 * What is left to do is always what is drawn and has no verdict, so whoever ends in whatever way, the
 * next call goes on where verdicts end; nothing is skipped, rows that arrive late included. Of several
 * processes one judges a version at a time, so that nothing is judged twice.
 *
 * @throws {UsageError} when a judge takes no parameters, or others, than it is given, or the filter is none.
 * @throws the signal's reason when it is aborted; the verdicts until then are kept.
 */
export async function judgeSample(store: Store, options: JudgingOptions): Promise<JudgeSummary[]> {
  return await judgeSubjects(store, predictionSubjects(store, options), options);
}

/**
 * Judges calls of language models in traces as {@linkcode judgeSample} does predictions, by judges of
 * texts. What judges themselves asked is never among them.
 *
 * @throws as {@linkcode judgeSample}
 */
export async function judgeCalls(
  store: Store,
  options: CallJudgingOptions,
): Promise<JudgeSummary[]> {
  const { seed, params } = options;
  return await judgeSubjects(store, callSubjects(store, { seed, params: params.traces }), options);
}

async function judgeSubjects(
  store: Store,
  subjects: Subjects,
  options: CallJudgingOptions,
): Promise<JudgeSummary[]> {
  const { signal, judges, params, waitMs = 30_000 } = options;
  await subjects.check();
  const { model, version, lease: name } = subjects;
  const openJudge = await openAsking(store, judges, { model, version, params, signal });
  const summaries = await withLease(
    store,
    { name, ttlMs: LEASE_MS, waitMs, signal },
    async ({ guard }) => {
      const summaries: JudgeSummary[] = [];
      for (const judge of judges) {
        signal.throwIfAborted();
        const { ready, detail } = await probe(judge, signal);
        if (!ready) summaries.push(summarize(judge, { detail, status: "skipped" }));
        else {
          summaries.push(
            await judgeWith(await openJudge(judge), store, {
              ...options,
              subjects,
              detail,
              guard,
            }),
          );
        }
      }
      return summaries;
    },
  );
  signal.throwIfAborted();
  return summaries ??
    judges.map((judge) => summarize(judge, { detail: subjects.busy, status: "skipped" }));
}

async function judgeWith(
  asked: Asked,
  store: Store,
  options: CallJudgingOptions & {
    readonly subjects: Subjects;
    readonly detail: string;
    readonly guard: Step;
  },
): Promise<JudgeSummary> {
  const { params, signal, guard, subjects } = options;
  const { plugin: judge, context } = asked;
  const owner = { ...asked, sample: subjects.sampleFor(judge.name) };
  const { chosen, total, from } = await readPending(store, owner, subjects);
  const deadline = Date.now() + params.maxSeconds * 1000;
  const answers: Judgement[] = [];
  let batch: Judgement[] = [];
  let written = performance.now();
  let stopped: string | null = null;
  const write = async () => {
    await writeJudgements(store, asked, {
      rows: batch,
      rate: owner.sample.plan.rate,
      guard,
      subjects,
    });
    batch = [];
    written = performance.now();
  };
  for (const drawn of chosen) {
    if (signal.aborted || Date.now() > deadline) break;
    const start = performance.now();
    const { inference, call } = drawn;
    const { verdict, traceId } = await traceVerdict(
      store,
      { ...asked, inference, call },
      () => ask(judge, inference, context),
    );
    // What a cancelled call answers is no failure of the judge.
    if (signal.aborted && verdict.status === "error") break;
    const answer = { ...drawn, verdict, ms: performance.now() - start, traceId };
    answers.push(answer);
    batch.push(answer);
    if (verdict.status === "error" && isLasting(verdict.kind)) {
      stopped = `${verdict.kind}: ${verdict.message}`;
      break;
    }
    if (batch.length === BATCH_ROWS || performance.now() - written > BATCH_MS) {
      await write();
      options.onProgress?.(judge.name, answers.length / chosen.length);
    }
  }
  await write();
  signal.throwIfAborted();
  if (answers.length > 0 && stopped === null) await subjects.askCanaries?.(asked);
  await settleCursor(store, owner, from);
  const { detail } = options;
  return summarize(judge, { detail, status: "judged", answers, total, stopped, params });
}

/** What a judge did, in numbers. */
function summarize(
  { name }: Plugin<"judge">,
  { detail, status, answers = [], total = 0, stopped = null, params }: {
    readonly detail: string;
    readonly status: JudgeSummary["status"];
    readonly answers?: readonly Judgement[];
    readonly total?: number;
    readonly stopped?: string | null;
    readonly params?: z.infer<typeof JudgingParams>;
  },
): JudgeSummary {
  const scores: number[] = [];
  const probabilities: number[] = [];
  for (const { verdict, probability } of answers) {
    if (verdict.status !== "scored") continue;
    scores.push(verdict.score);
    probabilities.push(probability);
  }
  const abstained = answers.filter(({ verdict }) => verdict.status === "abstained").length;
  const average = (values: readonly number[]) =>
    values.length === 1 ? values[0] : estimateMean({ values, probabilities })?.value ?? null;
  return {
    judge: name,
    status,
    detail,
    scored: scores.length,
    abstained,
    errors: answers.length - scores.length - abstained,
    coverage: answers.length === 0 ? null : scores.length / answers.length,
    meanScore: average(scores),
    implausible: average(scores.map((score) => score < (params?.threshold ?? 0) ? 1 : 0)),
    left: total - scores.length - abstained,
    stopped,
  };
}
