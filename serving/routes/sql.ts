/** `POST /sql`: read-only questions to the store. */
import { z } from "zod";
import { UsageError } from "../../runtime/errors.ts";
import type { Store } from "../../runtime/store.ts";
import type { Access } from "../access.ts";
import { jsonAnswer } from "../answers.ts";
import type { Handler } from "../exchange.ts";
import { HttpError } from "../http_error.ts";
import { parseJson } from "../json.ts";

/** Body of `POST /sql`. */
export const SqlBody = z.strictObject({
  sql: z.string().min(1).max(100_000).describe("One SELECT over the documented views"),
});

/** A body larger than this holds no query. */
const MAX_BODY_BYTES = 256 * 1024;

/** Gives the handler that runs one SELECT and gives its columns and rows. */
export function sql({ store, access }: { store: Store; access: Access }): Handler {
  return async (exchange) => {
    access.checkStore(exchange);
    const parsed = SqlBody.safeParse(parseJson(await exchange.readText(MAX_BODY_BYTES)));
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      throw new HttpError(
        `Cannot read the body: ${issue.message}; give an object such as {"sql": "select …"}`,
        "invalid_input",
      );
    }
    try {
      const { columns, rows, isTruncated } = await store.queryReadOnly(parsed.data.sql);
      return jsonAnswer({
        request_id: exchange.requestId,
        columns,
        rows,
        row_count: rows.length,
        is_truncated: isTruncated,
      });
    } catch (error) {
      if (error instanceof UsageError) throw new HttpError(error.message, "invalid_query");
      throw error;
    }
  };
}
