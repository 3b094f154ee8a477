import { assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { pathToFileURL } from "node:url";
import { hashCode } from "../../runtime/code_hash.ts";

const FILES: Readonly<Record<string, string>> = {
  "main.ts": `import { a } from "./a.ts";\nexport * from './lib/b.ts';\n`,
  "a.ts": `import type { C } from "./lib/c.ts";\nexport const a = 1;\n`,
  "lib/b.ts": `const d = await import(\n  "../d.ts"\n);\nimport "../main.ts";\n`,
  "lib/c.ts":
    `/** Written with \`import { x } from "./an_example_that_is_no_file.ts"\` and "./". */\n`,
  "d.ts": `import data from "./data.json" with { type: "json" };\n`,
  "data.json": "{}",
  "other.ts": "export const other = 1;\n",
};

/** Hash of `main.ts`, computed in a process of its own: within one, code does not change. */
async function hashInProcess(dir: string): Promise<string> {
  const script = `import { hashCode } from ${
    JSON.stringify(new URL("../../runtime/code_hash.ts", import.meta.url).href)
  };
console.log(await hashCode([${JSON.stringify(pathToFileURL(`${dir}/main.ts`).href)}]));`;
  await Deno.writeTextFile(`${dir}/hash.ts`, script);
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-R", "--no-lock", `${dir}/hash.ts`],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

async function withFiles(action: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${dir}/lib`);
    for (const [name, text] of Object.entries(FILES)) {
      await Deno.writeTextFile(`${dir}/${name}`, text);
    }
    await action(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("hashCode() changes when a file that is imported in any way changes, and only then", () =>
  withFiles(async (dir) => {
    const before = await hashInProcess(dir);
    assertMatch(before, /^[0-9a-f]{64}$/);
    await Deno.writeTextFile(`${dir}/other.ts`, "export const other = 2;\n");
    assertEquals(await hashInProcess(dir), before);
    const seen = new Set([before]);
    for (const name of ["main.ts", "a.ts", "lib/b.ts", "lib/c.ts", "d.ts", "data.json"]) {
      await Deno.writeTextFile(`${dir}/${name}`, `${FILES[name]}\n`);
      const hash = await hashInProcess(dir);
      assertEquals(seen.has(hash), false, name);
      seen.add(hash);
      await Deno.writeTextFile(`${dir}/${name}`, FILES[name]);
    }
    assertEquals(await hashInProcess(dir), before);
  }));

Deno.test("hashCode() keeps its answer within a process, as loaded modules keep their code", () =>
  withFiles(async (dir) => {
    const root = pathToFileURL(`${dir}/main.ts`).href;
    const before = await hashCode([root]);
    await Deno.writeTextFile(`${dir}/a.ts`, "export const a = 2;\n");
    assertEquals(await hashCode([root]), before);
  }));

Deno.test("hashCode() tells roots apart by name when they are no files", async () => {
  const hashes = await Promise.all(
    [[], ["npm:x@1"], ["npm:x@2"], ["https://example.com/a.ts"]].map(hashCode),
  );
  assertEquals(new Set(hashes).size, 4);
});

Deno.test("hashCode() does not depend on the order of the roots", () =>
  withFiles(async (dir) => {
    const roots = ["a.ts", "other.ts"].map((name) => pathToFileURL(`${dir}/${name}`).href);
    assertEquals(await hashCode(roots), await hashCode([...roots].reverse()));
    assertNotEquals(await hashCode(roots), await hashCode([roots[0]]));
  }));
