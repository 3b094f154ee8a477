/**
 * The metrics of one server, and their two text forms. What is counted lies in plain numbers; the text
 * is made when somebody asks for it.
 *
 * @module
 */
import { type Metric, Registry, type RegistryContentType } from "prom-client";
import { Counter, Gauge, Histogram } from "./histogram.ts";

/** Media types that metrics can be had in, the default first. */
export const metricMediaTypes = ["text/plain", "application/openmetrics-text"] as const;

/** One of {@linkcode metricMediaTypes}. */
export type MetricMediaType = typeof metricMediaTypes[number];

/** One number of a metric that is read when it is asked for. */
export interface Reading {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A metric that is read; `null` and an empty list are no reading at all, and no line. */
export interface ReadMetric {
  readonly name: string;
  readonly help: string;
  /**
   * `named`: a counter whose name is somebody else's and does not end in `_total`. OpenMetrics would
   * rename it, so that there it has no type.
   */
  readonly type: "counter" | "gauge" | "named";
  read(): Readings | Promise<Readings>;
}

/** What one look at a metric gives. */
export type Readings = number | null | readonly Reading[];

/** All that is counted under one name, by label values. */
export class Family<Child, Label extends string = never> {
  readonly #labels: readonly Label[];
  readonly #make: () => Child;
  readonly #children = new Map<string, Child>();

  constructor(labels: readonly Label[], make: () => Child) {
    this.#labels = labels;
    this.#make = make;
    // What has no labels is there from the start: nothing yet is 0, not unknown.
    if (labels.length === 0) this.#children.set("[]", make());
  }

  /** Gives what counts for these label values, made on first use. Keep it where it is used often. */
  of(labels: Readonly<Record<Label, string>>): Child {
    const key = JSON.stringify(this.#labels.map((label) => labels[label]));
    let child = this.#children.get(key);
    if (child === undefined) this.#children.set(key, child = this.#make());
    return child;
  }

  *[Symbol.iterator](): Iterator<readonly [labels: Record<string, string>, child: Child]> {
    for (const [key, child] of this.#children) {
      const values: string[] = JSON.parse(key);
      yield [Object.fromEntries(this.#labels.map((label, i) => [label, values[i]])), child];
    }
  }
}

/** A line of the text beside its name's head, as `prom-client` writes it. */
interface Sample {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  readonly exemplar?: object;
}

interface Source {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram" | "named";
  collect(isOpenMetrics: boolean): Promise<readonly Sample[]>;
}

/** Longest label set of an exemplar, names and values together. @see OpenMetrics 1.0, Exemplars */
const EXEMPLAR_LENGTH = 128;

/**
 * Every metric of a server.
 *
 * @example
 * ```ts
 * import { assertStringIncludes } from "@std/assert";
 * import { MetricRegistry } from "./registry.ts";
 *
 * const registry = new MetricRegistry();
 * registry.counter("cores_total", "Cores measured, by well", ["well"]).of({ well: "P-130" }).inc(2);
 * assertStringIncludes(await registry.render("text/plain"), 'cores_total{well="P-130"} 2');
 * ```
 */
export class MetricRegistry {
  readonly #sources: Source[] = [];

  /** Defines a counter; its name ends in `_total`. */
  counter<L extends string = never>(
    name: string,
    help: string,
    labels: readonly L[] = [],
  ): Family<Counter, L> {
    return this.#addFamily(
      { name, help, type: "counter" },
      new Family(labels, () => new Counter()),
    );
  }

  /** Defines a gauge. */
  gauge<L extends string = never>(
    name: string,
    help: string,
    labels: readonly L[] = [],
  ): Family<Gauge, L> {
    return this.#addFamily({ name, help, type: "gauge" }, new Family(labels, () => new Gauge()));
  }

  /** Defines a histogram of ascending bucket bounds. */
  histogram<L extends string = never>(
    name: string,
    help: string,
    { bounds, labels = [] }: { readonly bounds: readonly number[]; readonly labels?: readonly L[] },
  ): Family<Histogram, L> {
    const shared = Float64Array.from(bounds);
    const family = new Family(labels, () => new Histogram(shared));
    this.#sources.push({
      name,
      help,
      type: "histogram",
      collect: (isOpenMetrics) =>
        Promise.resolve(
          [...family].flatMap(([labels, child]) =>
            sampleHistogram(child, { name, labels, isOpenMetrics })
          ),
        ),
    });
    return family;
  }

