/** `deno task sql "select …"`. */
import type { Arguments } from "./arguments.ts";
import { loadStorePath } from "./store_path.ts";
import { UsageError } from "../runtime/errors.ts";
import { openStore, type ReadResult } from "../runtime/store.ts";
import { formatTable, print, printError } from "../runtime/terminal.ts";
import { readNumber } from "./options.ts";

/** Rows shown unless --limit says otherwise. */
const DEFAULT_LIMIT = 1000;

/** Asks the store and prints a table, JSON or CSV. */
export async function run(args: Arguments): Promise<void> {
  const { options, positionals: [sql] } = args;
  if (options.json === true && options.csv === true) {
    throw new UsageError("Cannot print --json and --csv at once: choose one");
  }
  const maxRows = options.limit === undefined ? DEFAULT_LIMIT : readNumber("limit", options.limit);
  if (!Number.isInteger(maxRows) || maxRows < 1) {
    throw new UsageError(`Cannot use --limit "${options.limit}": it must be a positive integer`);
  }
  await using store = await openStore(await loadStorePath(args), { create: false, publish: false });
  const result = await store.queryReadOnly(sql, { maxRows });
  if (result.isTruncated && (options.json === true || options.csv === true)) {
    printError(`note: only the first ${maxRows} rows; use --limit for more`);
  }
  if (options.json === true) print(formatJson(result));
  else if (options.csv === true) print(formatCsv(result));
  else {
    print(formatTable(result.columns, result.rows));
    print(
      `\n${result.rows.length} ${result.rows.length === 1 ? "row" : "rows"}${
        result.isTruncated ? ", more were left out: use --limit" : ""
      }`,
    );
  }
}

function formatJson({ columns, rows }: ReadResult): string {
  const lines = rows.map((row) =>
    JSON.stringify(Object.fromEntries(columns.map((name, j) => [name, row[j]])))
  );
  return lines.length === 0 ? "[]" : `[\n${lines.join(",\n")}\n]`;
}

/** RFC 4180. */
function formatCsv({ columns, rows }: ReadResult): string {
  return [columns, ...rows].map((row) => row.map(quoteCell).join(",")).join("\n");
}

function quoteCell(value: unknown): string {
  if (value === null || value === undefined) return "";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
