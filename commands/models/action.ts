/** What the actions of `deno task models` share. */
import type { Arguments } from "../arguments.ts";
import type { Config } from "../../runtime/config.ts";
import type { GateParams } from "../../runtime/registry/gate_params.ts";
import type { PromotionOutcome } from "../../runtime/registry/promotion.ts";
import type { Store } from "../../runtime/store/store.ts";
import { formatTable, print } from "../../runtime/terminal.ts";

/** What an action gets. */
export interface ActionContext {
  readonly store: Store;
  readonly config: Config;
  readonly args: Arguments;
}

/** One action on the model registry. */
export interface ModelsAction {
  /** Positional arguments; one in brackets may be left out. */
  readonly positionals: readonly string[];
  /** Options that it takes beside those that choose a config. */
  readonly options: readonly string[];
  /** Gives the exit code when it is not 0. */
  run(context: ActionContext, ...rest: readonly string[]): Promise<number | void>;
}

/** Gives what the gates of a config ask for. */
export function gateParams(config: Config): GateParams {
  return config.sections.release as GateParams;
}

/** Prints rows as a table, or as JSON when it is asked for. */
export function printRows(
  rows: readonly Record<string, unknown>[],
  { options }: Arguments,
  none = 'none yet: run "deno task pipeline"',
): void {
  if (options.json === true) return print(JSON.stringify(rows));
  if (rows.length === 0) return print(none);
  print(formatTable(Object.keys(rows[0]), rows.map((row) => Object.values(row).map(plain))));
}

function plain(value: unknown): unknown {
  return Array.isArray(value) ? value.join(", ") : value;
}

/** Prints what became of a promotion, and gives the exit code: 1 when the gates refused. */
export function printPromotion(outcome: PromotionOutcome, { options }: Arguments): number {
  const { model, version, alias, previous, isForced, isPromoted, checks } = outcome;
  if (options.json === true) print(JSON.stringify(outcome));
  else {
    const words = { passed: "pass", failed: "FAIL", "no data": "none" } as const;
    const lines = checks.map(({ state, isPassed, reason }) =>
      `${isPassed || state === "failed" ? words[state] : "FAIL"}  ${reason}`
    );
    const was = previous === null || previous === version ? "" : `, was ${previous}`;
    const end = isPromoted
      ? `${model}@${alias} is version ${version}${was}${
        isForced ? ", forced against the gates" : ""
      }`
      : `not promoted: ${model}@${alias} ${
        previous === null ? "points to no version" : `stays version ${previous}`
      }`;
    print([...lines, end].join("\n"));
  }
  return isPromoted ? 0 : 1;
}
