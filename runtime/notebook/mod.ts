/**
 * Runs Jupyter notebooks without Jupyter and without Python: the code cells become one TypeScript
 * module, so that they are type-checked and run with real permissions.
 *
 * @module
 */
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import {
  type CellOutput,
  codeCells,
  type Notebook,
  NotebookError,
  type Output,
  readNotebook,
  withOutputs,
} from "./file.ts";
import {
  describePosition,
  type FlatNotebook,
  flattenNotebook,
  type Position,
  setParameters,
} from "./module.ts";
import type { Message } from "./shim.ts";

/** How a notebook ran. */
export interface NotebookResult {
  /** Number of code cells. */
  readonly cells: number;
  readonly outputs: readonly CellOutput[];
  readonly seconds: number;
}

/** How to run a notebook. */
export interface NotebookOptions {
  /** Type-checks the cells before any runs; default true. */
  readonly check?: boolean;
  /** `name=value` for the cells tagged `parameters`; the value is read as YAML. */
  readonly parameters?: readonly string[];
  readonly signal?: AbortSignal;
  /** Called with each output as it comes. */
  readonly onOutput?: (output: CellOutput) => void;
}

/** Settings of the project: import map, compiler options and the permissions of the cells. */
const CONFIG = fileURLToPath(new URL("../../deno.json", import.meta.url));
const SHIM = new URL("shim.ts", import.meta.url).href;

/**
 * Type-checks and runs the notebook at `path` in a process of its own, in the notebook's folder as
 * Jupyter does, with the permission set `project` of deno.json.
 *
 * @throws {NotebookError} when a cell does not compile or throws; the message names the cell.
 * @throws {UsageError} when a parameter does not exist.
 */
