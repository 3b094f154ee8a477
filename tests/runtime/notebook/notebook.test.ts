import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { dirname, join } from "node:path";
import { UsageError } from "../../../runtime/errors.ts";
import { type NotebookOptions, runNotebook } from "../../../runtime/notebook/mod.ts";
import {
  codeCells,
  NotebookError,
  readNotebook,
  sourceOf,
} from "../../../runtime/notebook/file.ts";
import { flattenNotebook, setParameters } from "../../../runtime/notebook/module.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;

/** A cell: its source, or its source and tags. */
type TestCell = string | readonly [source: string, ...tags: string[]];

function makeNotebook(cells: readonly TestCell[]) {
  return {
    nbformat: 4 as const,
    nbformat_minor: 5,
    metadata: { kernelspec: { name: "deno", display_name: "Deno", language: "typescript" } },
    cells: cells.map((cell, i) => {
      const [source, ...tags] = [cell].flat();
      return {
        cell_type: source.startsWith("#") ? "markdown" : "code",
        id: `c${i}`,
        metadata: { tags },
        source: source.split(/(?<=\n)/),
      };
    }),
  };
}

async function withNotebook(
  content: readonly TestCell[] | string,
  action: (path: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "test.ipynb");
    const text = typeof content === "string" ? content : JSON.stringify(makeNotebook(content));
    await Deno.writeTextFile(path, text);
    await action(path);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs cells without a type check, which takes seconds, unless the options ask for it. */
async function runCells(cells: readonly TestCell[], options: NotebookOptions = {}) {
  let ran: Awaited<ReturnType<typeof runNotebook>> | undefined;
  await withNotebook(cells, async (path) => {
    ran = await runNotebook(path, { check: false, ...options });
  });
  return ran!;
}

async function failCells(cells: readonly TestCell[], options: NotebookOptions = {}) {
  return await assertRejects(() => runCells(cells, options), NotebookError);
}

function entries(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

Deno.test("runNotebook() runs the quickstart from logs to a prediction", async () => {
  const path = join(ROOT, "notebooks/01_quickstart.ipynb");
  const committed = await Deno.readTextFile(path);
  const { notebook, result } = await runNotebook(path);
  assertEquals(await Deno.readTextFile(path), committed);
  assertEquals(notebook.nbformat, 4);
  const code = notebook.cells.filter((cell) => cell.cell_type === "code");
  assertEquals(code.map((cell) => cell.execution_count), code.map((_, i) => i + 1));
  assertEquals(result.cells, code.length);
  const shown = JSON.stringify(result.outputs);
  assertStringIncludes(shown, "evaluation: macro-F1");
  assertStringIncludes(shown, "<table>");
  assertStringIncludes(shown, "confidence");
  assertStringIncludes(shown, "status_code: 200");
});

Deno.test("the quickstart is committed without outputs and with an id for each cell", async () => {
  const { cells } = await readNotebook(join(ROOT, "notebooks/01_quickstart.ipynb"));
  for (const cell of cells) {
    assertMatch((cell as { id?: string }).id ?? "", /^[a-zA-Z0-9-_]{1,64}$/);
    if (cell.cell_type !== "code") continue;
    assertEquals([cell.outputs, cell.execution_count], [[], null]);
  }
  assertEquals(new Set(cells.map((cell) => (cell as { id?: string }).id)).size, cells.length);
});

Deno.test("the code cells of the quickstart are formatted", async () => {
  const cells = codeCells(await readNotebook(join(ROOT, "notebooks/01_quickstart.ipynb")));
  const child = new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--ext=ts", "--config", join(ROOT, "deno.json"), "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = child.output();
  const source = `${cells.map(sourceOf).join("\n\n")}\n`;
  await new Blob([source]).stream().pipeTo(child.stdin);
  assertEquals(new TextDecoder().decode((await output).stdout), source);
});

Deno.test("runNotebook() shows last expressions and what is printed, as nbformat 4 writes it", async () => {
  const { notebook, result } = await runCells([
    "# a title",
    "const one: number = 1;\none + 1 // two",
    "console.log('a %d', 1); console.log({ b: 2 }); console.error('oops');",
    "const drawn = { [Symbol.for('Jupyter.display')]: () => ({ 'text/html': '<b>x</b>' }) };\ndrawn",
    "undefined",
    "null",
    "await Deno.jupyter.display(Deno.jupyter.md`# ${one}`);",
    "Deno.stdout.writeSync(new TextEncoder().encode('raw'));\nif (one) 5;",
    "[3]",
  ]);
  const stream = (name: string, text: string) => ({ output_type: "stream", name, text });
  const value = (execution_count: number, data: object) => ({
    output_type: "execute_result",
    data,
    metadata: {},
    execution_count,
  });
  assertEquals<unknown>(notebook.cells.map((cell) => cell.outputs), [
    undefined,
    [value(1, { "text/plain": "2" })],
    [stream("stdout", "a 1\n{ b: 2 }\n"), stream("stderr", "oops\n")],
    [value(3, { "text/html": "<b>x</b>" })],
    [],
    [],
    [{ output_type: "display_data", data: { "text/markdown": "# 1" }, metadata: {} }],
    [stream("stdout", "raw")],
    [value(8, { "text/plain": "[ 3 ]" })],
  ]);
  assertEquals(result.cells, 8);
  assertEquals((notebook as { nbformat_minor?: number }).nbformat_minor, 5);
});

Deno.test("runNotebook() resolves imports and the working directory from the notebook's folder", () =>
  withNotebook([
    "import { one } from './lib.ts';\none",
    "import { one, type Two } from './lib.ts';\nimport type { Two } from './lib.ts';\nconst t: Two = 2; t",
    "import * as lib from './lib.ts';\nconst { one: again } = await import('./lib.ts');\nlib.one + again",
    "await Deno.readTextFile('lib.ts')",
  ], async (path) => {
    await Deno.writeTextFile(
      join(dirname(path), "lib.ts"),
      "export const one = 1;\nexport type Two = 2;",
    );
    const { result } = await runNotebook(path);
    assertEquals(
      result.outputs.map(({ output }) =>
        output.output_type === "execute_result" && output.data["text/plain"]
      ),
      ["1", "2", "2", '"export const one = 1;\\nexport type Two = 2;"'],
    );
  }));

Deno.test("runNotebook() names cell and line of each type error and runs nothing", async () => {
  const seen: unknown[] = [];
  const error = await failCells([
    "console.log('ran')",
    "# text",
    "import { format, nothing } from 'node:util';\nconst n: number =\n  'text';\nformat(n)",
  ], { check: true, onOutput: (output) => seen.push(output) });
  assertStringIncludes(error.message, "cell 2, line 1: Module '\"node:util\"' has no exported");
  assertStringIncludes(error.message, "cell 2, line 2: Type 'string' is not assignable to type 'n");
  assertEquals([seen, error.cell, error.notebook?.cells[0].execution_count], [[], 2, null]);
});

Deno.test("runNotebook() names the cell that is no TypeScript", async () => {
  const error = await failCells(["1", "const a = 1;\nfunction f( {"]);
  assertStringIncludes(error.message, "cell 2, line 2: ");
});

Deno.test("runNotebook() names the cell that throws and keeps what came before", async () => {
  const error = await failCells([
    "function fail() {\n  throw new RangeError('too deep');\n}\n'fine'",
    "1;\nfail();",
    "'never'",
  ]);
  assertMatch(
    error.message,
    /^Cannot run notebook ".*test\.ipynb": cell 2, line 2: RangeError: too deep$/,
  );
  const [first, second, third] = error.notebook!.cells;
  assertEquals(first.outputs?.length, 1);
  assertEquals(second.outputs?.map(({ output_type }) => output_type), ["error"]);
  assertEquals([second.execution_count, third.execution_count], [2, null]);
});

Deno.test("runNotebook() names the cell of a background error, an exit and an endless wait", async () => {
  const background = await failCells([
    "1",
    "Promise.reject(new Error('late'));\nawait new Promise((r) => setTimeout(r, 50));",
  ]);
  assertStringIncludes(background.message, "cell 2");
  assertStringIncludes(background.message, "late");
  const exit = await failCells(["1", "2", "Deno.exit(0)"]);
  assertStringIncludes(exit.message, "cell 3: its process ended before the last cell had finished");
  const wait = await failCells(["await new Promise(() => {})", "2"]);
  assertStringIncludes(wait.message, "cell 1, line 1: Top-level await promise never resolved");
});

Deno.test("runNotebook() refuses cells what deno.json does not permit", async () => {
  const error = await failCells(["await Deno.writeTextFile('/etc/geophone', 'x')"]);
  assertStringIncludes(error.message, "cell 1, line 1: NotCapable");
});

Deno.test("runNotebook() leaves nothing behind when a cell fails", () =>
  withNotebook(["import './gone.ts';", "1"], async (path) => {
    const temporary = dirname(dirname(path));
    const leftovers = () =>
      entries(temporary).filter((name) => name.startsWith(`geophone_notebook_${Deno.pid}_`));
    const before = leftovers();
    await assertRejects(() => runNotebook(path), NotebookError, "cell 1, line 1: ");
    await assertRejects(() => runNotebook(path, { check: false }), NotebookError, "gone.ts");
    assertEquals(entries(dirname(path)), ["test.ipynb"]);
    assertEquals(leftovers(), before);
  }));

Deno.test("runNotebook() ends when it is told to", async () => {
  const abort = new AbortController();
  const run = runCells([
    "setInterval(() => {}, 1000);\nconsole.log('up');\nawait new Promise(() => {});",
  ], {
    signal: abort.signal,
    onOutput: () => abort.abort(new Error("Stopped by a signal")),
  });
  await assertRejects(() => run, Error, "Stopped by a signal");
});

Deno.test("setParameters() changes the values of tagged cells, whatever declares them", async () => {
  const parameters = [
    "const seed = 42, name = 'a';\nlet rate: number = 0.5; // share",
    "parameters",
  ];
  const cells = [parameters as unknown as TestCell, "const other = 1;\n[seed, name, rate, other]"];
  const { notebook, result } = await runCells(cells, {
    parameters: ["seed=7", "name=b c", "rate=1e-3"],
  });
  const [{ output }] = result.outputs;
  assert(output.output_type === "execute_result");
  assertEquals(output.data["text/plain"], '[ 7, "b c", 0.001, 1 ]');
  assertEquals(
    notebook.cells[0].source,
    'const seed = 7, name = "b c";\nlet rate: number = 0.001; // share',
  );
});

Deno.test("setParameters() refuses what no tagged cell declares", async () => {
  const notebook = makeNotebook([["const seed = 42;", "parameters"], "const other = 1;"]);
  const fails = async (parameter: string, part: string) => {
    await assertRejects(() => setParameters(notebook, [parameter]), UsageError, part);
  };
  await fails("sed=1", 'did you mean "seed"?');
  await fails("other=1", "there are seed");
  await fails("seed", "write it as name=value");
  await assertRejects(
    () => setParameters(makeNotebook(["1"]), ["seed=1"]),
    UsageError,
    'no cell tagged "parameters" declares any',
  );
});

Deno.test("flattenNotebook() imports each name once and knows where each line comes from", async () => {
  const { text, origins } = await flattenNotebook(
    makeNotebook(["import { a } from '../x.ts'; a;", "import { a, b } from '../x.ts';\nb;"]),
    { baseUrl: "file:///project/notebooks/", shimUrl: "file:///shim.ts" },
  );
  assertEquals(text.split("\n"), [
    'import * as $notebook from "file:///shim.ts";',
    'import { a } from "file:///project/x.ts";',
    'import { b } from "file:///project/x.ts";',
    "$notebook.begin(1);",
    " await $notebook.show(a);",
    "$notebook.begin(2);",
    "",
    "await $notebook.show(b);",
    "",
  ]);
  assertEquals(origins.map((origin) => origin && `${origin.cell}:${origin.line}`), [
    undefined,
    "1:1",
    "2:1",
    undefined,
    "1:1",
    undefined,
    "2:1",
    "2:2",
  ]);
});

Deno.test("readNotebook() says what is wrong with a file that is no notebook", async () => {
  const cases: readonly [string, string][] = [
    ['{"nbformat": 4, "cells": [', "Cannot read notebook"],
    ["null", "it is not of nbformat 4"],
    ['{"nbformat": 3, "worksheets": []}', "it is not of nbformat 4"],
    ['{"nbformat": 4, "cells": [{"cell_type": "code"}]}', 'item 1 of "cells" is no cell'],
    [
      '{"nbformat": 4, "cells": [], "metadata": {"kernelspec": {"name": "python3"}}}',
      'it is for kernel "python3" and only "deno" runs here',
    ],
  ];
  for (const [text, part] of cases) {
    await withNotebook(text, async (path) => {
      await assertRejects(() => readNotebook(path), Error, part);
    });
  }
  await assertRejects(() => readNotebook("no.ipynb"), UsageError, "there is no such file");
});
