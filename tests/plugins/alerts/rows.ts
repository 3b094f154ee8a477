/** Rows of an in-memory store for the tests of alerts and judges. */
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { type RegisterOptions, registerTestModel, testClasses } from "../../model_fixture.ts";

/** The moment `minutes` ago. */
export function ago(minutes: number): Date {
  return new Date(Date.now() - 60_000 * minutes);
}

const HOUR = 60;

/** Minutes in a day. */
export const DAY = 24 * HOUR;

/** Opens an empty store whose sessions live in a time zone far from UTC. */
export async function openStoreAbroad(timeZone = "Asia/Tokyo"): Promise<Store> {
  const store = await openStore(":memory:");
  await store.query(`set global TimeZone = '${timeZone}'`);
  return store;
}

/** What requests to insert. */
export interface RequestOptions {
  readonly count: number;
  readonly status?: number;
  readonly minutesAgo?: number;
  readonly durationMs?: number;
  readonly rowCount?: number;
  readonly model?: string | null;
  /** Name of the key; default none. */
  readonly requester?: string | null;
  /** One id for all; default one of its own for each. */
  readonly requestId?: string;
}

/** Inserts requests of one kind. */
export async function addRequests(store: Store, options: RequestOptions): Promise<void> {
  const {
    count,
    status = 200,
    minutesAgo = 5,
    durationMs = 3,
    rowCount = 1,
    model = "rocks",
    requester = null,
    requestId = null,
  } = options;
  await store.query(
    `insert into core.requests by name
     select coalesce(?, uuid()::varchar) as request_id, ?::timestamp as request_time, 'POST' as method,
       '/predict' as endpoint, ?::integer as status_code, ?::varchar as model, 1 as version,
       ?::integer as row_count, ?::double as duration_ms, ?::varchar as requester from range(?::bigint)`,
    [requestId, ago(minutesAgo), status, model, rowCount, durationMs, requester, count],
  );
}

/** What inferences to insert. */
export interface InferenceOptions {
  readonly count: number;
  readonly minutesAgo?: number;
  readonly confidence?: number;
  readonly slice?: string | null;
  /** Raw values of `GR`, `RHOB` and `NPHI`. */
  readonly features?: readonly (number | null)[];
  readonly label?: string;
  readonly version?: number;
  readonly requestId?: string;
}

/** Inserts inferences of one kind: rows 0 … of one request. */
export async function addInferences(store: Store, options: InferenceOptions): Promise<void> {
  const {
    count,
    minutesAgo = 5,
    confidence = 0.9,
    slice = null,
    features = [50, 2.4, 0.2],
    label = testClasses[0],
    version = 1,
    requestId = crypto.randomUUID(),
  } = options;
  await store.query(
    `insert into core.inferences by name
     select ?::varchar as request_id, range::integer as row, ?::timestamp as request_time,
       'rocks' as model, ?::integer as version, ?::json::double[] as features, ?::varchar as label,
       ?::double as confidence, [0.8, 0.1, 0.1]::float[] as probabilities, ?::varchar as slice
     from range(?::bigint)`,
    [
      requestId,
      ago(minutesAgo),
      version,
      JSON.stringify(features),
      label,
      confidence,
      slice,
      count,
    ],
  );
}

/** Registers the model `rocks` that the inferences belong to. */
export async function addModel(store: Store, options: RegisterOptions = {}): Promise<void> {
  await registerTestModel(store, options);
}

/** What judgements to insert: of rows 0 … of one request. */
export interface JudgementOptions {
  readonly requestId: string;
  readonly count: number;
  /** First row. */
  readonly start?: number;
  readonly score?: number | null;
  readonly status?: string;
  readonly judgeVersion?: string;
  readonly minutesAgo?: number;
}

/** Inserts judgements of one kind. */
export async function addJudgements(store: Store, options: JudgementOptions): Promise<void> {
  const {
    requestId,
    count,
    start = 0,
    status = "scored",
    score = null,
    judgeVersion = "rule-1",
    minutesAgo = 5,
  } = options;
  await store.query(
    `insert into core.judgements by name
     select ?::varchar as request_id, range::integer as row, 'rule' as judge,
       'rocks' as model, 1 as version, ?::varchar as judge_version, ?::varchar as status,
       ?::double as score,
       0.02::double as inclusion_probability, 1::double as ms, ?::timestamp as created_at
     from range(?::bigint, ?::bigint)`,
    [requestId, judgeVersion, status, score, ago(minutesAgo), start, start + count],
  );
}

