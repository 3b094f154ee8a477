/** Text within a page. */

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/**
 * Gives text that is shown as it is, between tags and in quoted attributes.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { escape } from "./html.ts";
 *
 * assertEquals(escape(`<a href="x">`), "&lt;a href=&quot;x&quot;&gt;");
 * ```
 */
export function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character]);
}
