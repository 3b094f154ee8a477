/**
 * Judges a sample of the inference table: what was judged before is skipped, what a judge could not
 * answer is a row of its own kind and never a number.
 *
 * @module
 */
import { z } from "zod";
import type { ClassProfile, Inference, Plugin, Verdict } from "../plugins/plugin.ts";
import { describeError } from "../runtime/errors.ts";
import type { Store } from "../runtime/store/store.ts";
import { type Attributes, failSpan, inSpan } from "../runtime/tracing.ts";
import { sampledCondition } from "./sampling.ts";

/** Section `judging` of a config. */
export const JudgingParams = z.strictObject({
  judges: z.array(z.string()).default(["rule", "ollama"])
    .describe("judges by name; one that cannot answer now is skipped and said so"),
  samplingRate: z.number().min(0).max(1).default(0.02)
    .describe("share of predictions that are judged"),
  maxRows: z.int().min(0).default(2000).describe("most predictions one judge takes per call"),
  maxSeconds: z.number().positive().default(20)
    .describe("longest one judge may work per call, but for the prediction it is at"),
  threshold: z.number().min(0).max(1).default(0.2)
    .describe("a score below it counts as implausible"),
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
  /** Mean score of the scored, or `null` when none was. */
  readonly meanScore: number | null;
  /** Share of the scored below the threshold, or `null` when none was scored. */
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
}

/** Verdicts are written in batches of this many, … */
const BATCH_ROWS = 256;

/** … or after this long, so that a kill loses little, also of a slow judge. */
const BATCH_MS = 2_000;

/**
 * Judges what is sampled and not yet judged by this version of each judge, and gives one summary
 * per judge. A prediction that ended in an error is asked about again, after those never asked.
 *
 * @throws the signal's reason when it is aborted; the verdicts until then are kept.
 */
export async function judgeSample(store: Store, options: JudgingOptions): Promise<JudgeSummary[]> {
  const profiles = await readProfiles(store, options.model, options.version);
  const summaries: JudgeSummary[] = [];
  for (const judge of options.judges) {
    options.signal.throwIfAborted();
    const { ready, detail } = await probe(judge, options.signal);
    if (!ready) {
      summaries.push({
        judge: judge.name,
        status: "skipped",
        detail,
        scored: 0,
        abstained: 0,
        errors: 0,
        meanScore: null,
        implausible: null,
        left: 0,
      });
      continue;
    }
    summaries.push(await judgeWith(judge, store, { ...options, profiles, detail }));
  }
  return summaries;
}

async function judgeWith(
  judge: Plugin<"judge">,
  store: Store,
  options: JudgingOptions & {
    readonly profiles: Readonly<Record<string, ClassProfile>>;
    readonly detail: string;
  },
): Promise<JudgeSummary> {
  const { params, signal, profiles } = options;
  const { chosen, total } = await readPending(judge, store, options);
  const deadline = Date.now() + params.maxSeconds * 1000;
  const scores: number[] = [];
  let abstained = 0;
  let errors = 0;
  let done = 0;
  let batch: JudgementRow[] = [];
  let written = performance.now();
  for (const inference of chosen) {
    if (signal.aborted || Date.now() > deadline) break;
    const start = performance.now();
    const verdict = await askTraced(judge, inference, { profiles, signal });
    // What a cancelled call answers is no failure of the judge.
    if (signal.aborted && verdict.status === "error") break;
    if (verdict.status === "scored") scores.push(verdict.score);
    else if (verdict.status === "abstained") abstained++;
    else errors++;
    batch.push({ inference, verdict, ms: performance.now() - start });
    done++;
    if (batch.length === BATCH_ROWS || performance.now() - written > BATCH_MS) {
      await writeJudgements(store, judge, batch, params.samplingRate);
      batch = [];
      written = performance.now();
      options.onProgress?.(judge.name, done / chosen.length);
    }
  }
  await writeJudgements(store, judge, batch, params.samplingRate);
  signal.throwIfAborted();
  const low = scores.filter((score) => score < params.threshold).length;
  return {
    judge: judge.name,
    status: "judged",
    detail: options.detail,
    scored: scores.length,
    abstained,
    errors,
    meanScore: scores.length > 0 ? scores.reduce((a, b) => a + b, 0) / scores.length : null,
    implausible: scores.length > 0 ? low / scores.length : null,
    left: total - scores.length - abstained,
  };
}

async function probe(judge: Plugin<"judge">, signal: AbortSignal) {
  try {
    return await judge.probe(signal);
  } catch (error) {
    return { ready: false, detail: `its probe failed: ${describeError(error)}` };
  }
}

/** Asks a judge in a span of its own, which names the request that it judges. */
async function askTraced(
  judge: Plugin<"judge">,
  inference: Inference,
  context: Parameters<Plugin<"judge">["judge"]>[1],
): Promise<Verdict> {
  const attributes = {
    "gen_ai.evaluation.name": judge.name,
    "geophone.judge_version": judge.version,
    "geophone.request_id": inference.requestId,
    "geophone.row": inference.row,
    "geophone.model": inference.model,
    "geophone.version": inference.version,
  };
  return await inSpan(`judge ${judge.name}`, attributes, async (span) => {
    const verdict = await ask(judge, inference, context);
    span?.setAttributes(describeVerdict(verdict));
    if (span !== null && verdict.status === "error") failSpan(span, verdict.message);
    return verdict;
  });
}

/** @see https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/ */
function describeVerdict(verdict: Verdict): Attributes {
  if (verdict.status !== "scored") {
    return { "geophone.verdict": verdict.status, "geophone.verdict_kind": verdict.kind };
  }
  const { status, score, tokensIn, tokensOut } = verdict;
  return {
    "geophone.verdict": status,
    "gen_ai.evaluation.score.value": score,
    ...(tokensIn === undefined ? {} : { "gen_ai.usage.input_tokens": tokensIn }),
    ...(tokensOut === undefined ? {} : { "gen_ai.usage.output_tokens": tokensOut }),
  };
}

/** Asks a judge of whatever origin: what breaks the contract is an error of kind `judge`. */
async function ask(
  judge: Plugin<"judge">,
  inference: Inference,
  context: Parameters<Plugin<"judge">["judge"]>[1],
): Promise<Verdict> {
  try {
    const verdict = await judge.judge(inference, context);
    if (verdict.status !== "scored" || (verdict.score >= 0 && verdict.score <= 1)) return verdict;
    return {
      status: "error",
      kind: "judge",
      message: `its score ${verdict.score} is not in [0, 1]`,
    };
  } catch (error) {
    return { status: "error", kind: "judge", message: describeError(error) };
  }
}

interface JudgementRow {
  readonly inference: Inference;
  readonly verdict: Verdict;
  readonly ms: number;
}

async function readPending(
  judge: Plugin<"judge">,
  store: Store,
  { model, version, params, seed }: JudgingOptions,
): Promise<{ readonly chosen: readonly Inference[]; readonly total: number }> {
  const pending = `from inferences i
     left join (
       select request_id, row, bool_or(status <> 'error') as is_judged from core.judgements
       where judge = ? and judge_version = ? group by all
     ) j using (request_id, row)
     where j.is_judged is distinct from true and i.model = ? and i.version = ?
       and ${sampledCondition}`;
  const values = [judge.name, judge.version, model, version, String(seed), params.samplingRate];
  const [{ total }] = await store.query<{ total: number }>(
    `select count(*) as total ${pending}`,
    values,
  );
  const rows = await store.query<{
    request_id: string;
    row: number;
    features: Record<string, number | null>;
    label: string;
    probabilities: Record<string, number>;
    confidence: number;
  }>(
    `select i.request_id, i.row, i.features, i.label, i.probabilities, i.confidence ${pending}
     order by j.is_judged nulls first, i.request_time, i.request_id, i.row limit ?`,
    [...values, params.maxRows],
  );
  const chosen = rows.map((row) => ({
    requestId: row.request_id,
    row: row.row,
    model,
    version,
    features: row.features,
    label: row.label,
    probabilities: row.probabilities,
    confidence: row.confidence,
  }));
  return { chosen, total };
}

async function writeJudgements(
  store: Store,
  judge: Plugin<"judge">,
  rows: readonly JudgementRow[],
  samplingRate: number,
): Promise<void> {
  if (rows.length === 0) return;
  const column = <T>(read: (row: JudgementRow) => T) => rows.map(read);
  const now = new Date();
  await store.transaction([{
    append: "core.judgements",
    columns: {
      request_id: column(({ inference }) => inference.requestId),
      row: column(({ inference }) => inference.row),
      judge: column(() => judge.name),
      judge_version: column(() => judge.version),
      status: column(({ verdict }) => verdict.status),
      kind: column(({ verdict }) => verdict.status === "scored" ? null : verdict.kind),
      score: column(({ verdict }) => verdict.status === "scored" ? verdict.score : null),
      rationale: column(({ verdict }) =>
        verdict.status === "error" ? verdict.message : verdict.rationale ?? null
      ),
      inclusion_probability: column(() => samplingRate),
      tokens_in: column(({ verdict }) =>
        verdict.status === "scored" ? verdict.tokensIn ?? null : null
      ),
      tokens_out: column(({ verdict }) =>
        verdict.status === "scored" ? verdict.tokensOut ?? null : null
      ),
      ms: column(({ ms }) => ms),
      created_at: column(() => now),
    },
  }]);
}

async function readProfiles(
  store: Store,
  model: string,
  version: number,
): Promise<Record<string, ClassProfile>> {
  const [row] = await store.query<{ profiles: string | null }>(
    "select report->'profiles' as profiles from core.model_versions where model = ? and version = ?",
    [model, version],
  );
  return row?.profiles ? JSON.parse(row.profiles) : {};
}
