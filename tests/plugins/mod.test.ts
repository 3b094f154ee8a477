import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { pathToFileURL } from "node:url";
import { loadPlugins } from "../../plugins/mod.ts";
import { Plugins } from "../../plugins/plugin.ts";

const SINK = (name: string) =>
  `{ kind: "sink", name: "${name}", summary: "a test", deliver: () => Promise.resolve() }`;

async function withModule(
  text: string,
  action: (dir: string, file: string) => Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/my plugin.ts`, text);
    await action(dir, "./my plugin.ts");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("loadPlugins() gives a third party's plugins behind the built-in ones when given a path", () =>
  withModule(`export default [${SINK("one")}, ${SINK("two")}];`, async (dir, file) => {
    for (const specifier of [file, `${dir}/my plugin.ts`, pathToFileURL(`${dir}/${file}`).href]) {
      const plugins = new Plugins(await loadPlugins([specifier], dir));
      const names = plugins.list("sink").map(({ name }) => name);
      assertEquals(names.slice(0, 2), ["log", "file"]);
      assertEquals(names.slice(-2), ["one", "two"]);
    }
  }));

Deno.test("loadPlugins() takes a single plugin as default export", () =>
  withModule(`export default ${SINK("one")};`, async (dir, file) => {
    const plugins = new Plugins(await loadPlugins([file], dir));
    await plugins.get("sink", "one").deliver([], new AbortController().signal);
    assertEquals(plugins.list("sink").at(-1)!.name, "one");
  }));

Deno.test("loadPlugins() names the specifier when it cannot be imported", async () => {
  for (const specifier of ["./missing.ts", "no-such-package", "", "ftp://x/y.ts"]) {
    const error = await assertRejects(() => loadPlugins([specifier], "/tmp"), TypeError);
    assert(error.message.startsWith(`Cannot load plugin "${specifier}": `), error.message);
    assert(!error.message.includes("\n"));
  }
  await withModule("export default {;", async (dir, file) => {
    await assertRejects(() => loadPlugins([file], dir), TypeError, 'Cannot load plugin "./my');
  });
});

Deno.test("loadPlugins() says so when the module exports no plugin", async () => {
  for (
    const text of [
      "export const sink = 1;",
      "export default null;",
      "export default () => 1;",
      "export default [];",
      `export default [${SINK("one")}, "two"];`,
    ]
  ) {
    await withModule(text, async (dir, file) => {
      await assertRejects(
        () => loadPlugins([file], dir),
        TypeError,
        'Cannot load plugin "./my plugin.ts": its default export is no plugin',
      );
    });
  }
});

Deno.test("Plugins.add() refuses a name that is taken and a kind that is unknown", async () => {
  await withModule(`export default ${SINK("log")};`, async (dir, file) => {
    const loaded = await loadPlugins([file], dir);
    assertThrows(() => new Plugins(loaded), TypeError, 'Cannot add sink "log": the name is');
  });
  await withModule(`export default { kind: "tuner", name: "x" };`, async (dir, file) => {
    const loaded = await loadPlugins([file], dir);
    assertThrows(() => new Plugins(loaded), TypeError, 'kind "tuner"');
  });
});

Deno.test("Plugins.get() lists what there is when the name is unknown", async () => {
  const plugins = new Plugins(await loadPlugins());
  assertThrows(() => plugins.get("drift", "kss"), RangeError, "there are ks, psi");
  assertEquals(plugins.get("drift", "ks").name, "ks");
});
