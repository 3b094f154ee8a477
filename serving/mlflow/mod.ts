/**
 * The MLflow REST protocol, so that the unchanged `mlflow` client works against this server:
 * tracking, artifacts, the model registry, logged models and webhooks. The routes are lines of tables;
 * what they do is in `runtime/tracking/` and `runtime/webhooks/`.
 *
 * @module
 */
import type { Hono } from "hono";
import type { Role } from "../../runtime/api_keys.ts";
import { userName } from "../../runtime/registry/model_registry.ts";
import type { Store } from "../../runtime/store/store.ts";
import { type TrackingCode, TrackingError } from "../../runtime/tracking/error.ts";
import type { Access } from "../access.ts";
import type { Answer } from "../answers.ts";
import type { Exchange, Exchanges, Handler } from "../exchange.ts";
import { type ErrorCode, HttpError } from "../http_error.ts";
import { parseJson } from "../json.ts";
import { artifactRoutes } from "./artifacts.ts";
import { experimentRoutes } from "./experiments.ts";
import { type GateDeps, moveGuarded } from "./guarded_aliases.ts";
import { loggedModelRoutes } from "./logged_models.ts";
import { registryRoutes } from "./registry.ts";
import { type MlflowRoute, RawReply, route } from "./route.ts";
import { runRoutes } from "./runs.ts";
import { webhookRoutes } from "./webhooks.ts";
import { writeJson } from "./wire.ts";

/** What the routes need. */
export interface MlflowDeps extends GateDeps {
  readonly store: Store;
  readonly access: Access;
}

const serverRoutes: readonly MlflowRoute[] = [
  route("GET", "/3.0/mlflow/server-info", {}, () =>
    Promise.resolve({
      store_type: "SqlStore",
      workspaces_enabled: false,
      trace_archival_enabled: false,
    })),
];

/** Every route of the protocol that this server answers. */
export const mlflowRoutes: readonly MlflowRoute[] = [
  ...serverRoutes,
  ...experimentRoutes,
  ...runRoutes,
  ...artifactRoutes,
  ...registryRoutes,
  ...loggedModelRoutes,
  ...webhookRoutes,
];

/** The client calls below the first, MLflow's own web pages below the second. */
const PREFIXES = ["/api", "/ajax-api"];

/** Adds the routes of the MLflow protocol to an app. */
export function addMlflowRoutes(hono: Hono, exchanges: Exchanges, deps: MlflowDeps): void {
  for (const prefix of PREFIXES) {
    const table = new RouteTable(
      prefix,
      (path, handler, role) => exchanges.route(path, handler, { role, writeError }),
      deps,
    );
    const answer = (request: Request) => {
      const found = table.find(request);
      return found instanceof HttpError
        ? exchanges.refuse(request, new URL(request.url).pathname, found, { writeError })
        : found(request);
    };
    for (const below of ["/2.0/mlflow/*", "/2.0/mlflow-artifacts/*", "/3.0/mlflow/*"]) {
      hono.all(`${prefix}${below}`, (c) => answer(c.req.raw));
    }
  }
}

type Answering = (request: Request) => Promise<Response>;

/** Finds the route of a request. */
class RouteTable {
  readonly #prefix: string;
  /** By path, then by method. */
  readonly #exact = new Map<string, Map<string, Answering>>();
  readonly #patterns: { readonly pattern: RegExp; readonly methods: Map<string, Answering> }[] = [];

  constructor(
    prefix: string,
    wrap: (path: string, handler: Handler, role: Role) => Answering,
    deps: MlflowDeps,
  ) {
    this.#prefix = prefix;
    for (const entry of mlflowRoutes) {
      const isExact = !/[:*]/.test(entry.path);
      const pattern = isExact ? null : toPattern(entry.path);
      const answering = wrap(
        `${prefix}${entry.path}`,
        makeHandler(entry, pattern, prefix, deps),
        entry.role,
      );
      const methods = pattern === null
        ? this.#exact.get(entry.path) ?? new Map<string, Answering>()
        : this.#patterns.find((known) => known.pattern.source === pattern.source)?.methods ??
          new Map<string, Answering>();
      if (methods.size === 0) {
        if (pattern === null) this.#exact.set(entry.path, methods);
        else this.#patterns.push({ pattern, methods });
      }
      methods.set(entry.method, answering);
    }
  }

