/** `deno task judges doctor NAME`. */
import type { Asked } from "../../judges/asking.ts";
import { examine, ROWS } from "../../judges/doctor/doctor.ts";
import type { ProbeOutcome } from "../../judges/doctor/probes.ts";
import { createProgressLine, formatTable, print } from "../../runtime/terminal.ts";
import type { JudgesContext } from "../judges.ts";
import { openJudge, readRows } from "./asked.ts";

/** Examines a judge; 1 when a probe fails, or none could say anything. */
export async function handle(context: JudgesContext): Promise<number> {
  const { args, version: { version } } = context;
  const asked = await openJudge(context);
  const outcomes = await look(context, asked);
  if (outcomes === null) {
    throw new Error(
      `Cannot examine judge "${asked.judge}": version ${version} has no held-out predictions; ` +
        'run "deno task pipeline"',
    );
  }
  const failed = outcomes.filter(({ isPassed }) => isPassed === false);
  const isSilent = outcomes.every(({ isPassed }) => isPassed === null);
  if (args.options.json === true) {
    print(JSON.stringify({
      judge: asked.judge,
      judge_version: asked.judgeVersion,
      is_quarantined: failed.length > 0,
      probes: outcomes,
    }));
  } else {
    print(formatTable(
      ["probe", "state", "value", "limit", "detail"],
      outcomes.map(({ probe, isPassed, value, threshold, detail }) => [
        probe,
        isPassed === null ? "no data" : isPassed ? "passed" : "FAILED",
        value,
        threshold,
        detail,
      ]),
    ));
    print(
      failed.length > 0
        ? `\n${asked.judge} (${asked.judgeVersion}) is quarantined: it fires no alert and blocks no promotion`
        : isSilent
        ? `\n${asked.judge} gave no scores; nothing is known of it`
        : `\n${asked.judge} (${asked.judgeVersion}) passed`,
    );
  }
  return failed.length > 0 || isSilent ? 1 : 0;
}

async function look(context: JudgesContext, asked: Asked): Promise<ProbeOutcome[] | null> {
  const { args, project, version: { model, version } } = context;
  const rows = readRows(context, ROWS);
  using line = createProgressLine();
  return await examine(project.store, asked, {
    model,
    version,
    rows,
    signal: args.signal,
    onProgress: (share) => line.show(`judge ${asked.judge} ${Math.round(100 * share)} %`),
  });
}
