/** `deno task retention`. */
import type { Arguments } from "./arguments.ts";
import { openProject } from "../run.ts";
import { UsageError } from "../runtime/errors.ts";
import { userName } from "../runtime/registry/model_registry.ts";
import { planRetention, retain, type RetentionParams } from "../runtime/inference/retention.ts";
import { isRetaining } from "../runtime/inference/retention_schedule.ts";
import { formatTable, print } from "../runtime/terminal.ts";
import { projectOptions } from "./options.ts";

/** Takes away what is too old or too much, or with `--check` says what would go. */
export async function run(args: Arguments): Promise<number> {
  await using project = await openProject({ ...projectOptions(args), create: false });
  const { config, store } = project;
  const params = config.sections.retention as RetentionParams;
  if (!isRetaining(params)) {
    throw new UsageError(
      "Cannot apply retention: the config keeps everything; set retention.maxAgeDays, " +
        "retention.maxGiB, retention.payloadDays, retention.historyDays, retention.profileDays, " +
        "retention.estimateDays, retention.judgeDays or retention.judgeLabelDays",
    );
  }
  const isCheck = args.options.check === true;
  const result = isCheck
    ? { plan: await planRetention(store, params) }
    : await retain(store, params, { by: userName(), signal: args.signal });
  const { plan } = result;
  if (args.options.json === true) {
    print(JSON.stringify(result));
    return plan.problem === null ? 0 : 1;
  }
  const counts = Object.entries(plan.counts);
  print(
    formatTable(["table", isCheck ? "would go" : "gone"], counts.map(([name, n]) => [name, n])),
  );
  print(`oldest request: ${plan.oldest ?? "none"}`);
  print(`in use: ${toMiB(plan.usedBytes)} MiB, of it ${toMiB(plan.bytes)} MiB by what goes`);
  if ("usedBytes" in result) {
    print(`in use now: ${toMiB(result.usedBytes)} MiB; later rows fill what is free in the file`);
  }
  if (plan.problem !== null) print(plan.problem);
  return plan.problem === null ? 0 : 1;
}

function toMiB(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}
