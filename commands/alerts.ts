/** `deno task alerts …`. */
import { openPlugins, openProject, sections } from "../run.ts";
import { loadConfig } from "../runtime/config.ts";
import { UsageError } from "../runtime/errors.ts";
import type { AlertsAction } from "./alerts/action.ts";
import { deliveryActions } from "./alerts/deliveries.ts";
import { authorActions } from "./alerts/author.ts";
import { evaluateNamed } from "./alerts/evaluate.ts";
import { inspectActions } from "./alerts/inspect.ts";
import { markActions } from "./alerts/marks.ts";
import type { Arguments } from "./arguments.ts";
import { projectOptions } from "./options.ts";

const actions: Readonly<Record<string, AlertsAction>> = {
  ...markActions,
  ...inspectActions,
  ...authorActions,
  ...deliveryActions,
};

/** What runs without a name of an action: the positional arguments are names of alerts. */
const evaluation: AlertsAction = {
  takes: [0, 100, "[NAME…]"],
  options: ["model"],
  run: evaluateNamed,
};

/** Evaluates alerts, or runs the action that the first argument names. */
export async function run(args: Arguments): Promise<number | void> {
  const [name, ...rest] = args.positionals;
  const named = name === undefined ? undefined : actions[name];
  const action = named ?? evaluation;
  const positionals = named ? rest : args.positionals;
  checkUse(named ? name : "", action, { positionals, options: args.options });
  if (name !== undefined && Object.hasOwn(authorActions, name)) {
    const config = await loadConfig(sections, projectOptions(args));
    const plugins = await openPlugins(config.plugins);
    return await authorActions[name].run({ plugins }, args, positionals);
  }
  await using project = await openProject({ ...projectOptions(args), create: false });
  return await action.run(project, args, positionals);
}

function checkUse(
  name: string,
  { takes: [least, most, usage], options }: AlertsAction,
  given: { readonly positionals: readonly string[]; readonly options: Arguments["options"] },
): void {
  const { length } = given.positionals;
  if (length < least || length > most) {
    throw new UsageError(
      `Cannot ${name} alerts with ${length} arguments: usage is deno task alerts ${name} ${usage}`
        .trimEnd(),
    );
  }
  const odd = [evaluation, ...Object.values(actions)].flatMap((action) => action.options)
    .find((option) => given.options[option] !== undefined && !options.includes(option));
  if (odd === undefined) return;
  throw new UsageError(
    `Cannot use --${odd} with "${`alerts ${name}`.trimEnd()}": it takes ${
      options.map((option) => `--${option}`).join(", ") || "none of these options"
    }`,
  );
}
