/**
 * Retention: what a server wrote about requests goes when it is too old, or when the store is too
 * large, the oldest first. Models, runs, aliases, promotions, keys and the audit log always stay.
 *
 * @module
 */
import { z } from "zod";
import { oneRow, recordSteps } from "../audit.ts";
import { estimateBytes, findSizeCutoff, readUsedBytes } from "./retention_size.ts";
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
    "Days that drift, evaluations and transitions of alerts, deliveries to sinks and webhooks and " +
      "resources are kept, the latest of each and what still waits always, and days that traces " +
      "are kept; left out: always",
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
    "requests" | typeof byTime[number] | typeof byRequest[number] | keyof typeof history,
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

/** A delivery that still waits. */
const pending = (outbox: string) =>
  `delivery_id in (select delivery_id from core.${outbox} where state = 'pending')`;

/** History by table: the column of its time, and which rows stay, since they say what is now. */
const history = {
  drift: {
    time: "created_at",
    isKept: "(model, version, run_id) in (select (model, version, arg_max(run_id, created_at)) " +
      "from core.drift group by model, version)",
  },
  alert_log: {
    time: "created_at",
    isKept: "evaluation in (select max(evaluation) from core.alert_log group by model, alert)",
  },
  alert_transitions: {
    time: "changed_at",
    isKept: "transition in (select max(transition) from core.alert_transitions " +
      "group by model, version, alert, series)",
  },
  alert_notifications: { time: "told_at", isKept: "false" },
  resources: {
    time: "created_at",
    isKept: "created_at = (select max(created_at) from core.resources)",
  },
  // Attempts before their deliveries, which say what waits.
  sink_attempts: { time: "created_at", isKept: pending("sink_outbox") },
  sink_outbox: { time: "created_at", isKept: "state = 'pending'" },
  webhook_attempts: { time: "attempted_at", isKept: pending("webhook_outbox") },
  webhook_outbox: { time: "created_at", isKept: "state = 'pending'" },
  spans: { time: "started_at", isKept: "false" },
  llm_calls: { time: "started_at", isKept: "false" },
};

/** Rows of a table of {@linkcode history} that go. */
function isOld({ time, isKept }: typeof history[keyof typeof history]): string {
  return `${time} < ? and not (${isKept})`;
}

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
  const cutoffs = { requestsBefore, payloadsBefore, historyBefore, keepLabeled };
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
  const { requestsBefore, payloadsBefore, historyBefore, keepLabeled } = plan;
  const takeAll = async (batch: Batch, stepsBefore: (end: Date) => readonly Step[]) => {
    while (!signal?.aborted) {
      const end = await findEnd(store, batch);
      if (end === null) return;
      await take(stepsBefore(end));
    }
  };
  const isFree = unlabeled(keepLabeled);
  if (requestsBefore !== null) {
    const batch = { table: "requests", weight: "1 + row_count", before: requestsBefore };
    await takeAll({ ...batch, isFree, batchRows }, (end) => requestSteps(end, isFree));
  }
  if (payloadsBefore !== null) {
    const batch = { table: "payloads", weight: "1", before: payloadsBefore };
    await takeAll({ ...batch, isFree, batchRows }, (end) => [deleteStep("payloads", end, isFree)]);
  }
  if (historyBefore !== null && !signal?.aborted) await take(historySteps(historyBefore));
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

function historySteps(before: Date): Step[] {
  return Object.entries(history).map(([table, rows]) => ({
    sql: `delete from core.${table} where ${isOld(rows)}`,
    params: [before],
  }));
}

type Cutoffs = Pick<
  RetentionPlan,
  "requestsBefore" | "payloadsBefore" | "historyBefore" | "keepLabeled"
>;

async function countRows(
  store: Store,
  { requestsBefore, payloadsBefore, historyBefore, keepLabeled }: Cutoffs,
): Promise<RetentionCounts> {
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
  for (const [table, rows] of Object.entries(history)) {
    parts.push({ table, where: isOld(rows), before: historyBefore });
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
