/**
 * The server: {@linkcode createApp} composes the parts of serving/ into one Hono app,
 * {@linkcode serve} listens with it.
 *
 * @module
 */
import { Hono } from "hono";
import { AlertingParams } from "./runtime/alerts/params.ts";
import { AlertSchedule, type ScheduleDeps } from "./runtime/alerts/scheduler.ts";
import { JudgeSchedule, type JudgeScheduleDeps } from "./judges/schedule.ts";
import { MonitorSchedule, type MonitorScheduleDeps } from "./runtime/monitors/schedule.ts";
import type { Plugin } from "./plugins/plugin.ts";
import { ApiKeys, hasApiKeys } from "./runtime/api_keys.ts";
import { GateParams } from "./runtime/registry/gate_params.ts";
import { InferenceLog } from "./runtime/inference/inference_log.ts";
import { Logger } from "./runtime/logger.ts";
import { describeRecovery } from "./runtime/store/journal_recovery.ts";
import { describeAlarm, OnlineWatch } from "./runtime/online/online_watch.ts";
import type { NotificationParams } from "./runtime/notifications/params.ts";
import { SinkDispatcher } from "./runtime/notifications/sinks.ts";
import { type Backlog, type ResourceParams, ResourceRecorder } from "./runtime/resources.ts";
import { RetentionParams } from "./runtime/inference/retention.ts";
import { RetentionSchedule } from "./runtime/inference/retention_schedule.ts";
import type { Store } from "./runtime/store/store.ts";
import { WebhookDispatcher } from "./runtime/webhooks/dispatcher.ts";
import { Access, API_KEY_VARIABLE, checkHost } from "./serving/access.ts";
import { DailyUse } from "./serving/daily_use.ts";
import { Exchanges, type Handler, type RouteOptions } from "./serving/exchange.ts";
import { HttpError } from "./serving/http_error.ts";
import { LogHealth } from "./serving/log_health.ts";
import { Metrics } from "./serving/metrics.ts";
import { addMlflowRoutes } from "./serving/mlflow/mod.ts";
import { ModelCatalog } from "./serving/model_catalog.ts";
import { describeApi } from "./serving/openapi.ts";
import { ServingParams } from "./serving/params.ts";
import { PredictionPath } from "./serving/prediction.ts";
import { RateLimiter } from "./serving/rate_limit.ts";
import { Recording } from "./serving/recording.ts";
import { RequestIds } from "./serving/request_ids.ts";
import { RequestLog } from "./serving/request_log.ts";
import { addAlertRoutes } from "./serving/routes/alerts.ts";
import { docs } from "./serving/routes/docs.ts";
import {
  health,
  type InfoDeps,
  modelInfo,
  ready,
  renderMetrics,
  root,
} from "./serving/routes/info.ts";
import { addBatchRoutes } from "./serving/routes/batch.ts";
import { addLabelRoutes } from "./serving/routes/label.ts";
import { addMonitorRoute } from "./serving/routes/monitors.ts";
import { labels } from "./serving/routes/labels.ts";
import { addOipRoutes } from "./serving/routes/oip.ts";
import { predict } from "./serving/routes/predict.ts";
import { addRegistryRoutes } from "./serving/routes/registry.ts";
import { addScoringRoutes } from "./serving/routes/scoring.ts";
import { sql } from "./serving/routes/sql.ts";
import { addStreamRoute } from "./serving/routes/stream.ts";
import { addTraceRoutes } from "./serving/routes/traces.ts";
import { addTrafficRoutes } from "./serving/routes/traffic.ts";
import { Statistics } from "./serving/statistics.ts";
import { PredictionCache } from "./serving/traffic/cache.ts";
import { Traffic } from "./serving/traffic/traffic.ts";

export { ServingParams };

