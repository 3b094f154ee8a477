/**
 * Reads alerts from `.sql` files: a YAML header in leading `--` comments, then one query. Every row
 * the query returns is a finding.
 *
 * ```sql
 * -- severity: warning
 * -- summary: more than 1 % of requests failed in the last 15 minutes
 * -- empty: ok
 * select …
 * ```
 *
 * @module
 */
import { parse } from "@std/yaml";
import { z } from "zod";
import { definePlugin, type Plugin } from "../plugin.ts";

const Header = z.strictObject({
  severity: z.enum(["info", "warning", "error", "critical"]),
  summary: z.string().min(1),
  empty: z.enum(["ok", "no_data"]).default("ok"),
});

/**
 * Loads every `.sql` file of a folder, by name; the folder's URL ends with a slash.
 * @throws {SyntaxError} when a header or a query is missing or wrong; the message names the file.
 */
export async function loadAlerts(folder: URL): Promise<Plugin<"alert">[]> {
  const names: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    if (entry.isFile && entry.name.endsWith(".sql")) names.push(entry.name);
  }
  return await Promise.all(
    names.sort().map(async (name) =>
      parseAlert(
        name.slice(0, -4),
        await Deno.readTextFile(new URL(encodeURIComponent(name), folder)),
      )
    ),
  );
}

/**
 * Parses one alert from the text of its file.
 * @throws {SyntaxError} when the header or the query is missing or wrong.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseAlert } from "./load.ts";
 *
 * const alert = parseAlert("busy", "-- severity: info\n-- summary: any request\nfrom requests");
 * assertEquals(alert.severity, "info");
 * assertEquals(alert.sql, "from requests");
 * ```
 */
export function parseAlert(name: string, text: string): Plugin<"alert"> {
  const lines = text.split(/\r?\n/);
  const end = lines.findIndex((line) => !line.startsWith("--"));
  const header = lines.slice(0, end < 0 ? lines.length : end).map((line) =>
    line.slice(2).replace(/^ /, "")
  );
  const sql = end < 0 ? "" : lines.slice(end).join("\n").trim().replace(/;$/, "");
  if (sql === "") throw new SyntaxError(`Cannot load alert "${name}": it has no query`);
  let values: unknown;
  try {
    values = parse(header.join("\n"));
  } catch (error) {
    throw new SyntaxError(`Cannot load alert "${name}": its header is no YAML`, { cause: error });
  }
  const result = Header.safeParse(values ?? {});
  if (!result.success) {
    const issues = result.error.issues.map((issue) =>
      `${issue.path.join(".") || "header"}: ${issue.message}`
    );
    throw new SyntaxError(`Cannot load alert "${name}": ${issues.join("; ")}`);
  }
  return definePlugin({ kind: "alert", name, sql, ...result.data });
}
