/** `deno task judge [JUDGE…]`, `deno task judge --traces [JUDGE…]`. */
import type { Arguments } from "./arguments.ts";
import { judgeCalls, judgeSample, type JudgeSummary } from "../judges/judging.ts";
import { hasCalls } from "../judges/subjects/calls.ts";
import { judgingParams, openProject, type Project } from "../run.ts";
import { UsageError } from "../runtime/errors.ts";
import { formatCount, formatTable, print } from "../runtime/terminal.ts";
import { choosePlugins, chooseVersion, projectOptions, readNumber } from "./options.ts";

/** Judges what is sampled and not judged yet; 1 when no judge could answer. */
export async function run(args: Arguments): Promise<number> {
  await using project = await openProject({ ...projectOptions(args), create: false });
  const isTraces = args.options.traces === true;
  const { about, note, head, summaries } = isTraces
    ? await judgeTraces(project, args)
    : await judgePredictions(project, args);
  const isUnanswered = summaries.every(({ status }) => status === "skipped");
  if (args.options.json === true) {
    print(JSON.stringify({ ...about, judges: summaries }));
    return isUnanswered ? 1 : 0;
  }
  if (note !== null) print(`note: ${note}`);
  print(`${head}\n`);
  print(formatTable(
    [
      ...["judge", "status", "scored", "abstained", "errors", "coverage", "mean", "implausible"],
      ...["left", "detail"],
    ],
    summaries.map((s) => [
      s.judge,
      s.status,
      s.scored,
      s.abstained,
      s.errors,
      s.coverage,
      s.meanScore,
      s.implausible,
      s.left,
      s.detail,
    ]),
  ));
  for (const { judge, stopped, left } of summaries) {
    if (stopped !== null) {
      print(`\n${judge} was asked no further, ${formatCount(left)} are left: ${stopped}`);
    }
  }
  return isUnanswered ? 1 : 0;
}

/** What was judged, and what became of it. */
interface Judged {
  /** What its JSON begins with. */
  readonly about: Readonly<Record<string, unknown>>;
  readonly note: string | null;
  readonly head: string;
  readonly summaries: readonly JudgeSummary[];
}

async function judgePredictions(project: Project, args: Arguments): Promise<Judged> {
  const { plugins, store, config } = project;
  const params = judgingParams(config);
  const samplingRate = readRate(args) ?? params.samplingRate;
  const names = args.positionals.length > 0 ? args.positionals : params.judges;
  const judges = choosePlugins(plugins, "judge", names);
  const { model, version, note } = await chooseVersion(project, args);
  const summaries = await judgeSample(store, {
    judges,
    model,
    version,
    params: { ...params, samplingRate },
    seed: config.seed,
    signal: args.signal,
  });
  const head = `${model} version ${version}, sampling rate ${samplingRate}`;
  return { about: { model, version }, note, head, summaries };
}

async function judgeTraces(project: Project, args: Arguments): Promise<Judged> {
  const { plugins, store, config } = project;
  const params = judgingParams(config);
  if (args.options.model !== undefined) {
    throw new UsageError(
      "Cannot use --model with --traces: calls are of no version; narrow them by " +
        "monitoring.judging.traces.where",
    );
  }
  const samplingRate = readRate(args) ?? params.traces.samplingRate;
  const names = args.positionals.length > 0 ? args.positionals : params.traces.judges;
  if (names.length === 0) {
    throw new UsageError(
      "Cannot judge traces: monitoring.judging.traces.judges is empty; " +
        'name judges of texts, as in "deno task judge --traces safety relevance"',
    );
  }
  const summaries = await judgeCalls(store, {
    judges: choosePlugins(plugins, "judge", names),
    params: { ...params, traces: { ...params.traces, samplingRate } },
    seed: config.seed,
    signal: args.signal,
  });
  const note = await hasCalls(store)
    ? null
    : "no trace has a call of a language model whose reply is kept; send some to POST /v1/traces";
  const head = `calls of language models, sampling rate ${samplingRate}`;
  return { about: { traces: true }, note, head, summaries };
}

/** The rate that was asked for, `null` when none was. */
function readRate({ options }: Arguments): number | null {
  if (options.rate === undefined) return null;
  const rate = readNumber("rate", options.rate);
  if (!(rate >= 0 && rate <= 1)) {
    throw new UsageError(`Cannot use --rate ${rate}: it must lie in [0, 1]`);
  }
  return rate;
}
