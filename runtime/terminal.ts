/** Plain text for people: tables, numbers and progress. */
import type { Finding } from "../plugins/plugin.ts";
import type { Reporter, StageResult } from "./runner.ts";

const encoder = new TextEncoder();

/** Writes to standard output, whole or not at all as far as the system allows. */
export function print(text: string): void {
  writeAll(Deno.stdout, `${text}\n`);
}

/** Writes bytes to standard output, such as a file for the program that reads it. */
export function printBytes(bytes: Uint8Array): void {
  writeAll(Deno.stdout, bytes);
}

/** Writes a note to standard error, beside an answer that a program reads. */
export function printError(text: string): void {
  writeAll(Deno.stderr, `${text}\n`);
}

function writeAll(
  stream: { writeSync(bytes: Uint8Array): number },
  content: string | Uint8Array,
): void {
  const bytes = typeof content === "string" ? encoder.encode(content) : content;
  try {
    for (let offset = 0; offset < bytes.length;) {
      offset += stream.writeSync(bytes.subarray(offset));
    }
  } catch (error) {
    // A reader such as `head` that has seen enough is no failure of the command.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/**
 * Lays rows out in columns; numbers are right-aligned.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { formatTable } from "./terminal.ts";
 *
 * const text = formatTable(["name", "n"], [["a", 1], ["bb", 20]]);
 * assertEquals(text, "name   n\n----  --\na      1\nbb    20");
 * ```
 */
export function formatTable(
  columns: readonly string[],
  rows: readonly (readonly unknown[])[],
): string {
  const cells = rows.map((row) => row.map(formatCell));
  const widths = columns.map((name, j) =>
    Math.max(name.length, ...cells.map((row) => row[j].length))
  );
  const isNumber = columns.map((_, j) =>
    rows.length > 0 && rows.every((row) => row[j] === null || typeof row[j] === "number")
  );
  const line = (row: readonly string[]) =>
    row.map((cell, j) => isNumber[j] ? cell.padStart(widths[j]) : cell.padEnd(widths[j]))
      .join("  ").trimEnd();
  return [line(columns), widths.map((width) => "-".repeat(width)).join("  "), ...cells.map(line)]
    .join("\n");
}

/** A cell as text: short numbers, JSON for structures, nothing for null. */
export function formatCell(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") {
    return Number.isInteger(value) || !Number.isFinite(value)
      ? String(value)
      : String(Number(value.toPrecision(6)));
  }
  if (value instanceof Uint8Array) return `<${value.length} bytes>`;
  if (typeof value === "object") return JSON.stringify(value);
  // Control characters of data must not steer the terminal.
  return String(value).replace(/[\p{Cc}]/gu, " ");
}

/** A count with thousands separators. */
export function formatCount(count: number): string {
  return count.toLocaleString("en");
}

/** Findings shown per stage; the rest stay in the store. */
const SHOWN_FINDINGS = 6;

/** A stage that is silent for longer than this gets a line of its own where there is no terminal. */
const QUIET_MS = 5_000;

/** A line of standard error that says how far a command is, on a terminal alone. */
export interface ProgressLine extends Disposable {
  /** Shows `text` instead of what the line said before. */
  show(text: string): void;
}

/** How often a progress line changes at most. */
const PROGRESS_MS = 100;

/** Makes a progress line; it is gone when disposed, so that it never mixes with an answer. */
export function createProgressLine(): ProgressLine {
  const isTerminal = Deno.stderr.isTerminal();
  let shownAt = -Infinity;
  return {
    show(text) {
      const now = performance.now();
      if (!isTerminal || now - shownAt < PROGRESS_MS) return;
      shownAt = now;
      writeAll(Deno.stderr, `\r\x1b[2K${text.slice(0, 110)}`);
    },
    [Symbol.dispose]() {
      if (shownAt > -Infinity) writeAll(Deno.stderr, "\r\x1b[2K");
    },
  };
}

/** Reports a run line by line; on a terminal the running stage has a live line. */
export function createReporter(stageCount: number): Reporter {
  const start = performance.now();
  const isTerminal = Deno.stdout.isTerminal();
  let findings: Finding[] = [];
  let position = 0;
  let lastLine = performance.now();
  const elapsed = () => `${((performance.now() - start) / 1000).toFixed(1)} s`.padStart(7);
  const clear = () => isTerminal && writeAll(Deno.stdout, "\r\x1b[2K");
  const live = (text: string) => {
    if (isTerminal) return writeAll(Deno.stdout, `\r\x1b[2K${text.slice(0, 110)}`);
    if (performance.now() - lastLine < QUIET_MS) return;
    lastLine = performance.now();
    print(text);
  };
  return {
    stageStarted(stage) {
      lastLine = performance.now();
      findings = [];
      if (isTerminal) live(`${elapsed()}  ${stage} …`);
    },
    progress(stage, share, text) {
      live(`${elapsed()}  ${stage} ${Math.round(100 * share)} % ${text}`);
    },
    finding(finding) {
      findings.push(finding);
    },
    stageFinished(result) {
      clear();
      position++;
      print(`${elapsed()}  ${position}/${stageCount} ${formatResult(result)}`);
      for (const { severity, message } of findings.slice(0, SHOWN_FINDINGS)) {
        print(`${" ".repeat(13)}${severity}: ${formatCell(message)}`);
      }
      const more = findings.length - SHOWN_FINDINGS;
      if (more > 0) {
        print(`${" ".repeat(13)}and ${more} more: deno task sql "from findings"`);
      }
      findings = [];
      lastLine = performance.now();
    },
  };
}

function formatResult({ stage, status, reason, seconds, summary }: StageResult): string {
  const name = stage.padEnd(14);
  switch (status) {
    case "done":
      return `${name} ${seconds.toFixed(1).padStart(5)} s  ${summary}`;
    case "failed":
    case "cancelled":
      return `${name} ${seconds.toFixed(1).padStart(5)} s  ${
        status === "failed" ? "FAILED" : "cancelled"
      }`;
    case "cached":
      return `${name}  cached  ${summary}`;
    default:
      return `${name} ${status}  ${reason}${summary ? `: ${summary}` : ""}`;
  }
}
