/** `deno task judge [JUDGE…]`. */
import type { Arguments } from "./arguments.ts";
import { judgeSample } from "../judges/judging.ts";
import { judgingParams, openProject } from "../run.ts";
import { UsageError } from "../runtime/errors.ts";
import { formatTable, print } from "../runtime/terminal.ts";
import { choosePlugins, chooseVersion, projectOptions, readNumber } from "./options.ts";

/** Judges what is sampled and not judged yet; 1 when no judge could answer. */
export async function run(args: Arguments): Promise<number> {
  await using project = await openProject({ ...projectOptions(args), create: false });
  const { plugins, store, config } = project;
  const params = judgingParams(config);
  const rate = args.options.rate === undefined
    ? params.samplingRate
    : readNumber("rate", args.options.rate);
  if (!(rate >= 0 && rate <= 1)) {
    throw new UsageError(`Cannot use --rate ${rate}: it must lie in [0, 1]`);
  }
  const names = args.positionals.length > 0 ? args.positionals : params.judges;
  const judges = choosePlugins(plugins, "judge", names);
  const version = await chooseVersion(project, args);
  const summaries = await judgeSample(store, {
    judges,
    model: version.model,
    version: version.version,
    params: { ...params, samplingRate: rate },
    seed: config.seed,
    signal: args.signal,
  });
  const isUnanswered = summaries.every(({ status }) => status === "skipped");
  if (args.options.json === true) {
    print(JSON.stringify({ model: version.model, version: version.version, judges: summaries }));
    return isUnanswered ? 1 : 0;
  }
  if (version.note !== null) print(`note: ${version.note}`);
  print(`${version.model} version ${version.version}, sampling rate ${rate}\n`);
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
  return isUnanswered ? 1 : 0;
}
