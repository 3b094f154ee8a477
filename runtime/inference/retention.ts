/**
 * Retention: what a server wrote about requests goes when it is too old, or when the store is too
 * large, the oldest first. Models, runs, aliases, promotions, keys and the audit log always stay.
 *
 * @module
 */
import { z } from "zod";
import { oneRow, recordSteps } from "../audit.ts";
import { estimateBytes, findSizeCutoff, readUsedBytes } from "./retention_size.ts";
import {
  type HistoryCutoffs,
  historySteps,
  type HistoryTable,
  oldRows,
} from "./retention_history.ts";
import type { SqlValue, Step, Store } from "../store/store.ts";

/** Parses the section `retention` of a config; by default everything is kept. */
export const RetentionParams = z.strictObject({
  maxAgeDays: z.number().positive().optional().describe(
    "Days that requests, their predictions, labels and judgements are kept; left out: always",
  ),
  maxGiB: z.number().positive().optional().describe(
    "Size of the store in GiB above which the oldest requests go; left out: any",
  ),
  payloadDays: z.number().positive().optional().describe(
    "Days that bodies of requests are kept; left out: as long as the requests",
  ),
  historyDays: z.number().positive().optional().describe(
    "Days that drift, alarms, evaluations and transitions of alerts, deliveries to sinks and webhooks " +
      "and resources are kept, the latest of each and what still waits always, and days that traces " +
      "are kept; left out: always",
  ),
  profileDays: z.number().positive().optional().describe(
    "Days after its end that profile and drift of a window are kept, those of the latest window of " +
      "each granularity and of baselines always; left out: always",
  ),
  estimateDays: z.number().positive().optional().describe(
    "Days after its end that estimated and realized performance of a window are kept, that of the " +
      "latest window of each granularity always; left out: always",
  ),
  judgeDays: z.number().positive().optional().describe(
    "Days that cards of judges, answers to canaries and cases, probes, and definitions of judges " +
      "without a verdict are kept, the newest card and probes of each version of a judge always; " +
      "left out: always",
  ),
  judgeLabelDays: z.number().positive().optional().describe(
    "Days that what people say of predictions is kept; left out: always",
  ),
  keepLabeled: z.boolean().default(false).describe(
    "Whether requests with a label stay whatever their age, as for a legal hold",
  ),
});

/** Parsed {@linkcode RetentionParams}. */
export type RetentionParams = z.infer<typeof RetentionParams>;

/** Rows by table that go. */
export type RetentionCounts = Readonly<
  Record<
    "requests" | typeof byTime[number] | typeof byRequest[number] | HistoryTable,
    number
  >
>;

/** What goes, and why. */
export interface RetentionPlan {
  /** Requests before this go; `null` when none has to. */
  readonly requestsBefore: Date | null;
  /** Bodies before this go, too. */
  readonly payloadsBefore: Date | null;
  readonly historyBefore: Date | null;
  /** Profiles and drift of windows that ended before this go, … */
  readonly profilesBefore: Date | null;
  /** … and estimates of those that ended before this. */
  readonly estimatesBefore: Date | null;
  /** Cards, cases and probes of judges before this go, … */
  readonly judgesBefore: Date | null;
  /** … and people's labels of judged predictions before this. */
  readonly judgeLabelsBefore: Date | null;
  readonly keepLabeled: boolean;
  readonly counts: RetentionCounts;
  /** Time of the oldest request, ISO 8601; `null` when there is none. */
  readonly oldest: string | null;
  /** Bytes of the store's blocks in use. */
  readonly usedBytes: number;
  /** Bytes of those blocks that hold what goes, about. */
  readonly bytes: number;
  /** Why the store stays too large whatever goes, `null` when it does not. */
  readonly problem: string | null;
}

/** What a run of retention did. */
export interface RetentionResult {
  readonly plan: RetentionPlan;
  /** Transactions that took rows away. */
  readonly batches: number;
  /** Bytes of the store's blocks in use then. The file keeps its size; later rows fill it again. */
  readonly usedBytes: number;
}

/** Options of {@linkcode retain}. */
export interface RetainOptions {
  /** Who does it; `null` when nobody knows. */
  readonly by?: string | null;
  /** Ends after the transaction at hand. */
  readonly signal?: AbortSignal;
  /** The time that ages count from; default now. */
  readonly now?: Date;
  /** Rows of one transaction, a few milliseconds of the writer's time; default 10,000. */
  readonly batchRows?: number;
}

/** Tables of rows that go with their request. */
const byTime = ["inferences", "payloads", "shadow_inferences"] as const;
const byRequest = ["labels", "judgements"] as const;

