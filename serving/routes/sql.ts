/** `POST /sql`: read-only questions to the store. */
import { z } from "zod";
import { suggest, UsageError } from "../../runtime/errors.ts";
import { type SqlFormatName, sqlFormatNames, sqlFormats } from "../../runtime/sql_formats/mod.ts";
import type { ReadResult, Store } from "../../runtime/store/store.ts";
import { chooseMediaType } from "../accept.ts";
import type { Access } from "../access.ts";
import { encodeReply } from "../compression.ts";
import type { Handler } from "../exchange.ts";
import { HttpError } from "../http_error.ts";
import { parseJson } from "../json.ts";

/** Most rows of one answer, whatever the body asks for. */
const MAX_ROWS = 1_000_000;

/** Body of `POST /sql`. */
export const SqlBody = z.strictObject({
  sql: z.string().min(1).max(100_000).describe("One SELECT over the documented views"),
  max_rows: z.int().min(1).max(MAX_ROWS).default(10_000).describe(
    "Most rows of the answer; more are left out, which the answer says",
  ),
});

/** A body larger than this holds no query. */
const MAX_BODY_BYTES = 256 * 1024;

/**
 * Gives the handler that runs one SELECT and gives its columns and rows, in the form that the
 * parameter `format` or else `Accept` names. Whether rows were left out stands in the header
 * `x-truncated`, in JSON and Arrow also in the answer: in NDJSON and CSV every line is a row.
 */
export function sql({ store, access }: { store: Store; access: Access }): Handler {
  return async (exchange) => {
    access.checkStore(exchange);
    const { request, requestId } = exchange;
    const format = readFormat(request);
    const body = readBody(await exchange.readText(MAX_BODY_BYTES));
    const result = await answer(store, body);
    const reply = {
      status: 200,
      body: format === "json"
        ? writeEnvelope(requestId, result)
        : await sqlFormats[format].write(result),
      headers: {
        "content-type": sqlFormats[format].mediaType,
        "x-truncated": String(result.isTruncated),
        "x-row-count": String(result.rows.length),
      },
    };
    const encoded = await encodeReply(reply, request);
    return { ...encoded, headers: { ...encoded.headers, vary: "accept, accept-encoding" } };
  };
}

function readBody(text: string): z.infer<typeof SqlBody> {
  const parsed = SqlBody.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  const [{ path, message }] = parsed.error.issues;
  throw new HttpError(
    `Cannot read the body: ${path.length > 0 ? `${path.join(".")}: ` : ""}${message}; ` +
      'give an object such as {"sql": "select …"}',
    "invalid_input",
  );
}

async function answer(
  store: Store,
  { sql, max_rows }: z.infer<typeof SqlBody>,
): Promise<ReadResult> {
  try {
    return await store.queryReadOnly(sql, { maxRows: max_rows });
  } catch (error) {
    if (error instanceof UsageError) throw new HttpError(error.message, "invalid_query");
    throw error;
  }
}

function writeEnvelope(requestId: string, { columns, rows, isTruncated }: ReadResult): string {
  return JSON.stringify({
    request_id: requestId,
    columns,
    rows,
    row_count: rows.length,
    is_truncated: isTruncated,
  });
}

/** The form that a request asks for; a parameter is easier to type than a header, and counts first. */
function readFormat(request: Request): SqlFormatName {
  const mark = request.url.indexOf("?");
  const query = new URLSearchParams(mark < 0 ? "" : request.url.slice(mark));
  for (const name of query.keys()) {
    if (name === "format") continue;
    const near = suggest(name, ["format"]) ? '; did you mean "format"?' : '; there is "format"';
    throw new HttpError(
      `Cannot read the query: unknown parameter "${name}"${near}`,
      "invalid_query",
    );
  }
  const given = query.get("format");
  if (given !== null) {
    const format = sqlFormatNames.find((name) => name === given);
    if (format) return format;
    const near = suggest(given, sqlFormatNames);
    throw refuse(`format "${given}"${near ? `; did you mean "${near}"?` : ""}`);
  }
  const accept = request.headers.get("accept");
  const mediaType = chooseMediaType(
    accept,
    sqlFormatNames.map((name) => sqlFormats[name].mediaType),
  );
  const format = sqlFormatNames.find((name) => sqlFormats[name].mediaType === mediaType);
  if (format) return format;
  throw refuse(`Accept "${accept!.slice(0, 200)}"`);
}

function refuse(what: string): HttpError {
  const forms = sqlFormatNames.map((name) => `${name} (${sqlFormats[name].mediaType})`);
  return new HttpError(`Cannot answer in ${what}: there are ${forms.join(", ")}`, "not_acceptable");
}
