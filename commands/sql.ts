/** `deno task sql "select …"`. */
import type { Arguments } from "./arguments.ts";
import { loadStorePath } from "./store_path.ts";
import { UsageError } from "../runtime/errors.ts";
import { type SqlFormatName, sqlFormatNames, sqlFormats } from "../runtime/sql_formats/mod.ts";
import { openStore, type ReadResult } from "../runtime/store/store.ts";
import { formatCount, formatTable, print, printBytes, printError } from "../runtime/terminal.ts";
import { checkName, readNumber, readText } from "./options.ts";

/** Rows shown unless --limit says otherwise. */
const DEFAULT_LIMIT = 1000;

const formats = ["table", ...sqlFormatNames] as const;

type Format = "table" | SqlFormatName;

/** Asks the store and prints the rows, or writes them to a file. */
export async function run(args: Arguments): Promise<void> {
  const { options, positionals: [sql] } = args;
  const out = readText(options.out);
  const format = readFormat(options);
  if (out === undefined && isForProgramsAlone(format) && Deno.stdout.isTerminal()) {
    throw new UsageError(
      `Cannot print ${format} to a terminal: give --out FILE, or send it on with > or |`,
    );
  }
  const maxRows = options.limit === undefined ? DEFAULT_LIMIT : readNumber("limit", options.limit);
  if (!Number.isInteger(maxRows) || maxRows < 1) {
    throw new UsageError(`Cannot use --limit "${options.limit}": it must be a positive integer`);
  }
  if (out !== undefined) await checkOut(out);
  await using store = await openStore(await loadStorePath(args), { create: false, publish: false });
  const result = await store.queryReadOnly(sql, { maxRows });
  const text = await write(format, result);
  if (out !== undefined) {
    await writeWhole(out, text);
    printError(`wrote ${formatCount(result.rows.length)} rows to ${out}`);
  } else if (typeof text === "string") print(text.replace(/\n$/, ""));
  else printBytes(text);
  if (result.isTruncated && (out !== undefined || format !== "table")) {
    printError(`note: only the first ${maxRows} rows; use --limit for more`);
  }
}

function readFormat(options: Arguments["options"]): Format {
  const given = readText(options.format);
  const names = [
    ...(options.json === true ? ["json"] : []),
    ...(options.csv === true ? ["csv"] : []),
    ...(given === undefined ? [] : [given]),
  ];
  if (names.length > 1) {
    throw new UsageError(`Cannot print ${names.join(" and ")} at once: choose one`);
  }
  return checkName("format", names[0] ?? "table", formats);
}

function isForProgramsAlone(format: Format): boolean {
  return format !== "table" && !sqlFormats[format].isText;
}

async function write(format: Format, result: ReadResult): Promise<string | Uint8Array> {
  if (format !== "table") return await sqlFormats[format].write(result);
  const { columns, rows, isTruncated } = result;
  return `${formatTable(columns, rows)}\n\n${rows.length} ${rows.length === 1 ? "row" : "rows"}${
    isTruncated ? ", more were left out: use --limit" : ""
  }\n`;
}

/** Refuses a file that cannot be written, before the query runs. */
async function checkOut(path: string): Promise<void> {
  const there = await Deno.stat(path).catch(() => undefined);
  if (there?.isDirectory) {
    throw new UsageError(`Cannot write "${path}": it is a folder; name a file`);
  }
  await writeWhole(path, null);
}

/** Writes a file whole or not at all; `null` only tries whether its folder takes one. */
export async function writeWhole(path: string, content: string | Uint8Array | null): Promise<void> {
  const draft = `${path}.${Deno.pid}.part`;
  try {
    await Deno.writeFile(
      draft,
      typeof content === "string" ? encode(content) : content ?? encode(""),
    );
    if (content !== null) await Deno.rename(draft, path);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) {
      throw new UsageError(
        `Cannot write "${path}": this command writes inside the project folder alone; ` +
          "name a file there, or leave --out away and send the answer on with >",
      );
    }
    const reason = error instanceof Deno.errors.NotFound
      ? "there is no such folder; create it, or name another file"
      : (error as Error).message.split(/, (?:writefile|rename)|\n/)[0];
    throw new UsageError(`Cannot write "${path}": ${reason}`, { cause: error });
  } finally {
    await Deno.remove(draft).catch(() => {});
  }
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
