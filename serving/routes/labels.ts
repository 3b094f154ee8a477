/** `POST /labels`: the truth about earlier predictions, when it is known. */
import { z } from "zod";
import { UsageError } from "../../runtime/errors.ts";
import { recordLabels } from "../../runtime/labels.ts";
import type { Store } from "../../runtime/store.ts";
import { jsonAnswer } from "../answers.ts";
import type { Handler } from "../exchange.ts";
import { HttpError } from "../http_error.ts";
import { parseJson } from "../json.ts";

/** Body of `POST /labels`. */
export const LabelsBody = z.strictObject({
  labels: z.array(z.strictObject({
    request_id: z.string().min(1).max(256).describe("Id of the request that predicted the record"),
    row: z.int().min(0).default(0).describe("Position of the record within its request"),
    label: z.string().min(1).max(1000).describe("True class"),
  })).min(1).max(100_000),
  source: z.string().max(256).optional().describe("Who or what knows, such as a lab or a person"),
});

/** Gives the handler that stores labels, all or none. */
export function labels(
  { store, maxBodyBytes }: { readonly store: Store; readonly maxBodyBytes: number },
): Handler {
  return async (exchange) => {
    const parsed = LabelsBody.safeParse(parseJson(await exchange.readText(maxBodyBytes)));
    if (!parsed.success) {
      const [{ path, message }] = parsed.error.issues;
      throw new HttpError(
        `Cannot read the body: ${path.join(".") || "it"}: ${message}`,
        "invalid_input",
      );
    }
    const { labels, source = null } = parsed.data;
    try {
      await recordLabels(
        store,
        labels.map(({ request_id, row, label }) => ({ requestId: request_id, row, label })),
        source,
      );
    } catch (error) {
      if (error instanceof UsageError) throw new HttpError(error.message, "invalid_input");
      throw error;
    }
    return jsonAnswer({ request_id: exchange.requestId, stored: labels.length });
  };
}
