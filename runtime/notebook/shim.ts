/**
 * The process in which a flattened notebook runs: stands in for the kernel, keeps what cells show
 * and hands it to the process that started this one as lines of standard output.
 *
 * @module
 */
import { format } from "node:util";
import { describeError } from "../errors.ts";

/** Content by MIME type. */
type MimeBundle = Record<string, unknown>;

/** What one line tells the parent process about the cell that runs. */
export type Message =
  | { readonly kind: "begin"; readonly cell: number }
  | { readonly kind: "stream"; readonly name: string; readonly text: string }
  | { readonly kind: "result" | "display"; readonly data: MimeBundle }
  | {
    readonly kind: "error";
    readonly name: string;
    /** The error and its causes as one line. */
    readonly message: string;
    readonly stack: string;
  }
  | { readonly kind: "end" };

const [moduleUrl, token] = Deno.args;
const display = Symbol.for("Jupyter.display");

/** Marks the beginning of a cell. */
export function begin(cell: number): void {
  send({ kind: "begin", cell });
}

/** Shows the value of a cell's last expression as the kernel does: nothing for `undefined` and `null`. */
export async function show(value: unknown): Promise<void> {
  if (value === undefined || value === null) return;
  send({ kind: "result", data: await draw(value) });
}

async function draw(value: unknown): Promise<MimeBundle> {
  const { [display]: method, outerHTML } = value as Record<PropertyKey, unknown>;
  if (typeof method === "function") return await method.call(value);
  if (typeof outerHTML === "string") {
    return { [outerHTML.startsWith("<svg") ? "image/svg+xml" : "text/html"]: outerHTML };
  }
  return { "text/plain": Deno.inspect(value) };
}

/** The part of `Deno.jupyter` that makes sense without a front end. */
const jupyter = {
  $display: display,
  async display(value: unknown, { raw = false }: { raw?: boolean } = {}): Promise<void> {
    const data = raw ? value as MimeBundle : await draw(value);
    send({ kind: "display", data });
  },
  format: draw,
  html: tag("text/html"),
  md: tag("text/markdown"),
  svg: tag("image/svg+xml"),
};

function tag(type: string) {
  return (parts: TemplateStringsArray, ...values: unknown[]) => ({
    [display]: () => ({ [type]: String.raw({ raw: parts }, ...values) }),
  });
}

function send(message: Message): void {
  const bytes = new TextEncoder().encode(`${token} ${JSON.stringify(message)}\n`);
  for (let offset = 0; offset < bytes.length;) {
    offset += Deno.stdout.writeSync(bytes.subarray(offset));
  }
}

function fail(error: unknown): never {
  const { name, stack } = error instanceof Error ? error : { name: "Error", stack: undefined };
  send({
    kind: "error",
    name,
    message: describeError(error),
    stack: stack ?? String(error),
  });
  Deno.exit(1);
}

function captureConsole(): void {
  const streams = {
    log: "stdout",
    info: "stdout",
    debug: "stdout",
    warn: "stderr",
    error: "stderr",
  };
  for (const [method, name] of Object.entries(streams)) {
    const capture = (...values: unknown[]) =>
      send({ kind: "stream", name, text: `${format(...values)}\n` });
    Object.defineProperty(console, method, { value: capture });
  }
}

if (import.meta.main) {
  // Deno's own is a getter that refuses outside the kernel and cannot be redefined.
  const deno = Object.create(Deno, { jupyter: { value: jupyter } });
  Object.defineProperty(globalThis, "Deno", { value: deno });
  captureConsole();
  addEventListener("unhandledrejection", (event) => fail(event.reason));
  addEventListener("error", (event) => fail(event.error));
  // Not awaited here: the notebook imports this module and would wait for it for ever.
  import(moduleUrl).then(() => {
    send({ kind: "end" });
    Deno.exit(0);
  }, fail);
}