/** Inserts one alarm of a detector over `series`. */
export async function addOnlineAlarm(
  store: Store,
  { series, minutesAgo = 5, mean = 59.5 }: {
    readonly series: string;
    readonly minutesAgo?: number;
    /** Of the reference; `null` for a detector without one. */
    readonly mean?: number | null;
  },
): Promise<void> {
  await store.query(
    `insert into core.online_alarms by name
     select 'rocks' as model, 1 as version, ?::varchar as series, 'cusum' as detector,
       uuid()::varchar as request_id, 0 as row, ?::timestamp as alarmed_at, 104 as value,
       0.05 as rate, 10000 as period, ?::double as reference_mean, 3 as rows_since_change,
       timestamp '2026-03-01 12:34:56' as changed_at, 100.33333 as mean_since,
       alarmed_at as created_at`,
    [series, ago(minutesAgo), mean],
  );
}

/** One row of drift. */
export interface DriftOptions {
  readonly runId: string;
  readonly feature: string;
  readonly isDrifted: boolean | null;
  readonly minutesAgo?: number;
}

/** Inserts rows of drift of slice `P-130` by `ks`. */
export async function addDrift(store: Store, rows: readonly DriftOptions[]): Promise<void> {
  await store.transaction(rows.map(({ runId, feature, isDrifted, minutesAgo = 5 }) => ({
    sql:
      `insert into core.drift values (?, 'rocks', 1, 'P-130', ?, 'ks', 0.5, 0.01, ?, 100, 100, ?)`,
    params: [runId, feature, isDrifted, ago(minutesAgo)],
  })));
}

/** Inserts looks of a server at one resource, so many minutes ago each. */
export async function addResources(
  store: Store,
  values: Readonly<Record<string, number>>,
  minutesAgo: readonly number[] = [1],
): Promise<void> {
  const columns = Object.entries(values);
  await store.transaction(minutesAgo.map((minutes) => ({
    append: "core.resources",
    columns: {
      created_at: [ago(minutes)],
      ...Object.fromEntries(columns.map(([name, value]) => [name, Float64Array.of(value)])),
    },
  })));
}

/** Inserts an API key that works and may send so much a day. */
export async function addKey(
  store: Store,
  { name, rowsPerDay = null, requestsPerDay = null }: {
    readonly name: string;
    readonly rowsPerDay?: number | null;
    readonly requestsPerDay?: number | null;
  },
): Promise<void> {
  await store.query(
    `insert into core.api_keys by name select uuid()::varchar as key_id, ?::varchar as name,
       'predictor' as role, 'none' as secret_hash, ?::integer as requests_per_day,
       ?::integer as rows_per_day, ?::timestamp as created_at`,
    [name, requestsPerDay, rowsPerDay, ago(DAY)],
  );
}

/** What a judge's card says; default that it is never wrong. */
export interface CardOptions {
  readonly judgeVersion?: string;
  readonly kappaLow?: number;
  readonly tpr?: number;
  readonly tnr?: number;
}

/** Inserts the card of judge `rule` on version 1. */
export async function addJudgeCard(store: Store, options: CardOptions = {}): Promise<void> {
  const { judgeVersion = "rule-1", kappaLow = 0.5, tpr = 1, tnr = 1 } = options;
  await store.query(
    `insert into core.judge_cards by name select 'rule' as judge, ?::varchar as judge_version,
       'rocks' as model, 1 as version, 'labels' as source, 200 as n, 100 as good, 1 as coverage,
       0.6 as kappa, ?::double as kappa_low, ?::double as tpr, ?::double as tnr, 0.2 as threshold,
       'a test' as summary, 0 as tokens, 1 as ms, now()::timestamp as created_at`,
    [judgeVersion, kappaLow, tpr, tnr],
  );
}
