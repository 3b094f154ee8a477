/**
 * How any judge is asked, whatever its origin: with the context it may look at, under the name of its
 * version, and so that what breaks the contract is an error and no score.
 *
 * @module
 */
import { z } from "zod";
import type { Inference, JudgeContext, Plugin, Verdict } from "../plugins/plugin.ts";
import { describeError, UsageError } from "../runtime/errors.ts";
import type { Store } from "../runtime/store/store.ts";
import { hashDefinition } from "./forms/form.ts";
import { openHistory } from "./history.ts";
import { type JudgeVersion, readProfiles } from "./rows.ts";

/** What the asking of all judges of one version of a model shares. */
export interface AskingOptions {
  readonly model: string;
  readonly version: number;
  readonly params: {
    readonly threshold: number;
    readonly redact: readonly string[];
    /** Parameters by judge. */
    readonly params: Readonly<Record<string, unknown>>;
  };
  readonly signal: AbortSignal;
}

/** A judge that can be asked. */
export interface Asked extends JudgeVersion {
  readonly plugin: Plugin<"judge">;
  readonly context: JudgeContext;
}

/**
 * Gives what makes a judge ready to be asked: its parameters are checked at once, what it learns from
 * rows of known truth is learned when it is called.
 *
 * @throws {UsageError} when a judge takes no parameters, or others, than it is given.
 */
export async function openAsking(
  store: Store,
  judges: readonly Plugin<"judge">[],
  options: AskingOptions,
): Promise<(judge: Plugin<"judge">) => Promise<Asked>> {
  const { signal, params: { threshold, redact } } = options;
  const given = new Map(judges.map((judge) => [judge, readParams(judge, options)]));
  const shared = {
    profiles: await readProfiles(store, options),
    history: openHistory(store, options),
    signal,
    flagBelow: threshold,
    redact,
  };
  return async (judge) => {
    const params = given.get(judge);
    const context: JudgeContext = params === undefined ? shared : { ...shared, params };
    const learned = await judge.learn?.(context);
    const asked = { plugin: judge, context, ...nameVersion(judge, params, learned) };
    await keepDefinition(store, asked);
    return asked;
  };
}

/** Keeps what the version of a judge is of: its name is a hash, and rows outlive files. */
async function keepDefinition(
  store: Store,
  { plugin: { definition, prompt }, judge, judgeVersion }: Omit<Asked, "context">,
): Promise<void> {
  if (definition === undefined) return;
  await store.query(
    `insert into core.judge_versions values (?, ?, ?, ?::json, now() at time zone 'UTC')
     on conflict do nothing`,
    [judge, judgeVersion, prompt ?? null, JSON.stringify(definition)],
  );
}

/** The parameters that the config gives a judge, `undefined` when none. */
function readParams(judge: Plugin<"judge">, { params: { params } }: AskingOptions): unknown {
  if (!Object.hasOwn(params, judge.name)) return undefined;
  const fail = (reason: string) =>
    new UsageError(`Cannot use judging.params of judge "${judge.name}": ${reason}`);
  if (judge.params === undefined) throw fail("it takes none; leave them out");
  const parsed = judge.params.safeParse(params[judge.name]);
  if (!parsed.success) throw fail(z.prettifyError(parsed.error));
  return parsed.data;
}

/** How rows name a judge: with other parameters, or having learned otherwise, it is another version. */
function nameVersion(judge: Plugin<"judge">, params: unknown, learned?: string): JudgeVersion {
  const suffixes = [params === undefined ? "" : `+${hashDefinition(params)}`];
  if (learned !== undefined) suffixes.push(`+${learned}`);
  return { judge: judge.name, judgeVersion: `${judge.version}${suffixes.join("")}` };
}

/** Whether a judge can answer now; a probe that throws says that it cannot. */
export async function probe(
  judge: Plugin<"judge">,
  signal: AbortSignal,
): Promise<{ readonly ready: boolean; readonly detail: string }> {
  try {
    return await judge.probe(signal);
  } catch (error) {
    return { ready: false, detail: `its probe failed: ${describeError(error)}` };
  }
}

/** Asks a judge of whatever origin: what breaks the contract is an error of kind `judge`. */
export async function ask(
  judge: Plugin<"judge">,
  inference: Inference,
  context: JudgeContext,
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