  find(request: Request): Answering | HttpError {
    const { pathname } = new URL(request.url);
    const path = pathname.slice(this.#prefix.length).replace(/(?<=.)\/$/, "");
    const method = request.method === "HEAD" ? "GET" : request.method;
    const candidates = [
      this.#exact.get(path),
      ...this.#patterns.filter(({ pattern }) => pattern.test(path)).map(({ methods }) => methods),
    ].filter((methods) => methods !== undefined);
    for (const methods of candidates) {
      const found = methods.get(method);
      if (found) return found;
    }
    const allow = candidates.flatMap((methods) => [...methods.keys()]);
    return allow.length > 0
      ? new HttpError(
        `Cannot ${request.method} "${pathname.slice(0, 100)}": use ${allow.join(", ")}`,
        "method_not_allowed",
        { headers: { allow: allow.join(", ") } },
      )
      : new HttpError(
        `Cannot find "${pathname.slice(0, 100)}": this server answers no such route of MLflow`,
        "not_found",
      );
  }
}

function toPattern(path: string): RegExp {
  return new RegExp(
    `^${
      path.replaceAll(".", "\\.").replace(/:(\w+)/g, "(?<$1>[^/]+)").replace(
        /\*(\w+)/g,
        "(?<$1>.+)",
      )
    }$`,
  );
}

function makeHandler(
  entry: MlflowRoute,
  pattern: RegExp | null,
  prefix: string,
  { store, access, ...deps }: MlflowDeps,
): Handler {
  return async (exchange) => {
    const { request } = exchange;
    access.checkStore(exchange);
    const url = new URL(request.url);
    const given = {
      ...readQuery(url.searchParams),
      ...await readBody(exchange, entry.maxBodyBytes),
      ...(pattern ? decodePath(pattern, url.pathname.slice(prefix.length)) : {}),
    };
    try {
      const { requester } = exchange;
      const by = requester ?? userName();
      const answer = await entry.answer(given, {
        store,
        exchange,
        by,
        moveGuarded: (change) => moveGuarded(store, deps, { ...change, by, requester }),
      });
      return answer instanceof RawReply ? answer.reply : { status: 200, body: writeJson(answer) };
    } catch (error) {
      if (!(error instanceof TrackingError)) throw error;
      throw new HttpError(error.message, httpCodes[error.code], { cause: error });
    }
  };
}

function readQuery(query: URLSearchParams): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const name of new Set(query.keys())) {
    const values = query.getAll(name);
    fields[name] = values.length === 1 ? values[0] : values;
  }
  return fields;
}

async function readBody(
  exchange: Exchange,
  maxBytes: number | null,
): Promise<Record<string, unknown>> {
  if (maxBytes === null || exchange.request.body === null) return {};
  const text = await exchange.readText(maxBytes);
  if (text.trim() === "") return {};
  const body = parseJson(text);
  if (typeof body === "object" && body !== null && !Array.isArray(body)) {
    return body as Record<string, unknown>;
  }
  throw new HttpError("Cannot read the body: it is no JSON object", "invalid_query");
}

function decodePath(pattern: RegExp, path: string): Record<string, string> {
  const groups = pattern.exec(path.replace(/(?<=.)\/$/, ""))?.groups ?? {};
  try {
    return Object.fromEntries(
      Object.entries(groups).map(([name, value]) => [name, decodeURIComponent(value)]),
    );
  } catch {
    throw new HttpError("Cannot read the path: its % signs are wrong", "invalid_query");
  }
}

const httpCodes: Readonly<Record<TrackingCode, ErrorCode>> = {
  INVALID_PARAMETER_VALUE: "invalid_query",
  RESOURCE_ALREADY_EXISTS: "invalid_query",
  RESOURCE_DOES_NOT_EXIST: "not_found",
  PERMISSION_DENIED: "forbidden",
};

/** The protocol's words for what other parts of the server refuse, by HTTP status. */
const codesByStatus: Readonly<Record<number, string>> = {
  400: "BAD_REQUEST",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "ENDPOINT_NOT_FOUND",
  405: "ENDPOINT_NOT_FOUND",
  413: "INVALID_PARAMETER_VALUE",
  422: "INVALID_PARAMETER_VALUE",
  429: "REQUEST_LIMIT_EXCEEDED",
  499: "CANCELLED",
  503: "TEMPORARILY_UNAVAILABLE",
  504: "DEADLINE_EXCEEDED",
};

/** Gives a refusal as MLflow clients read it. */
export function writeError(error: HttpError, requestId: string): Answer {
  const code = error.cause instanceof TrackingError
    ? error.cause.code
    : codesByStatus[error.status] ?? "INTERNAL_ERROR";
  return {
    status: error.status,
    body: JSON.stringify({ error_code: code, message: error.message, request_id: requestId }),
    headers: error.headers,
  };
}
