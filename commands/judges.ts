/** `deno task judges`: what judges say, what they are worth, and what people say. */
import { openProject, type Project } from "../run.ts";
import { UsageError } from "../runtime/errors.ts";
import type { Arguments } from "./arguments.ts";
import { checkName, chooseVersion, type ChosenVersion, projectOptions } from "./options.ts";

/** What an action works on. */
export interface JudgesContext {
  readonly args: Arguments;
  readonly project: Project;
  readonly version: ChosenVersion;
  /** Arguments after the action's name. */
  readonly names: readonly string[];
}

interface Action {
  /** Names of its arguments; of the last one there may be any number where it ends in `…`. */
  readonly positionals: readonly string[];
  /** How many are needed. */
  readonly least: number;
  /** Options beside those of every action. */
  readonly options: readonly string[];
  load(): Promise<{ handle(context: JudgesContext): Promise<number | void> }>;
}

const actions: Readonly<Record<string, Action>> = {
  list: {
    positionals: [],
    least: 0,
    options: [],
    load: () => import("./judges/list.ts"),
  },
  card: {
    positionals: ["NAME"],
    least: 1,
    options: ["rows", "cases"],
    load: () => import("./judges/card.ts"),
  },
  doctor: {
    positionals: ["NAME"],
    least: 1,
    options: ["rows"],
    load: () => import("./judges/doctor.ts"),
  },
  compare: {
    positionals: ["NAME", "NAME"],
    least: 2,
    options: [],
    load: () => import("./judges/compare.ts"),
  },
  report: {
    positionals: ["JUDGE…"],
    least: 0,
    options: [],
    load: () => import("./judges/report.ts"),
  },
  label: {
    positionals: ["FILE"],
    least: 0,
    options: ["by", "judge"],
    load: () => import("./judges/label.ts"),
  },
};

/** Runs the action that the first argument names, `list` without one. */
export async function run(args: Arguments): Promise<number | void> {
  const [name = "list", ...names] = args.positionals;
  const known = [...Object.keys(actions), "new"];
  checkName("action of judges", name, known);
  if (name === "new") {
    const { writeTemplate } = await import("./judges/new.ts");
    return await writeTemplate(names, args);
  }
  const { load, positionals, least, options } = actions[name];
  const most = positionals.at(-1)?.endsWith("…") ? Infinity : positionals.length;
  if (names.length < least || names.length > most) {
    throw new UsageError(
      `Cannot ${name} judges with ${names.length} arguments: usage is deno task judges ${
        [name, ...positionals].join(" ")
      }`,
    );
  }
  const odd = ["rows", "cases", "by", "judge"].find((option) =>
    args.options[option] !== undefined && !options.includes(option)
  );
  if (odd !== undefined) {
    throw new UsageError(
      `Cannot use --${odd} with "judges ${name}": it takes ${
        options.map((option) => `--${option}`).join(", ") || "none of these options"
      }`,
    );
  }
  await using project = await openProject({ ...projectOptions(args), create: false });
  const version = await chooseVersion(project, args);
  return await (await load()).handle({ args, project, version, names });
}