/** What a server is made of. */
export interface AppDeps {
  /** Stays open when the app closes: who opened it closes it. */
  readonly store: Store;
  /** Name of the model to serve. */
  readonly model: string;
  /** Aliases that serve while there is no `production`, the most wanted first; default `challenger`. */
  readonly aliases?: readonly string[];
  /** Parameters as a config gives them; what is left out has its default. */
  readonly serving?: Partial<ServingParams>;
  /** What a promotion by a client must show, as section `release` of a config; default its defaults. */
  readonly gates?: GateParams;
  /** What goes while {@linkcode serve} runs, as section `retention` of a config; default nothing. */
  readonly retention?: RetentionParams;
  /** Alerts that {@linkcode serve} evaluates when their schedules say so; default none. */
  readonly alerts?: ScheduleDeps;
  /** Alerts that clients see, silence and acknowledge; default those that are evaluated. */
  readonly rules?: Pick<ScheduleDeps, "alerts" | "params" | "target">;
  /** Windows that {@linkcode serve} computes when they have closed; default none. */
  readonly monitors?: MonitorScheduleDeps;
  /** Judges that {@linkcode serve} asks about what is new, as often as their parameters say; default none. */
  readonly judging?: JudgeScheduleDeps;
  /** How often {@linkcode serve} looks at its machine, as section `resources` of a config; default never. */
  readonly resources?: ResourceParams;
  /** Sinks that {@linkcode serve} tells of alerts; default none, and what is for them waits. */
  readonly sinks?: readonly Plugin<"sink">[];
  /** Their parameters, as section `notifications` of a config. */
  readonly notifications?: NotificationParams;
  /** Environment that stands in promotions and model cards; default `dev`. */
  readonly environment?: string;
  /** A key with every right beside those of the store; without any, whoever reaches the server may call. */
  readonly apiKey?: string;
  /** Writes nothing to the terminal; default false. */
  readonly quiet?: boolean;
  /** Hears of what happens; default one that says what goes wrong, as `serving.log` wants it. */
  readonly logger?: Logger;
}

/** A server without a port. */
export interface GeophoneApp extends AsyncDisposable {
  /** Answers one request, as `Deno.serve` wants it. */
  fetch(request: Request, info?: unknown): Promise<Response>;
  /** Answers a request given by path, for tests and for callers in the same process. */
  request(input: string | Request, init?: RequestInit): Promise<Response>;
  /** Whether a model is loaded and the server is not about to end. */
  readonly ready: boolean;
  readonly params: ServingParams;
  /** Routes of this server's own, such as `POST /predict`, in Hono's form; `ALL` takes any method. */
  readonly routes: readonly string[];
  /** What waits in it now. */
  readonly backlog: Backlog;
  /** Looks at the aliases and the keys now instead of within the next second. */
  refresh(): Promise<void>;
  /** Turns {@linkcode ready} off while requests are still answered. */
  drain(): void;
  /** Writes what the inference log holds and closes the models, each after its last request. */
  close(): Promise<void>;
}

/**
 * Makes the app that serves a model of a store. Without a registered model it starts, says so in
 * `/ready` and serves as soon as an alias is set.
 *
 * @throws {z.ZodError} when `serving` is not {@linkcode ServingParams}.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { openStore } from "./runtime/store/store.ts";
 * import { createApp } from "./server.ts";
 *
 * await using store = await openStore(":memory:");
 * await using app = await createApp({ store, model: "rocks" });
 * assertEquals((await app.request("/health")).status, 200);
 * assertEquals((await app.request("/ready")).status, 503);
 * ```
 */
