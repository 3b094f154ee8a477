/** `deno task prompts …`: the texts of judges as versions under aliases. */
import { basename } from "node:path";
import { connection } from "../judges/mod.ts";
import { registerPrompt, resolvePrompt, setPromptAlias } from "../judges/registry/registry.ts";
import { describeError, UsageError } from "../runtime/errors.ts";
import { userName } from "../runtime/registry/model_registry.ts";
import { formatTable, print } from "../runtime/terminal.ts";
import { type Action, runAction } from "./actions.ts";
import type { Arguments } from "./arguments.ts";
import { readText } from "./options.ts";

/** Runs one action on the prompts of the store. */
export function run(args: Arguments): Promise<number | void> {
  return runAction("prompts", actions, args);
}

const actions: Readonly<Record<string, Action>> = {
  list: {
    positionals: [],
    options: [],
    async handle(store, { options }) {
      const rows = await store.query(
        `select name, version, aliases, message, created_at, created_by, hash[:12] as hash
         from judge_prompts order by name, version`,
      );
      if (options.json === true) return print(JSON.stringify(rows));
      if (rows.length === 0) {
        return print('no prompt yet: "deno task prompts register FILE.md"');
      }
      print(formatTable(
        Object.keys(rows[0]),
        rows.map((row) =>
          Object.values(row).map((cell) => Array.isArray(cell) ? cell.join(" ") : cell)
        ),
      ));
    },
  },
  register: {
    positionals: ["FILE"],
    options: ["message"],
    async handle(store, { options }, path) {
      const { name, version, isNew } = await registerPrompt(store, {
        text: await readFile(path),
        file: basename(path),
        message: readText(options.message),
        by: userName(),
      }, connection);
      if (options.json === true) return print(JSON.stringify({ name, version, isNew }));
      print(
        isNew
          ? `registered ${name}/${version}: name it in the config by plugins: ["prompts:/${name}/${version}"], ` +
            `or give it an alias by "deno task prompts alias ${name}/${version} production"`
          : `${name}/${version} is this text already`,
      );
    },
  },
  show: {
    positionals: ["NAME[/VERSION|@ALIAS]"],
    options: [],
    async handle(store, { options }, reference) {
      const prompt = await resolvePrompt(store, reference);
      print(options.json === true ? JSON.stringify(prompt) : prompt.text.replace(/\n$/, ""));
    },
  },
  alias: {
    positionals: ["NAME[/VERSION|@ALIAS]", "ALIAS"],
    options: [],
    async handle(store, { options, positionals }, reference) {
      const alias = positionals[2].replace(/^@/, "");
      const { name, version } = await setPromptAlias(store, { reference, alias, by: userName() });
      print(
        options.json === true
          ? JSON.stringify({ name, alias, version })
          : `${name}@${alias} is version ${version}; a server follows with its next batch`,
      );
    },
  },
};

async function readFile(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new UsageError(
      `Cannot register prompt "${path}": ${
        describeError(error)
      }; "deno task judges new NAME" writes one`,
    );
  }
}
