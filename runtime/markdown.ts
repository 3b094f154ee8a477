/** Markdown from data: whatever stands in a value, the document keeps its shape. */

/**
 * Gives a value as text of a paragraph or a cell: one line, with nothing in it that Markdown or HTML
 * would take for its own.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { escapeMarkdown } from "./markdown.ts";
 *
 * assertEquals(escapeMarkdown("a|b\n<script>"), "a\\|b &lt;script>");
 * ```
 */
export function escapeMarkdown(value: unknown): string {
  return String(value ?? "–")
    .replace(/\s*[\r\n]+\s*/g, " ")
    .replace(/[\\|`*[]/g, "\\$&")
    .replace(/&/g, "&amp;")
    .replace(/</g, "&lt;");
}

/** A cell that is Markdown already, such as {@linkcode code}. */
export class Markdown {
  constructor(readonly text: string) {}
}

/** Gives a value that is shown as it is, such as a hash. */
export function code(value: string | null | undefined): Markdown | null {
  return value ? new Markdown(`\`${value.replace(/[`|\r\n]/g, " ")}\``) : null;
}

/** Gives a table; `null` is a dash. */
export function markdownTable(
  head: readonly string[],
  rows: readonly (readonly unknown[])[],
): string {
  const line = (cells: readonly unknown[]) =>
    `| ${
      cells.map((cell) => cell instanceof Markdown ? cell.text : escapeMarkdown(cell)).join(" | ")
    } |`;
  return [line(head), line(head.map(() => new Markdown("---"))), ...rows.map(line)].join("\n");
}

/** Gives a list, or what to say when there is nothing to list. */
export function markdownList(items: readonly string[], none: string): string {
  return items.length === 0 ? none : items.map((item) => `- ${escapeMarkdown(item)}`).join("\n");
}
