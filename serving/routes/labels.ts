/** `POST /labels`: the truth about earlier predictions, when it is known. */
import { z } from "zod";
import { UsageError } from "../../runtime/errors.ts";
import { LabelsRefusedError, recordLabels } from "../../runtime/inference/labels.ts";
import type { Store } from "../../runtime/store/store.ts";
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
  allowNewClasses: z.boolean().default(false).describe(
    "Whether a class that the record's model does not know is taken",
  ),
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
    const { labels, source = null, allowNewClasses } = parsed.data;
    const { created, corrected, same } = await recordLabels(
      store,
      labels.map(({ request_id, row, label }) => ({ requestId: request_id, row, label })),
      source,
      { allowNewClasses },
    ).catch(refuse);
    return jsonAnswer({
      request_id: exchange.requestId,
      stored: created + corrected,
      new: created,
      corrected,
      same,
    });
  };
}

function refuse(error: unknown): never {
  if (error instanceof LabelsRefusedError) {
    const details = error.details.map((message) => ({ message }));
    const hint = error.allowedBy === "allowNewClasses" ? ' by "allowNewClasses": true' : "";
    throw new HttpError(error.message + hint, "invalid_input", { details });
  }
  if (error instanceof UsageError) throw new HttpError(error.message, "invalid_input");
  throw error;
}
