/**
 * What judges did and took, whichever process they ran in: read from the store when somebody asks, and
 * not more often than every few seconds.
 *
 * @module
 */
import type { Store } from "../../runtime/store/store.ts";
import { Histogram } from "./histogram.ts";
import type { MetricRegistry, Reading } from "./registry.ts";

/** Bounds of a verdict's time, seconds: from a rule to a slow model that explains. */
const BOUNDS = Float64Array.of(.001, .01, .1, .25, .5, 1, 2.5, 5, 10, 30, 60);

/** What was read is given again for so long, milliseconds. */
const FRESH_MS = 5_000;

interface JudgingState {
  readonly calls: readonly Reading[];
  readonly tokens: readonly Reading[];
  readonly coverage: readonly Reading[];
  readonly latency: readonly {
    readonly labels: Readonly<Record<string, string>>;
    readonly histogram: Histogram;
  }[];
}

const nothing: JudgingState = { calls: [], tokens: [], coverage: [], latency: [] };

/** Verdicts on predictions and on calls. */
const VERDICTS = `(select judge, status, kind, ms from core.judgements
  union all select judge, status, kind, ms from core.call_judgements)`;

/** Adds the metrics of judges. While the store does not answer they have no lines. */
export function addJudgingMetrics(registry: MetricRegistry, store: Store): void {
  let state: Promise<JudgingState> | undefined;
  let readAt = -Infinity;
  const read = () => {
    if (state === undefined || performance.now() - readAt > FRESH_MS) {
      readAt = performance.now();
      state = readState(store).catch(() => nothing);
    }
    return state;
  };
  registry.read(
    {
      name: "judge_tokens_total",
      help: "Tokens of calls to language models, by judge, model and direction",
      type: "counter",
      read: async () => (await read()).tokens,
    },
    {
      name: "judge_calls_total",
      help: "Verdicts of judges, by status and, unless scored, kind",
      type: "counter",
      read: async () => (await read()).calls,
    },
    {
      name: "judge_coverage_ratio",
      help: "Share of a judge's verdicts that have a score",
      type: "gauge",
      read: async () => (await read()).coverage,
    },
  );
  registry.readHistogram({
    name: "judge_latency_seconds",
    help: "Time of one verdict, all questions to a model included",
    read: async () => (await read()).latency,
  });
}

async function readState(store: Store): Promise<JudgingState> {
  const verdicts = await store.query<
    { judge: string; status: string; kind: string; count: number }
  >(
    `select judge, status, coalesce(kind, '') as kind, count(*) as count
     from ${VERDICTS} group by all order by all`,
  );
  const tokens = await store.query<
    { judge: string; model: string; tokens_in: number | null; tokens_out: number | null }
  >(
    `select coalesce(judge, '') as judge, coalesce(model, '') as model,
       sum(tokens_in)::bigint as tokens_in, sum(tokens_out)::bigint as tokens_out
     from core.llm_calls group by all order by all`,
  );
  return {
    calls: verdicts.map(({ count, ...labels }) => ({ labels, value: count })),
    tokens: tokens.flatMap(({ judge, model, tokens_in, tokens_out }) =>
      ([["in", tokens_in], ["out", tokens_out]] as const).flatMap(([direction, value]) =>
        value === null ? [] : [{ labels: { judge, model, direction }, value }]
      )
    ),
    coverage: [...Map.groupBy(verdicts, ({ judge }) => judge)].map(([judge, rows]) => {
      const total = (of: typeof rows) => of.reduce((sum, { count }) => sum + count, 0);
      const scored = rows.filter(({ status }) => status === "scored");
      return { labels: { judge }, value: total(scored) / total(rows) };
    }),
    latency: await readLatency(store),
  };
}

async function readLatency(store: Store): Promise<JudgingState["latency"]> {
  // The number of bounds below a time is its bucket: a bucket holds its bound.
  const rows = await store.query<
    { judge: string; bucket: number; count: number; seconds: number }
  >(
    `select judge, len(list_filter([${
      BOUNDS.join(", ")
    }], lambda bound : bound < ms / 1000)) as bucket,
       count(*) as count, sum(ms) / 1000 as seconds
     from ${VERDICTS} group by all order by all`,
  );
  return [...Map.groupBy(rows, ({ judge }) => judge)].map(([judge, buckets]) => {
    const counts = new Float64Array(BOUNDS.length + 1);
    for (const { bucket, count } of buckets) counts[bucket] = count;
    const sum = buckets.reduce((sum, { seconds }) => sum + seconds, 0);
    return { labels: { judge }, histogram: Histogram.of(BOUNDS, counts, sum) };
  });
}
