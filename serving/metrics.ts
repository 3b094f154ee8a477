/** Metrics of one server: what it counts, and where each number comes from. */
import type { InferenceLog } from "../runtime/inference/inference_log.ts";
import type { OnlineReading } from "../runtime/online/online_watch.ts";
import { EventLoopLag } from "../runtime/resources.ts";
import type { Counter, Exemplar, Histogram } from "./metrics/histogram.ts";
import type { Store } from "../runtime/store/store.ts";
import { addJudgingMetrics } from "./metrics/judging.ts";
import { inferenceMetrics, type QueuedModel } from "./metrics/inference.ts";
import { onlineMetrics } from "./metrics/online.ts";
import { processMetrics, storageMetrics } from "./metrics/process.ts";
import {
  type Family,
  metricContentType,
  type MetricMediaType,
  MetricRegistry,
  type ReadMetric,
} from "./metrics/registry.ts";
import { SERVER_VERSION } from "./oip/contract.ts";
import type { QuotaUse } from "./rate_limit.ts";
import type { Statistics } from "./statistics.ts";
import { TrafficMetrics } from "./traffic/metrics.ts";

/** Bucket bounds in seconds: from one micro-batch to the request time-out. */
const DURATION_BOUNDS = [.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30];
/** Model runs and waits for them are shorter than requests. */
const RUN_BOUNDS = [.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5];
const ROW_BOUNDS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024];

/** What {@linkcode Metrics} reads when it is scraped. */
export interface MetricSources {
  readonly log: InferenceLog;
  readonly statistics: Statistics;
  readonly store: Store;
  /** Version behind each alias that is served. */
  aliases(): Iterable<readonly [alias: string, version: number]>;
  /** Models in memory. */
  queued(): Iterable<QueuedModel>;
  /** How much of its limits each key has used. */
  quotas(): Iterable<QuotaUse>;
  /** What detectors in the request path found. */
  online(): readonly OnlineReading[];
  /** Requests that have no answer yet. */
  openRequests(): number;
  isReady(): boolean;
}

/** An answered request. */
export interface CountedRequest extends Exemplar {
  readonly route: string;
  /** In milliseconds of `performance.now`. */
  readonly startedAt: number;
  readonly requestBytes: number | null;
  readonly responseBytes: number | null;
}

/** What is counted of one model version; kept by who counts, so that nothing is looked up. */
export interface ModelCounters {
  readonly queueSeconds: Histogram;
  /** One for each class. */
  readonly labels: readonly Counter[];
}

/** What is counted of one route. */
interface RouteCounters {
  readonly duration: Histogram;
  readonly requestBytes: Counter;
  readonly responseBytes: Counter;
  /** By HTTP status. */
  readonly statuses: Map<number, Counter>;
}

/** Counts what a server does. */
export class Metrics implements Disposable {
  readonly #registry = new MetricRegistry();
  readonly #requests: Family<Counter, "route" | "status">;
  /** By the first digit of the status. */
  readonly #classes: readonly Counter[];
  readonly #durations: Family<Histogram, "route">;
  readonly #bytes: Readonly<Record<"request" | "response", Family<Counter, "route">>>;
  readonly #predictions: Family<Counter, "model" | "version" | "label">;
  readonly #queueSeconds: Family<Histogram, "model" | "version">;
  readonly #runSeconds: Family<Histogram, "model" | "version">;
  readonly #batchRows: Histogram;
  readonly #unlogged: Counter;
  readonly #limited: Family<Counter, "key">;
  readonly #routes = new Map<string, RouteCounters>();
  readonly #lag: EventLoopLag;
  readonly traffic: TrafficMetrics;

