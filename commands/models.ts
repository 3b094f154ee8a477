/** `deno task models …`. */
import type { Arguments } from "./arguments.ts";
import { loadConfig } from "../runtime/config.ts";
import { UsageError } from "../runtime/errors.ts";
import { resolveVersion, rollbackAlias, setAlias } from "../runtime/model_registry.ts";
import { openStore, type Store } from "../runtime/store.ts";
import { formatTable, print } from "../runtime/terminal.ts";
import { sections } from "../run.ts";
import { checkName, projectOptions, readText } from "./options.ts";

/** Runs one action on the model registry. */
export async function run(args: Arguments): Promise<void> {
  const [action = "list", ...rest] = args.positionals;
  const handle = actions[checkName("action", action, Object.keys(actions))];
  const config = await loadConfig(sections, projectOptions(args));
  await using store = await openStore(config.store, { create: false, publish: false });
  await handle(store, config.name, rest, args);
}

type Action = (
  store: Store,
  model: string,
  rest: readonly string[],
  args: Arguments,
) => Promise<void>;

const actions: Readonly<Record<string, Action>> = {
  async list(store, _model, _rest, { options }) {
    const rows = await store.query(
      `select model, version, aliases, round((report->>'$.scores.macroF1.value')::double, 4) as macro_f1,
         round((report->>'$.scores.accuracy.value')::double, 4) as accuracy, report->>'$.trainer' as trainer,
         created_at, left(artifact, 12) as artifact
       from models order by model, version desc`,
    );
    printRows(rows, options.json === true);
  },
  async show(store, model, [reference = "production"], { options }) {
    const version = await resolveVersion(store, model, reference);
    const [row] = await store.query<{ report: string; signature: string }>(
      "select report, signature from core.model_versions where model = ? and version = ?",
      [model, version.version],
    );
    const report = JSON.parse(row.report);
    const signature = JSON.parse(row.signature);
    if (options.json === true) return print(JSON.stringify({ ...version, signature, report }));
    print(
      [
        `${model} version ${version.version}, ${report.trainer}, created ${version.createdAt}`,
        `artifact ${version.artifact}`,
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
  async history(store, model, _rest, { options }) {
    const rows = await store.query(
      `select changed_at, alias, from_version, to_version, changed_by, reason from alias_history
       where model = ? order by change`,
      [model],
    );
    printRows(rows, options.json === true);
  },
  async promote(store, model, [reference, alias], { options }) {
    if (reference === undefined || alias === undefined) {
      throw new UsageError("Cannot promote: usage is deno task models promote REF ALIAS");
    }
    const { version } = await resolveVersion(store, model, reference);
    const reason = readText(options.reason) ?? "promoted by hand";
    await setAlias(store, { model, alias, version, reason });
    print(`${model}@${alias} is version ${version}`);
  },
  async rollback(store, model, [alias = "production"], { options }) {
    const reason = readText(options.reason) ?? "rolled back by hand";
    print(`${model}@${alias} is version ${await rollbackAlias(store, model, alias, reason)}`);
  },
};

function printRows(rows: readonly Record<string, unknown>[], isJson: boolean): void {
  if (isJson) return print(JSON.stringify(rows));
  if (rows.length === 0) return print('none yet: run "deno task pipeline"');
  print(formatTable(Object.keys(rows[0]), rows.map((row) => Object.values(row).map(plain))));
}

function plain(value: unknown): unknown {
  return Array.isArray(value) ? value.join(", ") : value;
}