export async function createApp(deps: AppDeps): Promise<GeophoneApp> {
  const { store, model } = deps;
  const params = ServingParams.parse(deps.serving ?? {});
  const logger = deps.logger ?? makeLogger(deps, params, "warning");
  const keys = await ApiKeys.open(store);
  const online = params.online.watch.length === 0 ? null : new OnlineWatch(store, params.online, {
    onEvent: (text) => logger.warn("online", text),
    onAlarm(alarm) {
      const { model, version, series, detector } = alarm;
      logger.warn("online_alarm", describeAlarm(alarm), { model, version, series, detector });
    },
  });
  const log = await InferenceLog.open(store, {
    durability: params.durability,
    maxRows: params.logRows,
    onError: (error) => logHealth.failed(error),
    ...(online ? { onWritten: (requestId, time, rows) => online.read(requestId, time, rows) } : {}),
  });
  const logHealth = new LogHealth(logger, () => log.stats);
  const access = new Access({ keys, host: params.host, apiKey: deps.apiKey });
  const preference = ["production", ...(deps.aliases ?? ["challenger"])];
  const statistics = new Statistics();
  const models: ModelCatalog = await ModelCatalog.open(store, {
    models: [model, ...params.models],
    preference: [...new Set(preference)],
    maxBatchRows: params.maxBatchRows,
    queueRows: params.queueRows,
    cache: params.cache && new PredictionCache(params.cache),
    onEvent({ kind, message, ...about }) {
      logger[kind === "model_load_failed" ? "error" : "info"](kind, message, about);
      if (kind === "model_loaded") online?.open(about);
    },
    onRun(run, version) {
      metrics.countRun(run, version);
      statistics.of({ version }).countRun(run);
    },
  });
  let isDraining = false;
  const isReady = () => models.main.default !== null && !isDraining;
  const limiter = new RateLimiter({
    onLimited: (key) => metrics.countLimited(key),
    daily: await DailyUse.open(store),
  });
  const metrics: Metrics = new Metrics({
    log,
    statistics,
    store,
    aliases: () => models.main.aliases,
    queued: () => models.queued,
    quotas: () => limiter.uses(keys.current()),
    online: () => online?.readings ?? [],
    openRequests: () => exchanges.openCount,
    isReady,
  });
  const traffic = await Traffic.open({
    store,
    models: models.main,
    params: params.traffic,
    metrics: metrics.traffic,
    onEvent: (text) => logger.warn("traffic", text, { model }),
  });
  const exchanges: Exchanges = new Exchanges({
    log,
    metrics,
    ids: new RequestIds(store),
    access,
    model,
    limiter,
    recording: new Recording(params.recording),
    timeoutMs: params.requestTimeoutMs,
    requestLog: new RequestLog(logger, { isAccessLog: params.accessLog }),
  });

  const hono = new Hono();
  const routes: string[] = [];
  const info: InfoDeps = { store, models, log, metrics, model, isDraining: () => isDraining };
  const isProbe = { isLogged: false, isOpen: true };
  const path = new PredictionPath({ models, log, metrics, statistics, traffic });
  const viewer = { role: "viewer" } as const;
  const predictor = { role: "predictor" } as const;
  addRoute("POST", "/predict", predict({ path, ...params }), predictor);
  const jobs = addBatchRoutes(addRoute, { params, models, path, exchanges, access, log });
  addRoute("GET", "/", root(info), viewer);
  addRoute("GET", "/health", health(), isProbe);
  addRoute("GET", "/ready", ready(info), isProbe);
  addRoute("GET", "/metrics", renderMetrics(info), { ...viewer, isLogged: false });
  addRoute("GET", "/model_info", modelInfo(info), viewer);
  const gates = deps.gates ?? GateParams.parse({});
  const gateDeps = { gates, environment: deps.environment ?? "dev" };
  addRegistryRoutes(addRoute, { store, models, ...gateDeps });
  addRoute("POST", "/sql", sql({ store, access }), { role: "operator" });
  addRoute("POST", "/labels", labels({ store, maxBodyBytes: params.maxBodyBytes }), predictor);
  const protocol = { ...params, store, models, path, exchanges, ready: ready(info) };
  addOipRoutes(addRoute, protocol);
  addScoringRoutes(addRoute, protocol);
  addStreamRoute(addRoute, protocol);
  addTrafficRoutes(addRoute, { store, models, traffic });
  addTraceRoutes(addRoute, { ...params, store, access });
  addLabelRoutes(addRoute, { ...params, store, access, served: () => models.main.default });
  const { rules = deps.alerts } = deps;
  const target = () => rules?.target() ?? Promise.resolve(servedTarget());
  const servedTarget = () => models.main.default?.model.version ?? null;
  const { alerts: known = [], params: alerting = AlertingParams.parse({}) } = rules ?? {};
  addAlertRoutes(addRoute, { store, access, alerts: known, params: alerting, target });
  addMonitorRoute(addRoute, { store, access, target });
  const describe = () =>
    describeApi(models.main.default?.model.signature ?? null, {
      maxRows: params.maxRows,
      maxBatchPredictRows: params.maxBatchPredictRows,
      needsKey: access.needsKey,
    });
  addRoute("GET", "/openapi.json", () => ({
    status: 200,
    body: JSON.stringify(describe()),
  }), viewer);
  addRoute("GET", "/docs", docs(describe), viewer);
  addMlflowRoutes(hono, exchanges, { store, access, ...gateDeps });
  hono.notFound((c) =>
    exchanges.refuse(
      c.req.raw,
      c.req.path,
      new HttpError(`Cannot find "${c.req.path.slice(0, 100)}": "/" lists the routes`, "not_found"),
    )
  );

  function addRoute(
    method: "GET" | "POST" | "ALL",
    path: string,
    handler: Handler,
    options: RouteOptions = {},
  ): void {
    routes.push(`${method} ${path}`);
    const answer = exchanges.route(path, handler, options);
    if (method === "ALL") return void hono.all(path, (c) => answer(c.req.raw));
    hono.on(method, path, (c) => answer(c.req.raw));
    const allow = method === "GET" ? "GET, HEAD" : method;
    hono.all(path, (c) =>
      exchanges.refuse(
        c.req.raw,
        path,
        new HttpError(`Cannot ${c.req.method} "${path}": use ${allow}`, "method_not_allowed", {
          headers: { allow },
        }),
        options,
      ));
  }

  let closing: Promise<void> | undefined;
  async function closeAll(): Promise<void> {
    isDraining = true;
    await jobs.close();
    try {
      await log.close();
    } finally {
      await online?.[Symbol.asyncDispose]();
      keys[Symbol.dispose]();
      logHealth[Symbol.dispose]();
      metrics[Symbol.dispose]();
      exchanges.close();
      await traffic?.close();
      await models.close();
    }
  }
  return {
    fetch: (request) => Promise.resolve(hono.fetch(request)),
    request: (input, init) => Promise.resolve(hono.request(input, init)),
    get ready() {
      return isReady();
    },
    params,
    routes,
    get backlog() {
      const { queuedRows, journalBytes } = log.stats;
      let queueRows = 0;
      for (const queued of models.queued) queueRows += queued.queuedRows;
      return { queueRows, logBacklogRows: queuedRows, journalBytes };
    },
    async refresh() {
      await Promise.all([keys.refresh(), models.refresh()]);
      await traffic?.refresh();
    },
    drain() {
      if (!isDraining) logger.info("draining", "Answering the requests at hand, and no others");
      isDraining = true;
      void jobs.close();
      store.interruptReads("the server is ending");
    },
    close: () => closing ??= closeAll(),
    async [Symbol.asyncDispose]() {
      await (closing ??= closeAll());
    },
  };
}

