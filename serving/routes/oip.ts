/**
 * The Open Inference Protocol v2 over REST, with Triton's extensions for binary tensors, statistics,
 * model configuration and the model repository.
 *
 * @see https://github.com/open-inference/open-inference-protocol
 * @module
 */
import type { Role } from "../../runtime/api_keys.ts";
import type { Store } from "../../runtime/store/store.ts";
import { jsonAnswer } from "../answers.ts";
import { encodeReply, readDecoded } from "../compression.ts";
import type { AddRoute, Handler } from "../exchange.ts";
import { HttpError } from "../http_error.ts";
import type { ModelCatalog } from "../model_catalog.ts";
import { inputTensors, modelConfig, outputTensors, SERVER_VERSION } from "../oip/contract.ts";
import { writeOipError } from "../oip/errors.ts";
import { parseInfer, readTensorRecords } from "../oip/infer_request.ts";
import { writeInfer } from "../oip/infer_response.ts";
import { loadVersion, repositoryIndex, unloadVersion } from "../oip/repository.ts";
import { readTarget } from "../oip/target.ts";
import type { PredictionPath } from "../prediction.ts";
import type { ServedModel } from "../served_model.ts";
import { readScheduling } from "../traffic/urgency.ts";

/** What the protocol's routes need. */
export interface OipDeps {
  readonly store: Store;
  readonly models: ModelCatalog;
  readonly path: PredictionPath;
  /** Largest body in bytes, as it is sent and as it is decompressed. */
  readonly maxBodyBytes: number;
  /** Most rows of one request. */
  readonly maxRows: number;
  /** Answers 200 when a prediction would be answered, as `GET /ready`. */
  readonly ready: Handler;
}

const EXTENSIONS = [
  "model_repository",
  "model_configuration",
  "binary_tensor_data",
  "parameters",
  "statistics",
  "schedule_policy",
];

/**
 * Adds every route under `/v2`. Each request is a row of the inference table, but for the probes of
 * health, which also need no key.
 */
export function addOipRoutes(add: AddRoute, deps: OipDeps): void {
  const options = { role: "viewer", writeError: writeOipError } as const;
  const probe = { ...options, isLogged: false, isOpen: true };
  const get = (path: string, handler: Handler) => add("GET", path, handler, options);
  const post = (path: string, role: Role, handler: Handler) =>
    add("POST", path, handler, { ...options, role });
  add("GET", "/v2/health/live", () => jsonAnswer({ live: true }), probe);
  add("GET", "/v2/health/ready", serverReady(deps), probe);
  get("/v2", serverMetadata);
  get("/v2/", serverMetadata);
  get("/v2/models/stats", allStatistics(deps));
  for (const model of ["/v2/models/:model", "/v2/models/:model/versions/:version"]) {
    get(model, modelMetadata(deps));
    get(`${model}/ready`, modelReady(deps));
    get(`${model}/config`, config(deps));
    get(`${model}/stats`, modelStatistics(deps));
    post(`${model}/infer`, "predictor", infer(deps));
  }
  post("/v2/repository/index", "viewer", repositoryIndex(deps));
  post("/v2/repository/models/:model/load", "operator", loadVersion(deps));
  post("/v2/repository/models/:model/unload", "operator", unloadVersion(deps));
  add("ALL", "/v2/*", refuseRest, options);
}

const serverMetadata: Handler = () =>
  jsonAnswer({ name: "geophone", version: SERVER_VERSION, extensions: EXTENSIONS });

function serverReady({ ready }: OipDeps): Handler {
  return async (exchange) => {
    const { status } = await ready(exchange);
    return jsonAnswer({ ready: status === 200 }, status);
  };
}

/** Routes of Triton that this server has no use for. */
const unsupported: readonly [part: string, state: string][] = [
  ["sharedmemory", "shared memory is not supported; send tensors in the body"],
  ["/trace/", "trace settings are not supported"],
  ["/logging", "log settings are not supported"],
];

const refuseRest: Handler = ({ request }) => {
  const { pathname } = new URL(request.url);
  const state = unsupported.find(([part]) => pathname.includes(part))?.[1] ??
    `no route of the protocol takes ${request.method}`;
  throw new HttpError(`Cannot find "${pathname.slice(0, 100)}": ${state}`, "not_found");
};

function infer({ path, models, maxBodyBytes, maxRows }: OipDeps): Handler {
  return async (exchange) => {
    const { request } = exchange;
    const reference = readTarget(request.url);
    models.of(reference.model);
    const body = await readDecoded(exchange, maxBodyBytes);
    const asked = parseInfer(body, request.headers.get("inference-header-content-length"));
    // Joins a caller's own records with the table's, as X-Request-Id does.
    if (asked.id !== undefined && LOGGED_ID.test(asked.id)) exchange.clientRequestId ??= asked.id;
    const answer = await path.predict(exchange, {
      reference,
      urgency: { ...readScheduling(asked.parameters, exchange.startedAt), signal: request.signal },
      read: (served) => readTensorRecords(asked, served, maxRows),
      write: ({ labels, probabilities }, held) =>
        writeInfer(asked, { model: held.model, labels, probabilities }),
    });
    return await encodeReply(answer, request);
  };
}

/** A request's own id goes into the table when it could be a request id. */
const LOGGED_ID = /^[A-Za-z0-9._:-]{1,128}$/;

/** Gives the handler that answers from the model that a path names. */
function describe(
  { models }: OipDeps,
  write: (served: ServedModel, name: string) => object | Promise<object>,
): Handler {
  return async (exchange) => {
    const reference = readTarget(exchange.request.url);
    const held = await models.acquire(reference);
    try {
      exchange.held = held;
      return jsonAnswer(await write(held.model, reference.model));
    } finally {
      held.model.release();
    }
  };
}

function modelMetadata(deps: OipDeps): Handler {
  return describe(deps, async ({ signature }, name) => {
    const rows = await deps.store.query<{ version: number }>(
      "select version from models where model = ? order by version",
      [name],
    );
    return {
      name,
      versions: rows.map(({ version }) => String(version)),
      platform: "onnx_onnxv1",
      inputs: inputTensors(signature),
      outputs: outputTensors(signature),
    };
  });
}

function modelReady(deps: OipDeps): Handler {
  return describe(deps, (_, name) => ({ name, ready: true }));
}

function config(deps: OipDeps): Handler {
  return describe(deps, ({ signature }, name) => modelConfig(name, signature, deps.maxRows));
}

/** Without a version, statistics are those of every version that was asked. */
function modelStatistics(deps: OipDeps): Handler {
  const { statistics } = deps.path;
  const ofOne = describe(deps, (served) => ({ model_stats: [statistics.of(served).read()] }));
  return async (exchange) => {
    const { model, alias, version } = readTarget(exchange.request.url);
    deps.models.of(model);
    const all = statistics.list().filter(({ name }) => name === model);
    const isOne = alias !== undefined || version !== undefined || all.length === 0;
    return isOne ? await ofOne(exchange) : jsonAnswer({ model_stats: all });
  };
}

function allStatistics({ path }: OipDeps): Handler {
  return () => jsonAnswer({ model_stats: path.statistics.list() });
}
