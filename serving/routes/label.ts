/** `GET /label`, a page to say of predictions whether they are right, and `POST /judge-labels`. */
import { z } from "zod";
import { nextCase, recordJudgeLabels } from "../../judges/labels.ts";
import { UsageError } from "../../runtime/errors.ts";
import type { Store } from "../../runtime/store/store.ts";
import type { Access } from "../access.ts";
import { jsonAnswer } from "../answers.ts";
import type { AddRoute, Handler } from "../exchange.ts";
import { HttpError } from "../http_error.ts";
import { parseJson } from "../json.ts";
import { labelPolicy, renderLabelPage } from "../label_page.ts";
import type { Held } from "../models.ts";

const judgeName = z.string().max(256).default("")
  .describe("Judge whose own question is answered; empty: whether the prediction is right");

/** Body of `POST /judge-labels`. */
export const JudgeLabelsBody = z.strictObject({
  labels: z.array(z.strictObject({
    request_id: z.string().min(1).max(256).describe("Id of the request that predicted the record"),
    row: z.int().min(0).default(0).describe("Position of the record within its request"),
    label: z.enum(["good", "bad"]).nullable().describe("null takes the label before back"),
  })).min(1).max(10_000),
  judge: judgeName,
});

/** What the routes need. */
export interface LabelDeps {
  readonly store: Store;
  readonly access: Access;
  readonly maxBodyBytes: number;
  /** The version whose predictions are shown, `null` while there is none. */
  readonly served: () => Held | null;
}

/** Adds the page and the route that it posts to. */
export function addLabelRoutes(add: AddRoute, deps: LabelDeps): void {
  add("GET", "/label", page(deps), { role: "operator" });
  add("POST", "/judge-labels", keep(deps), { role: "operator" });
}

/** Rows that one address of the page may skip. */
const MAX_SKIPPED = 200;

function page({ store, access, served }: LabelDeps): Handler {
  return async (exchange) => {
    access.checkStore(exchange);
    const { searchParams: query } = new URL(exchange.request.url);
    const skipped = query.getAll("skip").slice(-MAX_SKIPPED);
    const judge = query.get("judge") ?? "";
    const held = served();
    if (held === null) {
      throw new HttpError("Cannot show predictions: no model is served yet", "no_model");
    }
    const { model, version } = held.model.version;
    const shown = await nextCase(store, { model, version, judge, skipped });
    return {
      status: 200,
      body: renderLabelPage(shown, { judge, last: query.get("last") }),
      headers: {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": labelPolicy,
        "cache-control": "no-store",
      },
    };
  };
}

function keep({ store, access, maxBodyBytes }: LabelDeps): Handler {
  return async (exchange) => {
    access.checkStore(exchange);
    const parsed = JudgeLabelsBody.safeParse(parseJson(await exchange.readText(maxBodyBytes)));
    if (!parsed.success) {
      const [{ path, message }] = parsed.error.issues;
      throw new HttpError(
        `Cannot read the body: ${path.join(".") || "it"}: ${message}`,
        "invalid_input",
      );
    }
    const { labels, judge } = parsed.data;
    const stored = await recordJudgeLabels(
      store,
      labels.map(({ request_id, row, label }) => ({ requestId: request_id, row, label })),
      { judge, by: exchange.requester },
    ).catch((error) => {
      if (error instanceof UsageError) throw new HttpError(error.message, "invalid_input");
      throw error;
    });
    return jsonAnswer({ request_id: exchange.requestId, stored });
  };
}
