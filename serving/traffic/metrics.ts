/** Prometheus metrics of traffic management and of the cache of predictions. */
import type { Counter, Gauge } from "../metrics/histogram.ts";
import type { Family, MetricRegistry } from "../metrics/registry.ts";

/** Outcome of one record that a shadow version predicted, too. */
export type ShadowOutcome = "agreed" | "differed" | "error";

/** Counts where requests went. */
export class TrafficMetrics {
  readonly #arms: Family<Counter, "arm">;
  readonly #fallbacks: Family<Counter, "arm">;
  readonly #shadowRows: Family<Counter, "outcome">;
  readonly #shadowDropped: Counter;
  readonly #cache: Readonly<Record<"hit" | "miss", Counter>>;
  readonly #canaryPercent: Family<Gauge, "alias">;
  readonly #canaryEvents: Family<Counter, "kind">;

  constructor(registry: MetricRegistry) {
    this.#arms = registry.counter(
      "geophone_traffic_requests_total",
      "Requests by the arm they fell to",
      ["arm"],
    );
    this.#fallbacks = registry.counter(
      "geophone_traffic_fallbacks_total",
      "Requests answered by the default because their arm could not be loaded",
      ["arm"],
    );
    this.#shadowRows = registry.counter(
      "geophone_shadow_rows_total",
      "Records mirrored, by outcome",
      ["outcome"],
    );
    const counter = (name: string, help: string) => registry.counter(name, help).of({});
    this.#shadowDropped = counter(
      "geophone_shadow_dropped_total",
      "Records not mirrored because too many waited or their row could not be written",
    );
    this.#cache = {
      hit: counter("geophone_cache_hits_total", "Requests predicted from the cache"),
      miss: counter("geophone_cache_misses_total", "Requests that the cache could not answer"),
    };
    this.#canaryPercent = registry.gauge(
      "geophone_canary_percent",
      "Share of the requests that the canary gets now, in percent",
      ["alias"],
    );
    this.#canaryEvents = registry.counter(
      "geophone_canary_events_total",
      "What became of canaries",
      ["kind"],
    );
  }

  countArm(arm: string): void {
    this.#arms.of({ arm }).inc();
  }

  countFallback(arm: string): void {
    this.#fallbacks.of({ arm }).inc();
  }

  countShadow(outcome: ShadowOutcome, rows: number): void {
    this.#shadowRows.of({ outcome }).inc(rows);
  }

  countShadowDropped(rows: number): void {
    this.#shadowDropped.inc(rows);
  }

  countCache(outcome: "hit" | "miss"): void {
    this.#cache[outcome].inc();
  }

  setCanary(alias: string, percent: number): void {
    this.#canaryPercent.of({ alias }).set(percent);
  }

  countCanaryEvent(kind: string): void {
    this.#canaryEvents.of({ kind }).inc();
  }
}