  constructor(sources: MetricSources) {
    const registry = this.#registry;
    this.#requests = registry.counter(
      "geophone_requests_total",
      "Requests answered, by route and HTTP status",
      ["route", "status"],
    );
    const classes = registry.counter(
      "geophone_responses_total",
      "Requests answered, by class of HTTP status",
      ["class"],
    );
    this.#classes = Array.from("012345", (digit) => classes.of({ class: `${digit}xx` }));
    this.#durations = registry.histogram(
      "geophone_request_duration_seconds",
      "Time from a request's arrival to its answer, the commit of its log row included",
      { bounds: DURATION_BOUNDS, labels: ["route"] },
    );
    this.#bytes = {
      request: registry.counter("geophone_request_bytes_total", "Bytes of request bodies", [
        "route",
      ]),
      response: registry.counter("geophone_response_bytes_total", "Bytes of answers' bodies", [
        "route",
      ]),
    };
    this.#predictions = registry.counter(
      "geophone_predictions_total",
      "Records predicted, by model, version and label",
      ["model", "version", "label"],
    );
    const perVersion = { bounds: RUN_BOUNDS, labels: ["model", "version"] } as const;
    this.#queueSeconds = registry.histogram(
      "geophone_queue_duration_seconds",
      "Time that a request waited for a model run",
      perVersion,
    );
    this.#runSeconds = registry.histogram(
      "geophone_model_run_duration_seconds",
      "Time of one model run, whatever requests were in it",
      perVersion,
    );
    this.#batchRows = registry.histogram("geophone_batch_rows", "Rows of one model run", {
      bounds: ROW_BOUNDS,
    }).of({});
    this.#unlogged = registry.counter(
      "geophone_requests_unlogged_total",
      "Requests answered with an error because the inference log could not take their row",
    ).of({});
    this.#limited = registry.counter(
      "geophone_rate_limited_total",
      "Requests answered 429 because the key had used up its requests or rows, by key",
      ["key"],
    );
    this.traffic = new TrafficMetrics(registry);
    registry.read(
      ...serverMetrics(sources),
      ...inferenceMetrics(sources.statistics, sources.queued),
      ...storageMetrics(sources.store.path, () => sources.log.stats.journalBytes),
      ...processMetrics(),
      ...onlineMetrics(sources.online),
    );
    addJudgingMetrics(registry, sources.store);
    const lag = registry.histogram(
      "geophone_event_loop_lag_seconds",
      "How late a timer of 100 ms is: what everything waits before the process looks at it",
      { bounds: DURATION_BOUNDS },
    ).of({});
    this.#lag = new EventLoopLag((seconds) => lag.observe(seconds));
  }

  /** Counts one answered request; its duration ends now. */
  countRequest(request: CountedRequest, status: number): void {
    const { route, requestBytes, responseBytes } = request;
    const counters = this.#routes.get(route) ?? this.#addRoute(route);
    let answered = counters.statuses.get(status);
    if (answered === undefined) {
      answered = this.#requests.of({ route, status: String(status) });
      counters.statuses.set(status, answered);
    }
    answered.inc();
    this.#classes[Math.floor(status / 100)]?.inc();
    counters.duration.observe((performance.now() - request.startedAt) / 1000, request);
    if (requestBytes !== null) counters.requestBytes.inc(requestBytes);
    if (responseBytes !== null) counters.responseBytes.inc(responseBytes);
  }

  /** Counts what was read of a request in parts; what it sends is counted when it is over. */
  countPart({ route, requestBytes }: Pick<CountedRequest, "route" | "requestBytes">): void {
    if (requestBytes === null) return;
    (this.#routes.get(route) ?? this.#addRoute(route)).requestBytes.inc(requestBytes);
  }

  #addRoute(route: string): RouteCounters {
    const counters = {
      duration: this.#durations.of({ route }),
      requestBytes: this.#bytes.request.of({ route }),
      responseBytes: this.#bytes.response.of({ route }),
      statuses: new Map(),
    };
    this.#routes.set(route, counters);
    return counters;
  }

  /** Gives the counters of a model version with its classes. */
  modelCounters(model: string, version: number, classes: readonly string[]): ModelCounters {
    const labels = { model, version: String(version) };
    return {
      queueSeconds: this.#queueSeconds.of(labels),
      labels: classes.map((label) => this.#predictions.of({ ...labels, label })),
    };
  }

  /** Counts a model run. */
  countRun(
    { rows, modelMs }: { readonly rows: number; readonly modelMs: number },
    { model, version }: { readonly model: string; readonly version: number },
  ): void {
    this.#batchRows.observe(rows);
    this.#runSeconds.of({ model, version: String(version) }).observe(modelMs / 1000);
  }

  countUnlogged(): void {
    this.#unlogged.inc();
  }

  countLimited(key: string): void {
    this.#limited.of({ key }).inc();
  }

  /** Gives all metrics as text, and the `Content-Type` of it. */
  async render(mediaType: MetricMediaType): Promise<{ text: string; contentType: string }> {
    return {
      text: await this.#registry.render(mediaType),
      contentType: metricContentType(mediaType),
    };
  }

  /** Looks at the event loop no more. */
  [Symbol.dispose](): void {
    this.#lag[Symbol.dispose]();
  }
}

/** What a server knows of itself when it is asked. */
function serverMetrics(sources: MetricSources): ReadMetric[] {
  const { log } = sources;
  const metric = (type: ReadMetric["type"]) =>
  (
    name: string,
    help: string,
    read: ReadMetric["read"],
  ): ReadMetric => ({ name, help, type, read });
  const gauge = metric("gauge");
  const counter = metric("counter");
  const quota = (field: "used" | "limit") => () =>
    [...sources.quotas()].map(({ key, unit, period, ...use }) => ({
      labels: { key, unit, period },
      value: use[field],
    }));
  return [
    gauge("geophone_build_info", "Always 1; the labels say what runs", () => [{
      labels: { version: SERVER_VERSION, deno: Deno.version.deno, v8: Deno.version.v8 },
      value: 1,
    }]),
    gauge(
      "geophone_ready",
      "1 when the server can answer predictions",
      () => sources.isReady() ? 1 : 0,
    ),
    gauge("geophone_open_requests", "Requests that have no answer yet", sources.openRequests),
    gauge(
      "geophone_inference_log_queue_rows",
      "Rows that no commit holds yet",
      () => log.stats.queuedRows,
    ),
    counter(
      "geophone_inference_log_commits_total",
      "Commits of the inference log",
      () => log.stats.commits,
    ),
    counter(
      "geophone_inference_log_rows_total",
      "Rows committed to the inference log",
      () => log.stats.committedRows,
    ),
    counter(
      "geophone_inference_log_failures_total",
      "Commits of the inference log that failed",
      () => log.stats.failures,
    ),
    gauge(
      "geophone_model_version",
      "Model version behind an alias",
      () => [...sources.aliases()].map(([alias, value]) => ({ labels: { alias }, value })),
    ),
    gauge(
      "geophone_quota_used",
      "What a key has used of its limit, in requests or rows",
      quota("used"),
    ),
    gauge("geophone_quota_limit", "What a key may use in a minute or a day", quota("limit")),
  ];
}
