/**
 * Reads alerts from files: `.sql` with a YAML header in leading `--` comments and one query, or `.json`
 * as a lakehouse's SQL alerts have it. Without a threshold every row the query returns is a finding.
 *
 * ```sql
 * -- severity: warning
 * -- summary: more than 1 % of requests failed in the last 15 minutes
 * -- for: 10m
 * select …
 * ```
 *
 * @module
 */
import { parse } from "@std/yaml";
import { definePlugin, type Plugin } from "../plugin.ts";
import { readHeader } from "./header.ts";
import { parseAlertV2 } from "./sql_alert_v2.ts";

/**
 * Loads every `.sql` and `.json` file of a folder, by name; the folder's URL ends with a slash.
 * @throws {SyntaxError} when a header or a query is missing or wrong; the message names the file.
 */
export async function loadAlerts(folder: URL): Promise<Plugin<"alert">[]> {
  const names: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    if (entry.isFile && /\.(sql|json)$/.test(entry.name)) names.push(entry.name);
  }
  return await Promise.all(
    names.sort().map(async (file) => {
      const text = await Deno.readTextFile(new URL(encodeURIComponent(file), folder));
      const name = file.replace(/\.\w+$/, "");
      if (file.endsWith(".sql")) return parseAlert(name, text);
      return definePlugin({ kind: "alert", name, ...parseAlertV2(name, text) });
    }),
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
  return definePlugin({ kind: "alert", name, sql, ...readHeader(name, values) });
}
