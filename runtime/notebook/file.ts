/**
 * Notebook files: nbformat 4 as far as a run needs it.
 *
 * @module
 */
import { UsageError } from "../errors.ts";

/** A cell of an nbformat 4 notebook. */
export interface Cell {
  readonly cell_type: string;
  readonly source: string | readonly string[];
  readonly metadata?: { readonly tags?: readonly string[] };
  readonly outputs?: readonly Output[];
  readonly execution_count?: number | null;
}

/** An nbformat 4 notebook. */
export interface Notebook {
  readonly nbformat: 4;
  readonly cells: readonly Cell[];
  readonly metadata?: { readonly kernelspec?: { readonly name?: string } };
}

/** Content by MIME type. */
export type MimeBundle = Readonly<Record<string, unknown>>;

/** An output of a cell, as nbformat 4 writes it. */
export type Output =
  | { readonly output_type: "stream"; readonly name: string; readonly text: string }
  | { readonly output_type: "display_data"; readonly data: MimeBundle; readonly metadata: object }
  | {
    readonly output_type: "execute_result";
    readonly data: MimeBundle;
    readonly metadata: object;
    readonly execution_count: number;
  }
  | {
    readonly output_type: "error";
    readonly ename: string;
    readonly evalue: string;
    readonly traceback: readonly string[];
  };

/** One thing a cell showed. */
export interface CellOutput {
  /** Position among the code cells, from 1. */
  readonly cell: number;
  readonly output: Output;
}

/** Thrown when a cell does not compile or throws. */
export class NotebookError extends Error {
  override readonly name = "NotebookError";
  /** Position among the code cells, from 1; `undefined` when no cell is to blame. */
  readonly cell: number | undefined;
  /** Line within the cell, from 1, when known. */
  readonly line: number | undefined;
  /** The notebook with the outputs up to the failure. */
  readonly notebook: Notebook | undefined;

  constructor(
    message: string,
    { cell, line, notebook, cause }: {
      readonly cell?: number | undefined;
      readonly line?: number | undefined;
      readonly notebook?: Notebook;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, cause === undefined ? {} : { cause });
    this.cell = cell;
    this.line = line;
    this.notebook = notebook;
  }
}

/** The code cells in order. */
export function codeCells(notebook: Notebook): Cell[] {
  return notebook.cells.filter((cell) => cell.cell_type === "code");
}

/** Source of a cell as one text. */
export function sourceOf({ source }: Cell): string {
  return typeof source === "string" ? source : source.join("");
}

/**
 * Reads a notebook.
 * @throws {UsageError} when there is no such file or it is for another language.
 * @throws {SyntaxError} when the file is none of nbformat 4.
 */
export async function readNotebook(path: string): Promise<Notebook> {
  let value: Partial<Notebook> | null;
  try {
    value = JSON.parse(await Deno.readTextFile(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new UsageError(`Cannot read notebook "${path}": there is no such file`);
    }
    if (!(error instanceof SyntaxError)) throw error;
    throw new SyntaxError(`Cannot read notebook "${path}": ${error.message}`, { cause: error });
  }
  if (value?.nbformat !== 4 || !Array.isArray(value.cells)) {
    throw new SyntaxError(`Cannot read notebook "${path}": it is not of nbformat 4`);
  }
  value.cells.forEach((cell, i) => {
    if (typeof cell?.cell_type === "string" && isSource(cell.source)) return;
    throw new SyntaxError(
      `Cannot read notebook "${path}": item ${i + 1} of "cells" is no cell with type and source`,
    );
  });
  const kernel = value.metadata?.kernelspec?.name;
  if (kernel !== undefined && kernel !== "deno") {
    throw new UsageError(
      `Cannot run notebook "${path}": it is for kernel "${kernel}" and only "deno" runs here`,
    );
  }
  return value as Notebook;
}

function isSource(value: unknown): boolean {
  return typeof value === "string" ||
    Array.isArray(value) && value.every((line) => typeof line === "string");
}

/** The notebook as it stands after a run that came to code cell `last`. */
export function withOutputs(
  notebook: Notebook,
  outputs: readonly CellOutput[],
  last: number,
): Notebook {
  let number = 0;
  const cells = notebook.cells.map((cell) => {
    if (cell.cell_type !== "code") return cell;
    const current = ++number;
    return {
      ...cell,
      execution_count: current <= last ? current : null,
      outputs: mergeStreams(
        outputs.filter((output) => output.cell === current).map(({ output }) => output),
      ),
    };
  });
  return { ...notebook, cells };
}

function mergeStreams(outputs: readonly Output[]): Output[] {
  const merged: Output[] = [];
  for (const output of outputs) {
    const before = merged.at(-1);
    if (
      output.output_type === "stream" && before?.output_type === "stream" &&
      output.name === before.name
    ) merged[merged.length - 1] = { ...before, text: before.text + output.text };
    else merged.push(output);
  }
  return merged;
}