  /** Defines metrics that are read when they are asked for. */
  read(...metrics: readonly ReadMetric[]): void {
    for (const metric of metrics) {
      const { name, help, type } = metric;
      this.#sources.push({
        name,
        help,
        type,
        async collect() {
          const readings = await metric.read();
          const list = typeof readings === "number" ? [{ value: readings }] : readings ?? [];
          return list.map(({ labels = {}, value }) => ({ metricName: name, labels, value }));
        },
      });
    }
  }

  /** Defines a histogram that is read when it is asked for; none is no line. */
  readHistogram(
    { name, help, read }: Pick<ReadMetric, "name" | "help"> & {
      read(): Promise<
        readonly {
          readonly labels: Readonly<Record<string, string>>;
          readonly histogram: Histogram;
        }[]
      >;
    },
  ): void {
    this.#sources.push({
      name,
      help,
      type: "histogram",
      collect: async (isOpenMetrics) =>
        (await read()).flatMap(({ labels, histogram }) =>
          sampleHistogram(histogram, { name, labels, isOpenMetrics })
        ),
    });
  }

  /** Gives the text of all metrics, in the order in which they were defined. */
  async render(mediaType: MetricMediaType): Promise<string> {
    const isOpenMetrics = mediaType === "application/openmetrics-text";
    const registry = makeRegistry(mediaType);
    for (const source of this.#sources) {
      const samples = await source.collect(isOpenMetrics);
      if (samples.length > 0) registry.registerMetric(toMetric(source, samples, isOpenMetrics));
    }
    return await registry.metrics();
  }

  #addFamily<Child extends { readonly value: number }, L extends string>(
    { name, ...rest }: Omit<Source, "collect">,
    family: Family<Child, L>,
  ): Family<Child, L> {
    this.#sources.push({
      ...rest,
      name,
      collect: () =>
        Promise.resolve(
          [...family].map(([labels, { value }]) => ({ metricName: name, labels, value })),
        ),
    });
    return family;
  }
}

/** Gives the `Content-Type` of a form. */
export function metricContentType(mediaType: MetricMediaType): string {
  return makeRegistry(mediaType).contentType;
}

function makeRegistry(mediaType: MetricMediaType): Registry<RegistryContentType> {
  const registry = new Registry<RegistryContentType>();
  registry.setContentType(
    mediaType === "text/plain"
      ? Registry.PROMETHEUS_CONTENT_TYPE
      : Registry.OPENMETRICS_CONTENT_TYPE,
  );
  return registry;
}

/** A metric with what it is to write. `prom-client` takes `_total` off a name and puts it on again. */
function toMetric(
  { name, help, type }: Source,
  samples: readonly Sample[],
  isOpenMetrics: boolean,
): Metric {
  const isCounter = type === "counter";
  const values = isCounter ? samples.map(({ metricName: _, ...sample }) => sample) : samples;
  const metric = {
    name,
    help,
    type: type === "named" ? isOpenMetrics ? "unknown" : "counter" : type,
    get: () => Promise.resolve({ ...metric, values }),
  };
  return metric as unknown as Metric;
}

function sampleHistogram(
  histogram: Histogram,
  { name, labels, isOpenMetrics }: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly isOpenMetrics: boolean;
  },
): Sample[] {
  const { bounds, counts, sum } = histogram;
  const samples: Sample[] = [];
  let count = 0;
  for (let bucket = 0; bucket <= bounds.length; bucket++) {
    count += counts[bucket];
    const exemplar = isOpenMetrics ? toExemplar(histogram, bucket) : null;
    samples.push({
      metricName: `${name}_bucket`,
      labels: { ...labels, le: writeBound(bounds[bucket], isOpenMetrics) },
      value: count,
      ...(exemplar === null ? {} : { exemplar }),
    });
  }
  samples.push({ metricName: `${name}_sum`, labels, value: sum });
  samples.push({ metricName: `${name}_count`, labels, value: count });
  return samples;
}

function writeBound(bound: number | undefined, isOpenMetrics: boolean): string {
  if (bound === undefined) return "+Inf";
  return isOpenMetrics && Number.isInteger(bound) ? bound.toFixed(1) : String(bound);
}

/** The trace comes first: where both do not fit, a trace is more to look at. */
function toExemplar(histogram: Histogram, bucket: number): object | null {
  const exemplar = histogram.exemplar(bucket);
  if (exemplar === null) return null;
  const { traceId, requestId, value, time } = exemplar;
  const labelSet: Record<string, string> = {};
  let length = 0;
  for (const [name, text] of [["trace_id", traceId], ["request_id", requestId]] as const) {
    if (text === null || length + name.length + text.length > EXEMPLAR_LENGTH) continue;
    labelSet[name] = text;
    length += name.length + text.length;
  }
  return { labelSet, value, timestamp: time.getTime() / 1000 };
}
