/** `deno task models …`. */
import type { Arguments } from "./arguments.ts";
import { loadConfig } from "../runtime/config.ts";
import { UsageError } from "../runtime/errors.ts";
import { resolveVersion, rollbackAlias } from "../runtime/registry/model_registry.ts";
import { openStore } from "../runtime/store/store.ts";
import { formatTable, print } from "../runtime/terminal.ts";
import { sections } from "../run.ts";
import { compareVersions, type VersionComparison } from "../serving/traffic/compare.ts";
import { type ModelsAction, printRows } from "./models/action.ts";
import { promotionActions } from "./models/promotion.ts";
import { checkName, projectOptions, readText } from "./options.ts";

/** Runs one action on the model registry; 1 when the gates refused. */
export async function run(args: Arguments): Promise<number | void> {
  const [name = "list", ...rest] = args.positionals;
  const action = actions[checkName("action", name, Object.keys(actions))];
  checkUse(name, action, { rest, options: args.options });
  const config = await loadConfig(sections, projectOptions(args));
  await using store = await openStore(config.store, { create: false, publish: false });
  return await action.run({ store, config, args }, ...rest);
}

function checkUse(
  name: string,
  { positionals, options }: ModelsAction,
  given: { readonly rest: readonly string[]; readonly options: Arguments["options"] },
): void {
  const least = positionals.filter((each) => !each.startsWith("[")).length;
  if (given.rest.length < least || given.rest.length > positionals.length) {
    throw new UsageError(
      `Cannot ${name} with ${given.rest.length} arguments: usage is deno task ${
        ["models", name, ...positionals].join(" ")
      }`,
    );
  }
  const odd = Object.values(actions).flatMap((action) => action.options).find((option) =>
    given.options[option] !== undefined && !options.includes(option)
  );
  if (odd === undefined) return;
  throw new UsageError(
    `Cannot use --${odd} with "models ${name}": it takes ${
      options.map((option) => `--${option}`).join(", ") || "none of these options"
    }`,
  );
}

const actions: Readonly<Record<string, ModelsAction>> = {
  list: {
    positionals: [],
    options: [],
    async run({ store, args }) {
      const rows = await store.query(
        `select model, version, aliases, round((report->>'$.scores.macroF1.value')::double, 4) as macro_f1,
           round((report->>'$.scores.accuracy.value')::double, 4) as accuracy, report->>'$.trainer' as trainer,
           created_at, left(artifact, 12) as artifact
         from models order by model, version desc`,
      );
      printRows(rows, args);
    },
  },
  show: {
    positionals: ["[REF]"],
    options: [],
    async run({ store, config: { name: model }, args }, reference = "production") {
      const version = await resolveVersion(store, model, reference);
      const [row] = await store.query<{ report: string; signature: string }>(
        "select report, signature from core.model_versions where model = ? and version = ?",
        [model, version.version],
      );
      const report = JSON.parse(row.report);
      const signature = JSON.parse(row.signature);
      if (args.options.json === true) {
        return print(JSON.stringify({ ...version, signature, report }));
      }
      print(
        [
          `${model} version ${version.version}, ${report.trainer}, created ${version.createdAt}`,
          `artifact ${version.artifact}`,
          `evidence ${version.evidenceHash}`,
          `inputs   ${
            signature.inputs.map((i: { name: string; unit?: string }) =>
              i.unit ? `${i.name} (${i.unit})` : i.name
            ).join(", ")
          }`,
          `classes  ${signature.classes.join(", ")}`,
          "",
          formatTable(
            ["class", "rows", "precision", "recall", "f1"],
            report.scores.classes.map((
              c: {
                name: string;
                support: number;
                precision: number;
                recall: number;
                f1: number;
              },
            ) => [c.name, c.support, c.precision, c.recall, c.f1]),
          ),
        ].join("\n"),
      );
    },
  },
  history: {
    positionals: [],
    options: [],
    async run({ store, config, args }) {
      const rows = await store.query(
        `select changed_at, alias, from_version, to_version, changed_by, reason from alias_history
         where model = ? order by change`,
        [config.name],
      );
      printRows(rows, args);
    },
  },
  compare: {
    positionals: ["CHAMPION", "CHALLENGER"],
    options: [],
    async run({ store, config, args }, champion, challenger) {
      const comparison = await compareVersions(store, config.name, { champion, challenger });
      print(
        args.options.json === true ? JSON.stringify(comparison) : describeComparison(comparison),
      );
    },
  },
  rollback: {
    positionals: ["[ALIAS]"],
    options: ["reason"],
    async run({ store, config: { name: model }, args }, alias = "production") {
      const reason = readText(args.options.reason) ?? "rolled back by hand";
      print(`${model}@${alias} is version ${await rollbackAlias(store, model, alias, reason)}`);
    },
  },
  ...promotionActions,
};

function describeComparison(comparison: VersionComparison): string {
  const { design, discordant, eValue, pValue, alpha, decision } = comparison;
  const rows = (["champion", "challenger"] as const).map((role) => {
    const { version, requests, rows, accuracy } = comparison[role];
    return [
      role,
      version,
      requests,
      rows,
      accuracy && accuracy.value.toFixed(4),
      accuracy && `${accuracy.low.toFixed(4)} to ${accuracy.high.toFixed(4)}`,
    ];
  });
  const compared = discordant === null
    ? "each on its own requests"
    : `on the same records; ${discordant.challengerOnly} were right by the challenger alone, ` +
      `${discordant.championOnly} by the champion alone`;
  return [
    formatTable(["", "version", "requests", "rows", "accuracy", `${100 * (1 - alpha)} %`], rows),
    "",
    `${design}: ${compared}`,
    `e-value ${eValue.toPrecision(3)}, always-valid p ${pValue.toPrecision(3)}: ${decision}`,
  ].join("\n");
}
