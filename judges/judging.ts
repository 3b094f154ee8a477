/**
 * Judges a sample of the inference table: what was judged before is skipped, what a judge could not
 * answer is a row of its own kind and never a number.
 *
 * @module
 */
import { z } from "zod";
import { estimateMean } from "../numeric/survey/design.ts";
import type { Plugin } from "../plugins/plugin.ts";
import { withLease } from "../runtime/alerts/lease.ts";
import type { Step, Store } from "../runtime/store/store.ts";
import { ask, type Asked, openAsking, probe } from "./asking.ts";
import { askCanaries } from "./cases/canaries.ts";
import { type Judgement, writeJudgements } from "./rows.ts";
import { readPending, settleCursor } from "./sampling/pending.ts";
import { checkFilter, SamplingParams } from "./sampling/plan.ts";
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
  /** Sampled predictions left for the next call, those that ended in an error among them. */
  readonly left: number;
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

/** Verdicts are written in batches of this many, … */
const BATCH_ROWS = 256;

/** … or after this long, so that a kill loses little, also of a slow judge. */
const BATCH_MS = 2_000;

/** One who dies holds up the others so long. */
const LEASE_MS = 5_000;

/**
 * Judges what is sampled and not yet judged by this version of each judge, and gives one summary
 * per judge. A prediction that ended in an error is asked about again, after those never asked.
 *
 * What is left to do is always what is drawn and has no verdict, so whoever ends in whatever way, the
 * next call goes on where verdicts end; nothing is skipped, rows that arrive late included. Of several
 * processes one judges a version at a time, so that nothing is judged twice.
 *
 * @throws {UsageError} when a judge takes no parameters, or others, than it is given, or the filter is none.
 * @throws the signal's reason when it is aborted; the verdicts until then are kept.
 */
export async function judgeSample(store: Store, options: JudgingOptions): Promise<JudgeSummary[]> {
  const { signal, model, version, judges, waitMs = 30_000 } = options;
  await checkFilter(store, options.params.sampling.where);
  const openJudge = await openAsking(store, judges, options);
  const name = `judging:${model}:${version}`;
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
  const detail = "another process judges this version now";
  return summaries ?? judges.map((judge) => summarize(judge, { detail, status: "skipped" }));
}

async function judgeWith(
  asked: Asked,
  store: Store,
  options: JudgingOptions & { readonly detail: string; readonly guard: Step },
): Promise<JudgeSummary> {
  const { params, signal, guard } = options;
  const { plugin: judge, context } = asked;
  const { sampling, samplingRate } = params;
  const plan = {
    ...sampling,
    model: options.model,
    version: options.version,
    rate: sampling.rates[judge.name] ?? samplingRate,
    seed: options.seed,
  };
  const { chosen, total, from } = await readPending(store, { ...asked, plan }, params.maxRows);
  const deadline = Date.now() + params.maxSeconds * 1000;
  const answers: Judgement[] = [];
  let batch: Judgement[] = [];
  let written = performance.now();
  const write = async () => {
    await writeJudgements(store, asked, { rows: batch, rate: plan.rate, guard });
    batch = [];
    written = performance.now();
  };
  for (const drawn of chosen) {
    if (signal.aborted || Date.now() > deadline) break;
    const start = performance.now();
    const { inference } = drawn;
    const { verdict, traceId } = await traceVerdict(
      store,
      { ...asked, inference },
      () => ask(judge, inference, context),
    );
    // What a cancelled call answers is no failure of the judge.
    if (signal.aborted && verdict.status === "error") break;
    const answer = { ...drawn, verdict, ms: performance.now() - start, traceId };
    answers.push(answer);
    batch.push(answer);
    if (batch.length === BATCH_ROWS || performance.now() - written > BATCH_MS) {
      await write();
      options.onProgress?.(judge.name, answers.length / chosen.length);
    }
  }
  await write();
  signal.throwIfAborted();
  if (answers.length > 0) await askCanaries(store, asked, { ...options, count: params.canaries });
  await settleCursor(store, { ...asked, plan }, from);
  const { detail } = options;
  return summarize(judge, { detail, status: "judged", answers, total, params });
}

/** What a judge did, in numbers. */
function summarize(
  { name }: Plugin<"judge">,
  { detail, status, answers = [], total = 0, params }: {
    readonly detail: string;
    readonly status: JudgeSummary["status"];
    readonly answers?: readonly Judgement[];
    readonly total?: number;
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
  };
}
