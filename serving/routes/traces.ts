/** `GET /traces` and `GET /traces/{id}`: what the store knows of traces, as JSON or as a page. */
import type { Store } from "../../runtime/store/store.ts";
import { listTraces, readTrace, type TraceFilter, writeTrace } from "../../runtime/traces/read.ts";
import { chooseMediaType } from "../accept.ts";
import type { Access } from "../access.ts";
import { jsonAnswer } from "../answers.ts";
import { encodeReply } from "../compression.ts";
import type { AddRoute, Handler, Reply } from "../exchange.ts";
import { HttpError } from "../http_error.ts";
import { milliseconds, oneOf, readQuery, text, time, upTo } from "../query.ts";
import { renderTrace, renderTraces, tracePolicy } from "../trace_page.ts";
import { otlp } from "./otlp.ts";

/** What the routes need. */
export interface TraceDeps {
  readonly store: Store;
  readonly access: Access;
  readonly maxBodyBytes: number;
}

/** Adds the routes that take spans and show traces. */
export function addTraceRoutes(add: AddRoute, deps: TraceDeps): void {
  add("POST", "/v1/traces", otlp(deps), { role: "predictor" });
  add("GET", "/traces", list(deps), { role: "viewer" });
  add("GET", "/traces/:id", show(deps), { role: "viewer" });
}

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1_000;

const parameters = {
  from: time,
  to: time,
  judge: text,
  model: text,
  status: oneOf("ok", "error"),
  min_ms: milliseconds,
  limit: upTo(MAX_LIMIT),
};

function list({ store, access }: TraceDeps): Handler {
  return async (exchange) => {
    access.checkStore(exchange);
    const { request, requestId } = exchange;
    const isPage = wantsPage(request);
    const traces = await listTraces(store, readFilter(request));
    return await encodeReply(
      isPage ? page(renderTraces(traces)) : jsonAnswer({ request_id: requestId, traces }),
      request,
    );
  };
}

function show({ store, access }: TraceDeps): Handler {
  return async (exchange) => {
    access.checkStore(exchange);
    const { request } = exchange;
    const isPage = wantsPage(request);
    const id = new URL(request.url).pathname.split("/")[2].toLowerCase();
    const trace = /^[0-9a-f]{32}$/.test(id) ? await readTrace(store, id) : null;
    if (trace === null) {
      throw new HttpError(
        `Cannot find trace "${id.slice(0, 40)}": there is none; "/traces" lists them`,
        "not_found",
      );
    }
    const reply = isPage ? page(renderTrace(trace)) : { status: 200, body: writeTrace(trace) };
    return await encodeReply(reply, request);
  };
}

function wantsPage(request: Request): boolean {
  const accept = request.headers.get("accept");
  const mediaType = chooseMediaType(accept, ["application/json", "text/html"]);
  if (mediaType !== null) return mediaType === "text/html";
  throw new HttpError(
    `Cannot answer in Accept "${accept!.slice(0, 200)}": there are application/json and text/html`,
    "not_acceptable",
  );
}

function page(body: string): Reply & { body: string } {
  return {
    status: 200,
    body,
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": tracePolicy,
      vary: "accept",
    },
  };
}

function readFilter(request: Request): TraceFilter {
  const { min_ms: minMs, limit = DEFAULT_LIMIT, ...rest } = readQuery(request, parameters);
  return { ...rest, ...(minMs === undefined ? {} : { minMs }), limit };
}
