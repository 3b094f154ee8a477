/** `deno task notebook FILE.ipynb [OUT.ipynb]`. */
import type { Arguments } from "./arguments.ts";
import { runNotebook } from "../runtime/notebook/mod.ts";
import { type CellOutput, type Notebook, NotebookError } from "../runtime/notebook/file.ts";
import { print } from "../runtime/terminal.ts";

/** Runs a notebook; with a second name, writes it there with its outputs, also when a cell fails. */
export async function run({ positionals, options, signal }: Arguments): Promise<void> {
  const [input, output] = positionals;
  const isJson = options.json === true;
  try {
    const { notebook, result } = await runNotebook(input, {
      check: options["no-check"] !== true,
      parameters: Array.isArray(options.set) ? options.set : [],
      signal,
      ...(isJson ? {} : { onOutput: printOutput }),
    });
    if (output !== undefined) await write(output, notebook);
    const { cells, seconds, outputs } = result;
    print(
      isJson
        ? JSON.stringify(result)
        : `${cells} cells ran in ${seconds.toFixed(1)} s, ${outputs.length} outputs${
          output === undefined ? "" : `, written to ${output}`
        }`,
    );
  } catch (error) {
    if (output !== undefined && error instanceof NotebookError && error.notebook) {
      await write(output, error.notebook);
    }
    throw error;
  }
}

async function write(path: string, notebook: Notebook): Promise<void> {
  await Deno.writeTextFile(path, `${JSON.stringify(notebook, null, 1)}\n`);
}

/** Prints an output as text; what has no text is named by its MIME types. */
function printOutput({ cell, output }: CellOutput): void {
  if (output.output_type === "error") return;
  const text = output.output_type === "stream"
    ? output.text.trimEnd()
    : output.data["text/plain"] ?? output.data["text/markdown"] ??
      `<${Object.keys(output.data).join(", ")}>`;
  print(`[${cell}] ${text}`);
}