export async function runNotebook(
  path: string,
  options: NotebookOptions = {},
): Promise<{ readonly notebook: Notebook; readonly result: NotebookResult }> {
  const start = performance.now();
  const notebook = await setParameters(await readNotebook(path), options.parameters ?? []);
  const progress = new Progress(options.onOutput);
  // Elsewhere than beside the notebook, so that even a kill leaves nothing there.
  const folder = await Deno.makeTempDir({ prefix: `geophone_notebook_${Deno.pid}_` });
  try {
    const cwd = dirname(resolve(path));
    const flat = await flattenNotebook(notebook, {
      baseUrl: `${pathToFileURL(cwd).href}/`,
      shimUrl: SHIM,
    });
    const module = join(folder, "notebook.ts");
    await Deno.writeTextFile(module, flat.text);
    const place: Place = { url: pathToFileURL(module).href, flat, cwd };
    if (options.check !== false) await checkModule(module, place, options.signal);
    await runModule(place, progress, options.signal);
  } catch (error) {
    if (!(error instanceof NotebookError)) throw error;
    const { message, cell, line } = error;
    throw new NotebookError(`Cannot run notebook "${path}": ${message}`, {
      cell,
      line,
      notebook: withOutputs(notebook, progress.outputs, progress.cell),
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  const seconds = (performance.now() - start) / 1000;
  return {
    notebook: withOutputs(notebook, progress.outputs, progress.cell),
    result: { cells: codeCells(notebook).length, outputs: progress.outputs, seconds },
  };
}

/** How far a run has come, and what it has shown. */
class Progress {
  /** The cell that runs, from 1; 0 before the first. */
  cell = 0;
  readonly outputs: CellOutput[] = [];

  constructor(readonly onOutput?: (output: CellOutput) => void) {}

  add(output: Output): void {
    // What an import prints is shown by the first cell.
    const entry = { cell: Math.max(this.cell, 1), output };
    this.outputs.push(entry);
    this.onOutput?.(entry);
  }
}

/** The flattened module and where it runs. */
interface Place {
  readonly url: string;
  readonly flat: FlatNotebook;
  readonly cwd: string;
}

function denoCommand(args: string[], cwd: string, signal?: AbortSignal): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args,
    cwd,
    // No terminal is asked for permissions and no color codes reach the outputs.
    env: { NO_COLOR: "1", DENO_NO_PROMPT: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    ...(signal ? { signal } : {}),
  });
}

/** Errors named in one message; the others are counted. */
const SHOWN_ERRORS = 3;

async function checkModule(module: string, place: Place, signal?: AbortSignal): Promise<void> {
  const command = denoCommand(["check", "-q", "--config", CONFIG, module], place.cwd, signal);
  const { success, stderr } = await command.output();
  signal?.throwIfAborted();
  if (success) return;
  const text = new TextDecoder().decode(stderr);
  const errors = [...text.matchAll(/(TS\d+) \[ERROR\]: (.*)[^]*?\n\s+at (\S+):(\d+):\d+/g)].map(
    ([, code, message, url, line]) => ({
      origin: url === place.url ? place.flat.origins[Number(line) - 1] : undefined,
      text: `${message.replace(/\.$/, "")} (${code})`,
      url,
    }),
  );
  if (errors.length === 0) throw describeCrash(text, place);
  const lines = errors.slice(0, SHOWN_ERRORS).map(({ origin, text, url }) =>
    `${origin ? describePosition(origin) : url}: ${text}`
  );
  const more = errors.length - lines.length;
  throw new NotebookError(
    `${lines.join("; ")}${more > 0 ? `; and ${more} more` : ""}`,
    { ...errors[0].origin },
  );
}

async function runModule(place: Place, progress: Progress, signal?: AbortSignal): Promise<void> {
  const token = crypto.randomUUID();
  const child = denoCommand(
    ["run", "-q", "--no-check", "--config", CONFIG, "-P=project", SHIM, place.url, token],
    place.cwd,
    signal,
  ).spawn();
  let ending: Message | undefined;
  const readMessages = async () => {
    for await (const line of readLines(child.stdout)) {
      const at = line.indexOf(`${token} `);
      const printed = at < 0 ? `${line}\n` : line.slice(0, at);
      if (printed !== "") progress.add(stream("stdout", printed));
      if (at < 0) continue;
      const message: Message = JSON.parse(line.slice(at + token.length + 1));
      if (message.kind === "begin") progress.cell = message.cell;
      if (message.kind === "end" || message.kind === "error") ending = message;
      const output = toOutput(message, progress.cell);
      if (output) progress.add(output);
    }
  };
  const [, errorText] = await Promise.all([
    readMessages(),
    new Response(child.stderr).text(),
    child.status,
  ]);
  signal?.throwIfAborted();
  if (ending?.kind === "end") return;
  if (ending?.kind !== "error") throw describeCrash(errorText, place, progress.cell);
  const { name, message, stack } = ending;
  throw failAt(
    locate(stack, place, progress.cell),
    name === "Error" ? message : `${name}: ${message}`,
  );
}

/** Tells of a process that ended without a word: a module that cannot load, an exit, a kill. */
function describeCrash(errorText: string, place: Place, cell = 0): NotebookError {
  const reason = errorText.split("\n").find((line) => line.startsWith("error: "))?.slice(7) ??
    "its process ended before the last cell had finished";
  return failAt(locate(errorText, place, cell), reason);
}

function failAt(position: Position | undefined, reason: string): NotebookError {
  const place = position ? `${describePosition(position)}: ` : "";
  return new NotebookError(`${place}${reason}`, { ...position });
}

/** Where in `cell` a stack passes; in any cell when that is 0, which is none yet. */
function locate(stack: string, { url, flat }: Place, cell: number): Position | undefined {
  const positions = stack.split(`${url}:`).slice(1).map((text) => flat.origins[parseInt(text) - 1]);
  return positions.find((position) => position && (cell === 0 || position.cell === cell)) ??
    (cell === 0 ? undefined : { cell });
}

async function* readLines(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
  if (rest !== "") yield rest;
}

function stream(name: string, text: string): Output {
  return { output_type: "stream", name, text };
}

function toOutput(message: Message, cell: number): Output | undefined {
  switch (message.kind) {
    case "stream":
      return stream(message.name, message.text);
    case "display":
      return { output_type: "display_data", data: message.data, metadata: {} };
    case "result":
      return {
        output_type: "execute_result",
        data: message.data,
        metadata: {},
        execution_count: cell,
      };
    case "error":
      return {
        output_type: "error",
        ename: message.name,
        evalue: message.message,
        traceback: message.stack.split("\n"),
      };
    case "begin":
    case "end":
      return undefined;
  }
}
