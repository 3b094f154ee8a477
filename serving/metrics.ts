/** Prometheus metrics of one server, in a registry of its own. */
import process from "node:process";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { InferenceLog } from "../runtime/inference_log.ts";

/** Bucket bounds in seconds: from one micro-batch to the request time-out. */
const DURATION_BUCKETS = [.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30];
const ROW_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024];

/** What {@linkcode Metrics} reads when it is scraped. */
export interface MetricSources {
  readonly log: InferenceLog;
  /** Version behind each alias that is served. */
  aliases(): Iterable<readonly [alias: string, version: number]>;
  isReady(): boolean;
}

/** Counts what a server does. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<"route" | "status">;
  readonly #durations: Histogram<"route">;
  readonly #predictions: Counter<"model" | "version" | "label">;
  readonly #batchRows: Histogram;
  readonly #unlogged: Counter;
  readonly #limited: Counter<"key">;
  // Looking a child up by its labels costs more than all else that a request counts.
  readonly #requestChildren = new Map<string, Counter.Internal>();
  readonly #durationChildren = new Map<string, Histogram.Internal<"route">>();

  constructor(sources: MetricSources) {
    const registers = [this.#registry];
    this.#requests = new Counter({
      name: "geophone_requests_total",
      help: "Requests answered, by route and HTTP status",
      labelNames: ["route", "status"],
      registers,
    });
    this.#durations = new Histogram({
      name: "geophone_request_duration_seconds",
      help: "Time from a request's arrival to its answer, the commit of its log row included",
      labelNames: ["route"],
      buckets: DURATION_BUCKETS,
      registers,
    });
    this.#predictions = new Counter({
      name: "geophone_predictions_total",
      help: "Records predicted, by model, version and label",
      labelNames: ["model", "version", "label"],
      registers,
    });
    this.#batchRows = new Histogram({
      name: "geophone_batch_rows",
      help: "Rows of one model run",
      buckets: ROW_BUCKETS,
      registers,
    });
    this.#unlogged = new Counter({
      name: "geophone_requests_unlogged_total",
      help: "Requests answered with an error because the inference log could not take their row",
      registers,
    });
    this.#limited = new Counter({
      name: "geophone_rate_limited_total",
      help: "Requests answered 429 because the key had used up its requests or rows, by key",
      labelNames: ["key"],
      registers,
    });
    defineReadings(registers, sources);
  }

  /** Counts one answered request. */
  countRequest(route: string, status: number, seconds: number): void {
    const key = `${route} ${status}`;
    let requests = this.#requestChildren.get(key);
    if (!requests) {
      requests = this.#requests.labels({ route, status: String(status) });
      this.#requestChildren.set(key, requests);
    }
    requests.inc();
    let durations = this.#durationChildren.get(route);
    if (!durations) {
      durations = this.#durations.labels({ route });
      this.#durationChildren.set(route, durations);
    }
    durations.observe(seconds);
  }

  /** Gives the counter of one label of one model version. */
  predictionCounter(model: string, version: number, label: string): { inc(by: number): void } {
    return this.#predictions.labels({ model, version: String(version), label });
  }

  countRun(rows: number): void {
    this.#batchRows.observe(rows);
  }

  countUnlogged(): void {
    this.#unlogged.inc();
  }

  countLimited(key: string): void {
    this.#limited.inc({ key });
  }

  /** Gives the text exposition format. */
  render(): Promise<string> {
    return this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }
}

/** Metrics that are read when they are scraped. */
function defineReadings(registers: Registry[], { log, aliases, isReady }: MetricSources): void {
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  const counter = (name: string, help: string, read: () => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  gauge("geophone_ready", "1 when the server can answer predictions", () => isReady() ? 1 : 0);
  gauge(
    "geophone_inference_log_queue_rows",
    "Rows that no commit holds yet",
    () => log.stats.queuedRows,
  );
  counter(
    "geophone_inference_log_commits_total",
    "Commits of the inference log",
    () => log.stats.commits,
  );
  counter(
    "geophone_inference_log_rows_total",
    "Rows committed to the inference log",
    () => log.stats.committedRows,
  );
  counter(
    "geophone_inference_log_failures_total",
    "Commits of the inference log that failed",
    () => log.stats.failures,
  );
  new Gauge({
    name: "geophone_model_version",
    help: "Model version behind an alias",
    labelNames: ["alias"],
    registers,
    collect() {
      this.reset();
      for (const [alias, version] of aliases()) this.set({ alias }, version);
    },
  });
  counter("process_cpu_seconds_total", "CPU time of the process", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  gauge(
    "process_resident_memory_bytes",
    "Resident memory of the process",
    () => Deno.memoryUsage().rss,
  );
  const startedAt = Date.now() / 1000;
  gauge("process_start_time_seconds", "When the process started, Unix time", () => startedAt);
}
