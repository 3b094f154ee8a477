/** What judges answered to cases of known truth. */
import type { KnownInference, Verdict } from "../../plugins/plugin.ts";
import type { Store } from "../../runtime/store/store.ts";
import { ask, type Asked } from "../asking.ts";
import { traceLog, traceVerdict } from "../tracing.ts";

/** A case with a judge's answer. */
export interface AnsweredCase extends KnownInference {
  readonly verdict: Verdict;
  readonly ms: number;
}

/** What cases are asked for. */
export interface CaseBatch {
  readonly kind: "card" | "canary";
  /** Name of the batch; cases of one batch are asked once. */
  readonly batch: string;
  readonly model: string;
  readonly version: number;
  readonly signal: AbortSignal;
  readonly onProgress?: (share: number) => void;
}

/** Answers are kept after so many, so that a kill loses few of them. */
const KEPT_AT_ONCE = 32;

/** Asks a judge about cases, keeps what it says, and gives it. Stops when it is aborted. */
export async function askCases(
  store: Store,
  { plugin, context, judge, judgeVersion }: Asked,
  cases: readonly KnownInference[],
  { kind, batch, model, version, signal, onProgress }: CaseBatch,
): Promise<AnsweredCase[]> {
  const answered: AnsweredCase[] = [];
  for (let start = 0; start < cases.length; start += KEPT_AT_ONCE) {
    const part: AnsweredCase[] = [];
    for (const known of cases.slice(start, start + KEPT_AT_ONCE)) {
      const begin = performance.now();
      // The reason is for people; nobody reads that of a case.
      const { flagBelow: _, ...quiet } = context;
      const { verdict } = await traceVerdict(
        store,
        { judge, judgeVersion, inference: known.inference, purpose: kind },
        () => ask(plugin, known.inference, quiet),
      );
      // What was asked has cost something, whether its answer counts or not.
      if (signal.aborted) await traceLog(store).flush();
      signal.throwIfAborted();
      part.push({ ...known, verdict, ms: performance.now() - begin });
    }
    await traceLog(store).flush();
    const column = <T>(read: (row: AnsweredCase) => T) => part.map(read);
    const now = new Date();
    await store.transaction([{
      append: "core.judge_cases",
      columns: {
        kind: column(() => kind),
        batch: column(() => batch),
        model: column(() => model),
        version: column(() => version),
        judge: column(() => judge),
        judge_version: column(() => judgeVersion),
        request_id: column(({ inference }) => inference.requestId),
        shown: column(({ inference }) => inference.label),
        is_good: column(({ isGood }) => isGood),
        status: column(({ verdict }) => verdict.status),
        reason: column(({ verdict }) => verdict.status === "scored" ? null : verdict.kind),
        score: column(({ verdict }) => verdict.status === "scored" ? verdict.score : null),
        tokens_in: column(({ verdict }) => verdict.tokensIn ?? null),
        tokens_out: column(({ verdict }) => verdict.tokensOut ?? null),
        ms: column(({ ms }) => ms),
        created_at: column(() => now),
      },
    }]);
    answered.push(...part);
    onProgress?.(answered.length / cases.length);
  }
  return answered;
}
