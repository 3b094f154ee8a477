/** What a server says of itself and of its models. */
import type { InferenceLog } from "../../runtime/inference/inference_log.ts";
import type { Store } from "../../runtime/store/store.ts";
import { chooseMediaType } from "../accept.ts";
import { jsonAnswer } from "../answers.ts";
import type { Handler } from "../exchange.ts";
import type { Metrics } from "../metrics.ts";
import { type MetricMediaType, metricMediaTypes } from "../metrics/registry.ts";
import type { ModelCatalog } from "../model_catalog.ts";
import { readReference } from "./predict.ts";

/** What these routes read. */
export interface InfoDeps {
  readonly store: Store;
  readonly models: ModelCatalog;
  readonly log: InferenceLog;
  readonly metrics: Metrics;
  readonly model: string;
  /** Whether the server takes no new work since it is about to end. */
  isDraining(): boolean;
}

/** The routes that a person at a terminal starts from. */
const links = {
  predict: "/predict",
  batch_predict: "/batch_predict",
  model_info: "/model_info",
  models: "/models",
  sql: "/sql",
  ready: "/ready",
  metrics: "/metrics",
  openapi: "/openapi.json",
  docs: "/docs",
};

/** Gives the handler of `GET /`. */
export function root({ model }: InfoDeps): Handler {
  return ({ requestId }) => jsonAnswer({ request_id: requestId, name: "geophone", model, links });
}

/** Gives the handler of `GET /health`: the process is alive, whatever else. */
export function health(): Handler {
  return ({ requestId }) => jsonAnswer({ request_id: requestId, status: "alive" });
}

/** A store that takes longer than this does not answer. */
const STORE_TIMEOUT_MS = 2_000;

/** A failed commit counts against the server this long, since without requests no commit can succeed. */
const FAILURE_MS = 10_000;

/** Gives the handler of `GET /ready`: 200 when a prediction would be answered, else 503 and why. */
export function ready(deps: InfoDeps): Handler {
  const { store, models: { main: models }, log } = deps;
  return async ({ requestId }) => {
    const served = models.default;
    const storeError = await probe(store);
    const { lastFailure, queuedRows } = log.stats;
    const logError = lastFailure !== null && Date.now() - lastFailure.at.getTime() < FAILURE_MS
      ? lastFailure.message
      : null;
    const isReady = served !== null && storeError === null && logError === null &&
      !deps.isDraining();
    return jsonAnswer({
      request_id: requestId,
      status: deps.isDraining() ? "draining" : isReady ? "ready" : "not ready",
      model: served === null
        ? {
          state: models.isUnloaded() ? "unloaded" : "missing",
          name: deps.model,
          error: models.storeError,
        }
        : {
          state: "loaded",
          name: served.model.version.model,
          version: served.model.version.version,
          alias: served.alias,
        },
      loaded_versions: models.loadedVersions,
      load_failures: models.failures.map(({ alias, version, message, at }) => ({
        alias,
        version,
        message,
        at: new Date(at).toISOString(),
      })),
      store: { state: storeError === null ? "answers" : "failed", error: storeError },
      inference_log: {
        state: logError === null ? "writes" : "failed",
        error: logError,
        durability: log.durability,
        queued_rows: queuedRows,
      },
    }, isReady ? 200 : 503);
  };
}

/** Why the store does not answer, `null` when it does. The reason itself may name a path: not told. */
async function probe(store: Store): Promise<string | null> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    return await Promise.race([
      store.check(),
      new Promise<string>((resolve) => {
        timer = setTimeout(resolve, STORE_TIMEOUT_MS, "the store does not answer");
      }),
    ]);
  } catch {
    return "the store cannot be queried";
  } finally {
    clearTimeout(timer);
  }
}

/** Gives the handler of `GET /model_info`, with `?model=`, `?alias=` or `?version=` as in `/predict`. */
export function modelInfo({ store, models }: InfoDeps): Handler {
  return async (exchange) => {
    const held = await models.acquire(readReference(exchange.request.url));
    const { model: { version, signature }, alias } = held;
    try {
      exchange.held = held;
      const [row] = await store.query<{ report: string | null }>(
        "select report from core.model_versions where model = ? and version = ?",
        [version.model, version.version],
      );
      return jsonAnswer({
        request_id: exchange.requestId,
        model: version.model,
        version: version.version,
        alias,
        target: signature.target,
        classes: signature.classes,
        features: signature.inputs.map(({ name, unit, range }) => ({
          name,
          unit: unit ?? null,
          range: range ?? null,
        })),
        order: signature.order,
        windows: signature.windows,
        outliers: signature.outliers,
        trainer: signature.trainer,
        artifact: version.artifact,
        evidence_hash: version.evidenceHash,
        data_hash: signature.dataHash,
        code_hash: signature.codeHash,
        run_id: version.runId,
        created_at: version.createdAt,
        metrics: headlineMetrics(row?.report ? JSON.parse(row.report) : null),
      });
    } finally {
      held.model.release();
    }
  };
}

/** The numbers, with or without an interval, at the top of a report's scores, or else of the report. */
function headlineMetrics(report: unknown): Record<string, unknown> {
  if (!isRecord(report)) return {};
  const top = isRecord(report.scores) ? report.scores : report;
  return Object.fromEntries(
    Object.entries(top).filter(([, value]) =>
      typeof value === "number" || (isRecord(value) && typeof value.value === "number")
    ),
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Gives the handler of `GET /metrics`, as Prometheus' text or as OpenMetrics. */
export function renderMetrics({ metrics }: InfoDeps): Handler {
  return async ({ request }) => {
    // A client that wants neither reads text, or nothing.
    const mediaType = chooseMediaType(request.headers.get("accept"), metricMediaTypes) ??
      metricMediaTypes[0];
    const { text, contentType } = await metrics.render(mediaType as MetricMediaType);
    return { status: 200, body: text, headers: { "content-type": contentType, vary: "accept" } };
  };
}
