/** `deno task judges compare NAME NAME`. */
import { signed } from "../../judges/cards/measure.ts";
import { compareJudges } from "../../judges/compare.ts";
import { formatTable, print } from "../../runtime/terminal.ts";
import type { JudgesContext } from "../judges.ts";

/** Compares two judges, or two versions of one, on what both of them scored. */
export async function handle({ args, project, version, names }: JudgesContext): Promise<void> {
  const { model, version: number } = version;
  const comparison = await compareJudges(project.store, [names[0], names[1]], {
    model,
    version: number,
  });
  if (args.options.json === true) return print(JSON.stringify(comparison));
  const { first, second, rows, source, auc, right } = comparison;
  print(formatTable(
    ["judge", "version", "AUC", "low", "high"],
    [first, second].map((side) => [
      side.judge,
      side.judgeVersion,
      ...(side.auc === null ? [null, null, null] : [side.auc.value, side.auc.low, side.auc.high]),
    ]),
  ));
  if (auc === null || right === null) {
    return print(`\n${rows} predictions in common (${source}), too few of either truth to compare`);
  }
  const { difference, low, high, pValue } = auc;
  const said = low > 0
    ? `${first.judge} ranks better`
    : high < 0
    ? `${second.judge} ranks better`
    : "neither ranks better beyond chance";
  print(
    `\n${rows} predictions in common (${source}): ${said}, AUC ${signed(difference)} ` +
      `[${signed(low)}, ${signed(high)}], p ${pValue.toFixed(3)} (DeLong)\n` +
      `${right.onlyFirst} are right by the first alone, ${right.onlySecond} by the second alone, ` +
      `p ${right.pValue.toFixed(3)} (McNemar)`,
  );
}