/** A server that listens. */
export interface Served {
  readonly app: GeophoneApp;
  /** Where it listens, such as `http://127.0.0.1:8000`. */
  readonly url: string;
  /** Answers the requests at hand, writes the inference log and ends; so does SIGTERM or SIGINT. */
  shutdown(): Promise<void>;
  /** Resolves when it has ended. */
  readonly finished: Promise<void>;
}

/**
 * Serves a model over HTTP, on loopback unless there is a key: in the store, as `deps.apiKey`, or else
 * in the environment variable `GEOPHONE_API_KEY`.
 *
 * @throws {UsageError} when the host is not loopback and there is no key.
 * @throws {Error} when the port is taken.
 */
export async function serve(deps: AppDeps): Promise<Served> {
  const apiKey = deps.apiKey ?? readKey();
  const params = ServingParams.parse(deps.serving ?? {});
  const { host, port, requestTimeoutMs } = params;
  const logger = deps.logger ?? makeLogger(deps, params, "info");
  checkHost(host, apiKey !== undefined || await hasApiKeys(deps.store));
  const notifier = deps.sinks && new SinkDispatcher(deps.store, {
    sinks: deps.sinks,
    ...(deps.notifications ? { params: deps.notifications } : {}),
    onError: (text) => logger.warn("notification", text),
  });
  const app = await createApp({ ...deps, logger, ...(apiKey ? { apiKey } : {}) });
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = Deno.serve(
      { hostname: host, port, onListen() {} },
      (request) => app.fetch(request),
    );
  } catch (error) {
    await app.close();
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    throw new Error(
      `Cannot listen on "${host}:${port}": another program does; end it or choose another serving.port`,
      { cause: error },
    );
  }
  for (const found of deps.store.recoveries) logger.warn("recovery", describeRecovery(found));
  const retention = RetentionSchedule.start(
    deps.store,
    deps.retention ?? RetentionParams.parse({}),
    {
      onEvent: (text) => logger.info("retention", text),
    },
  );
  const webhooks = WebhookDispatcher.start(deps.store, {
    onError: (text) => logger.warn("webhook", text),
  });
  const monitors = deps.monitors && MonitorSchedule.start(deps.store, deps.monitors, {
    onEvent: (text, level) => logger[level]("monitor", text),
  });
  const judging = deps.judging && JudgeSchedule.start(deps.store, deps.judging, {
    onEvent: (text, level) => logger[level]("judge", text),
  });
  const alerts = deps.alerts && AlertSchedule.start(deps.store, deps.alerts, {
    onEvent: (text, level) => logger[level]("alert", text),
  });
  notifier?.start();
  const { everySeconds = 0 } = deps.resources ?? {};
  const resources = ResourceRecorder.start(deps.store, {
    everySeconds,
    backlog: () => app.backlog,
    onError: (text) => logger.warn("resources", text),
  });
  const ended = Promise.withResolvers<void>();
  let isEnding = false;
  const end = async () => {
    if (isEnding) return await ended.promise;
    isEnding = true;
    for (const signal of signals) Deno.removeSignalListener(signal, end);
    // Before the queries are stopped: that one was says nothing about its alert.
    const alertsEnded = alerts?.close();
    const judgingEnded = judging?.close();
    const monitorsEnded = monitors?.close();
    app.drain();
    const timeout = Promise.withResolvers<void>();
    const timer = setTimeout(timeout.resolve, requestTimeoutMs);
    try {
      // A client that never ends its request must not keep the process; the log is written all the same.
      await Promise.race([server.shutdown(), timeout.promise]);
      await Promise.all([
        webhooks.close(),
        notifier?.close(),
        resources?.close(),
        retention.close(),
        alertsEnded,
        judgingEnded,
        monitorsEnded,
      ]);
      await app.close();
      logger.info("ended", "The server has ended");
      ended.resolve();
    } catch (error) {
      ended.reject(error);
    } finally {
      clearTimeout(timer);
    }
    await ended.promise;
  };
  for (const signal of signals) Deno.addSignalListener(signal, end);
  const url = `http://${host.includes(":") ? `[${host}]` : host}:${server.addr.port}`;
  logger.info("listening", `Serving "${deps.model}" on ${url}`, { model: deps.model, url });
  return { app, url, shutdown: end, finished: ended.promise };
}

/** What asks a process to end. */
const signals: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT"]
  : ["SIGTERM", "SIGINT"];

function readKey(): string | undefined {
  try {
    return Deno.env.get(API_KEY_VARIABLE) || undefined;
  } catch {
    // Not permitted to look: then nobody has set one for us.
    return undefined;
  }
}

/** The log of a server; an app in the process of another says only what goes wrong. */
function makeLogger(
  { quiet = false }: AppDeps,
  { log }: ServingParams,
  least: "info" | "warning",
): Logger {
  return new Logger({ format: quiet ? "off" : log, least });
}