const BATCH_ROWS = 10_000;
const DAY_MS = 86_400_000;

/** Says what retention would take away now, and takes nothing. */
export async function planRetention(
  store: Store,
  params: RetentionParams,
  now: Date = new Date(),
): Promise<RetentionPlan> {
  const { keepLabeled } = params;
  const { before, problem } = params.maxGiB === undefined
    ? { before: null, problem: null }
    : await findSizeCutoff(store, { maxGiB: params.maxGiB, isFree: unlabeled(keepLabeled) });
  const usedBytes = await readUsedBytes(store);
  const requestsBefore = later(ago(now, params.maxAgeDays), before);
  const payloadsBefore = later(requestsBefore, ago(now, params.payloadDays));
  const historyBefore = ago(now, params.historyDays);
  const cutoffs = {
    requestsBefore,
    payloadsBefore,
    historyBefore,
    profilesBefore: ago(now, params.profileDays),
    estimatesBefore: ago(now, params.estimateDays),
    judgesBefore: ago(now, params.judgeDays),
    judgeLabelsBefore: ago(now, params.judgeLabelDays),
    keepLabeled,
  };
  const counts = await countRows(store, cutoffs);
  const [{ oldest }] = await store.query<{ oldest: string | null }>(
    "select min(request_time) as oldest from core.requests",
  );
  const bytes = await estimateBytes(store, counts);
  return { ...cutoffs, counts, oldest, usedBytes, bytes, problem };
}

/**
 * Takes away what is too old or too much, whole requests at a time and in short transactions, so that
 * a server goes on. The first transaction holds the entry of the audit log that says what goes; a run
 * that takes nothing away leaves none.
 *
 * DuckDB frees blocks by the 122,880 rows of a row group when it checkpoints, which a run does at its
 * end. Freed blocks are used again; the file does not shrink.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { retain, RetentionParams } from "./retention.ts";
 * import { openStore } from "../store/store.ts";
 *
 * await using store = await openStore(":memory:");
 * await store.query(
 *   `insert into core.requests by name select 'old' as request_id, timestamp '2020-01-01' as
 *    request_time, 'GET' as method, '/' as endpoint, 200 as status_code, 0 as row_count, 1 as duration_ms`,
 * );
 * const { plan } = await retain(store, RetentionParams.parse({ maxAgeDays: 90 }));
 * assertEquals(plan.counts.requests, 1);
 * assertEquals(await store.query("select count(*) as n from requests"), [{ n: 0 }]);
 * ```
 */
export async function retain(
  store: Store,
  params: RetentionParams,
  options: RetainOptions = {},
): Promise<RetentionResult> {
  const plan = await planRetention(store, params, options.now);
  if (Object.values(plan.counts).every((count) => count === 0)) {
    return { plan, batches: 0, usedBytes: plan.usedBytes };
  }
  let batches = 0;
  const take = async (steps: readonly Step[]) => {
    const start = performance.now();
    await store.transaction(
      batches === 0 ? [...auditSteps(plan, options.by ?? null), ...steps] : steps,
    );
    batches++;
    // As long for others as for this.
    await new Promise((resolve) => setTimeout(resolve, performance.now() - start));
  };
  const { signal, batchRows = BATCH_ROWS } = options;
  const { requestsBefore, payloadsBefore, keepLabeled } = plan;
  const takeAll = async (batch: Batch, stepsBefore: (end: Date) => readonly Step[]) => {
    while (!signal?.aborted) {
      const end = await findEnd(store, batch);
      if (end === null) return;
      await take(stepsBefore(end));
    }
  };
  // First: what of it stays hangs on judgements, which go with their requests, and is counted already.
  const steps = historySteps(historyCutoffs(plan));
  if (steps.length > 0 && !signal?.aborted) await take(steps);
  const isFree = unlabeled(keepLabeled);
  if (requestsBefore !== null) {
    const batch = { table: "requests", weight: "1 + row_count", before: requestsBefore };
    await takeAll({ ...batch, isFree, batchRows }, (end) => requestSteps(end, isFree));
  }
  if (payloadsBefore !== null) {
    const batch = { table: "payloads", weight: "1", before: payloadsBefore };
    await takeAll({ ...batch, isFree, batchRows }, (end) => [deleteStep("payloads", end, isFree)]);
  }
  await store.query("checkpoint");
  return { plan, batches, usedBytes: await readUsedBytes(store) };
}

