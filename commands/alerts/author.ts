/** `deno task alerts new|test`: writing alerts. */
import { basename, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { testAlert, type UnitTestResult } from "../../runtime/alerts/unit_tests.ts";
import { UsageError } from "../../runtime/errors.ts";
import { print } from "../../runtime/terminal.ts";
import { choosePlugins } from "../options.ts";
import type { AuthorAction } from "./action.ts";
import { alertTemplate, testTemplate } from "./template.ts";

/** Folder of the alerts' files. */
const FOLDER = new URL("../../plugins/alerts/", import.meta.url);

const SUFFIX = ".test.yaml";

/** Actions on the files of alerts. */
export const authorActions: Readonly<Record<string, AuthorAction>> = {
  new: {
    takes: [1, 1, "NAME"],
    options: [],
    async run(_project, { options }, [name]) {
      if (!/^[a-z][a-z0-9_]{0,62}$/.test(name)) {
        throw new UsageError(
          `Cannot name an alert "${name}": use lower-case letters, digits and _, a letter first`,
        );
      }
      const files = [[`${name}.sql`, alertTemplate], [name + SUFFIX, testTemplate]] as const;
      for (const [file] of files) {
        if (!await Deno.stat(new URL(file, FOLDER)).then(() => true, () => false)) continue;
        throw new UsageError(
          `Cannot make alert "${name}": plugins/alerts/${file} is there already; choose another name`,
        );
      }
      for (const [file, text] of files) {
        await Deno.writeTextFile(new URL(file, FOLDER), text(name), { createNew: true });
      }
      const paths = files.map(([file]) => `plugins/alerts/${file}`);
      print(
        options.json === true
          ? JSON.stringify({ name, files: paths })
          : `${paths.join(" and ")} are there; change them, then "deno task alerts test ${
            paths[1]
          }"`,
      );
    },
  },
  test: {
    takes: [0, 1, "[FILE]"],
    options: [],
    async run({ plugins }, { options }, [file]) {
      const paths = file === undefined ? await listTests() : [resolve(file)];
      const results: UnitTestResult[] = [];
      for (const path of paths) {
        if (!path.endsWith(SUFFIX)) {
          throw new UsageError(
            `Cannot test "${file}": tests of alert NAME stand in NAME${SUFFIX} beside it`,
          );
        }
        const [alert] = choosePlugins(plugins, "alert", [basename(path, SUFFIX)]);
        results.push(...await testAlert(alert, await readFile(path)));
      }
      const failed = results.filter(({ failures }) => failures.length > 0).length;
      if (options.json === true) {
        print(JSON.stringify({ passed: results.length - failed, failed, results }));
      } else {
        for (const { alert, test, failures } of results) {
          print(`${failures.length === 0 ? "pass" : "FAIL"}  ${alert}: ${test}`);
          for (const failure of failures) print(`      ${failure}`);
        }
        print(`${results.length - failed} passed, ${failed} failed`);
      }
      return failed > 0 ? 1 : 0;
    },
  },
};

async function listTests(): Promise<string[]> {
  const paths: string[] = [];
  for await (const { name, isFile } of Deno.readDir(FOLDER)) {
    if (isFile && name.endsWith(SUFFIX)) paths.push(fileURLToPath(new URL(name, FOLDER)));
  }
  return paths.sort();
}

async function readFile(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new UsageError(`Cannot read "${path}": there is no such file`);
  }
}
