/** Counts the requests that a canary is judged by. */
import type { Store } from "../../runtime/store/store.ts";
import type { ArmWindow, CanaryWindow } from "./canary_verdict.ts";

/** Whose requests, and since when. */
export interface WindowOptions {
  readonly model: string;
  readonly baseline: number;
  readonly canary: number;
  readonly since: Date;
  readonly maxLatencyRatio: number;
}

/**
 * Statuses of requests that a version fails: it breaks (500), is too slow (504) or refuses what the
 * other takes (400 and 422; what no version takes is refused before one is chosen). Full queues,
 * limits and clients that go away are nobody's fault.
 */
const FAILURES = "(400, 422, 500, 504)";

/** Reads a window from the inference table and the verdicts of the judges. */
export async function readCanaryWindow(
  store: Store,
  { model, baseline, canary, since, maxLatencyRatio }: WindowOptions,
): Promise<CanaryWindow> {
  const rows = await store.query<{
    version: number;
    requests: number;
    failures: number;
    p95_ms: number | null;
    slow: number;
  }>(
    `with asked as (
       select version, duration_ms, status_code in ${FAILURES} as is_failed from core.requests
       where model = ? and version in (?, ?) and request_time >= ? and method = 'POST'
         and not starts_with(endpoint, '/v2/repository/')
         and (status_code in ${FAILURES} or (status_code = 200 and queue_ms is not null))),
     arms as (
       select version, count(*) as requests, count(*) filter (is_failed) as failures,
         quantile_cont(duration_ms, 0.95) filter (not is_failed) as p95_ms
       from asked group by version)
     select a.version, a.requests, a.failures, a.p95_ms,
       (select count(*) from asked s where s.version = a.version and not s.is_failed
         and s.duration_ms > ? * (select p95_ms from arms where version = ?)) as slow
     from arms a`,
    [model, baseline, canary, since, maxLatencyRatio, baseline],
  );
  const arm = (version: number): ArmWindow & { slow: number } => {
    const row = rows.find((each) => each.version === version);
    return {
      requests: row?.requests ?? 0,
      failures: row?.failures ?? 0,
      p95Ms: row?.p95_ms ?? null,
      slow: row?.slow ?? 0,
    };
  };
  const { slow: _, ...before } = arm(baseline);
  return {
    baseline: before,
    canary: { ...arm(canary), judged: await readJudged(store, { model, canary, since }) },
  };
}

/** The mean score over the sampled records, each weighted by how many it stands for. */
async function readJudged(
  store: Store,
  { model, canary, since }: Pick<WindowOptions, "model" | "canary" | "since">,
): Promise<{ count: number; mean: number } | null> {
  const [{ count, mean }] = await store.query<{ count: number | null; mean: number | null }>(
    `select sum(weight) ** 2 / sum(weight ** 2) as count, sum(weight * score) / sum(weight) as mean
     from (select j.score, 1 / j.inclusion_probability as weight
       from core.judgements j join core.inferences i using (request_id, row)
       where i.model = ? and i.version = ? and i.request_time >= ? and j.status = 'scored')`,
    [model, canary, since],
  );
  return count === null || mean === null ? null : { count, mean };
}