function auditSteps({ counts, ...plan }: RetentionPlan, by: string | null): Step[] {
  return recordSteps({
    action: "retention.applied",
    by,
    ...oneRow("requests", {
      requests_before: plan.requestsBefore,
      payloads_before: plan.payloadsBefore,
      history_before: plan.historyBefore,
      profiles_before: plan.profilesBefore,
      estimates_before: plan.estimatesBefore,
      judges_before: plan.judgesBefore,
      judge_labels_before: plan.judgeLabelsBefore,
      keep_labeled: plan.keepLabeled,
      rows: counts,
    }),
  });
}

function ago(now: Date, days: number | undefined): Date | null {
  return days === undefined ? null : new Date(now.getTime() - days * DAY_MS);
}

function later(a: Date | null, b: Date | null): Date | null {
  return a === null ? b : b === null || a > b ? a : b;
}

/** Requests that stay whatever their age, as a condition on `request_id`. */
function unlabeled(keepLabeled: boolean): string {
  return keepLabeled ? "request_id not in (select request_id from core.labels)" : "true";
}

/** Rows to take away in turns, the oldest first. */
interface Batch {
  readonly table: string;
  /** Rows that one of the table stands for. */
  readonly weight: string;
  readonly before: Date;
  readonly isFree: string;
  readonly batchRows: number;
}

/** Time before which the next turn's rows lie, `null` when none is left; requests are in it whole. */
async function findEnd(
  store: Store,
  { table, weight, before, isFree, batchRows }: Batch,
): Promise<Date | null> {
  const [{ first, last }] = await store.query<{ first: string | null; last: string | null }>(
    `select min(request_time) as first, max(request_time) filter (total <= ?) as last from (
       select request_time, sum(weight) over (order by request_time) as total from (
         select request_time, ${weight} as weight from core.${table}
         where request_time < ? and ${isFree} order by request_time limit ?))`,
    [batchRows, before, batchRows],
  );
  const end = last ?? first;
  return end === null ? null : new Date(Math.min(Date.parse(end) + 1, before.getTime()));
}

function requestSteps(before: Date, isFree: string): Step[] {
  const going = `select request_id from core.requests where request_time < ? and ${isFree}`;
  return [
    ...byRequest.map((table) => ({
      sql: `delete from core.${table} where request_id in (${going})`,
      params: [before],
    })),
    ...[...byTime, "requests"].map((table) => deleteStep(table, before, isFree)),
  ];
}

/** Rows have the time of their request, so that blocks of later ones are not read. */
function deleteStep(table: string, before: Date, isFree: string): Step {
  return {
    sql: `delete from core.${table} where request_time < ? and ${isFree}`,
    params: [before],
  };
}

function historyCutoffs(cutoffs: Cutoffs): HistoryCutoffs {
  return {
    history: cutoffs.historyBefore,
    profiles: cutoffs.profilesBefore,
    estimates: cutoffs.estimatesBefore,
    judges: cutoffs.judgesBefore,
    judgeLabels: cutoffs.judgeLabelsBefore,
  };
}

type Cutoffs = Pick<
  RetentionPlan,
  | "requestsBefore"
  | "payloadsBefore"
  | "historyBefore"
  | "profilesBefore"
  | "estimatesBefore"
  | "judgesBefore"
  | "judgeLabelsBefore"
  | "keepLabeled"
>;

async function countRows(
  store: Store,
  cutoffs: Cutoffs,
): Promise<RetentionCounts> {
  const { requestsBefore, payloadsBefore, keepLabeled } = cutoffs;
  const isFree = unlabeled(keepLabeled);
  const parts: { table: string; where: string; before: Date | null }[] = [];
  for (const table of ["requests", ...byTime]) {
    const before = table === "payloads" ? payloadsBefore : requestsBefore;
    parts.push({ table, where: `request_time < ? and ${isFree}`, before });
  }
  for (const table of byRequest) {
    const going = `select request_id from core.requests where request_time < ? and ${isFree}`;
    parts.push({ table, where: `request_id in (${going})`, before: requestsBefore });
  }
  const before = historyCutoffs(cutoffs);
  for (const { table, class: of, where } of oldRows) {
    parts.push({ table, where, before: before[of] });
  }
  const wanted = parts.filter(({ before }) => before !== null);
  const columns = wanted.map(({ table, where }) =>
    `(select count(*) from core.${table} where ${where}) as ${table}`
  );
  const [found = {}] = columns.length === 0 ? [] : await store.query(
    `select ${columns.join(", ")}`,
    wanted.map(({ before }) => before as SqlValue),
  );
  return Object.fromEntries(
    parts.map(({ table }) => [table, found[table] ?? 0]),
  ) as unknown as RetentionCounts;
}
