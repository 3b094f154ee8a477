/** Every shipped alert fires when it should and is quiet otherwise, wherever the machine stands. */
import { assert, assertEquals } from "@std/assert";
import { loadAlerts } from "../../../plugins/alerts/load.ts";
import { recordLabels } from "../../../runtime/inference/labels.ts";
import type { Store } from "../../../runtime/store/store.ts";
import {
  addDrift,
  addInferences,
  addJudgeCard,
  addJudgements,
  addKey,
  addModel,
  addOnlineAlarm,
  addRequests,
  addResources,
  ago,
  type CardOptions,
  DAY,
  openStoreAbroad,
} from "./rows.ts";

const alerts = await loadAlerts(new URL("../../../plugins/alerts/", import.meta.url));

const GIB = 2 ** 30;

/** Inserts canaries of two days, of which a trusted judge tells so large a share apart. */
async function addCanaries(
  store: Store,
  shares: readonly [earlier: number, current: number],
  { count = 60, card = {}, version = "rule-1" }: {
    readonly count?: number;
    readonly card?: CardOptions;
    readonly version?: string;
  } = {},
): Promise<void> {
  await addModel(store);
  await addInferences(store, { count: 1 });
  await addJudgeCard(store, card);
  for (const [day, share] of shares.entries()) {
    const judgeVersion = day === 0 ? "rule-1" : version;
    await store.query(
      `insert into core.judge_cases by name select 'canary' as kind, 'b' as batch, 'rocks' as model,
         1 as version, 'rule' as judge, ?::varchar as judge_version, 'held-out:' || range as request_id,
         'sandstone' as shown, range % 2 = 0 as is_good, 'scored' as status, 1 as ms,
         case when range % 2 = 1 then 0.5 when range < ?::double then 0.9 else 0.1 end as score,
         ?::timestamp as created_at from range(?::bigint)`,
      [judgeVersion, share * count, ago(day === 0 ? 2 * DAY : 5), count],
    );
  }
}

/** Inserts so many predictions of each class. */
async function addClasses(
  store: Store,
  counts: Readonly<Record<string, number>>,
  minutesAgo: number,
): Promise<void> {
  for (const [name, count] of Object.entries(counts)) {
    await addInferences(store, { count, label: name, minutesAgo });
  }
}

/** Inserts the estimate of one window of a slice: 65 %, of a version that promised 80 %. */
async function addEstimate(
  store: Store,
  { high, daysAgo = 2, floor = 0.8 }: { high: number; daysAgo?: number; floor?: number | null },
): Promise<void> {
  const window = `'rocks' as model, 1 as version, '1 day' as granularity, 400 as rows,
    0 as labeled_rows, now()::date - ${daysAgo} as window_start, window_start + 1 as window_end`;
  await store.query(`insert into core.estimate_windows by name
    select ${window}, 'd' as definition, now()::timestamp as estimated_at`);
  await store.query(`insert into core.estimates by name
    select ${window}, 'P-130' as slice, 'accuracy' as metric, 0.65 as estimate, 0.6 as low,
      ${high} as high, ${floor === null ? "null" : floor}::double as floor`);
}

interface Case {
  /** Rows with which it fires, and what its only finding then says. */
  readonly fires: (store: Store) => Promise<unknown>;
  readonly subject: string;
  readonly message: RegExp;
  /** Rows near those with which it is quiet, each in a store of its own. */
  readonly quiet: readonly ((store: Store) => Promise<unknown>)[];
}

const request = "11111111-1111-4111-8111-111111111111";

async function judge(
  store: Store,
  low: number,
  { judgeVersion = "rule-1", ...card }: CardOptions = {},
): Promise<void> {
  const of = { requestId: request, judgeVersion };
  await addJudgeCard(store, { judgeVersion, ...card });
  await addJudgements(store, { ...of, count: low, score: 0.1 });
  await addJudgements(store, { ...of, start: low, count: 100 - low, score: 0.9 });
}

/** Labels rows 0 … of the request; the first `right` of them as they were predicted. */
async function label(store: Store, count: number, right: number): Promise<void> {
  const rows = Array.from({ length: count }, (_, row) => ({
    requestId: request,
    row,
    label: row < right ? "sand" : "shale",
  }));
  await recordLabels(store, rows, "test", { allowNewClasses: true });
}

const cases: Readonly<Record<string, Case>> = {
  calibration: {
    async fires(store) {
      await addModel(store);
      await addInferences(store, {
        count: 200,
        requestId: request,
        label: "sand",
        confidence: 0.9,
      });
      await label(store, 200, 140);
    },
    subject: "calibration",
    message:
      /^200 labeled predictions have a mean confidence of 0\.90 and an accuracy of 0\.70; ECE 0\.20$/,
    quiet: [
      async (store) => {
        await addModel(store);
        const of = { count: 200, requestId: request, label: "sand" };
        await addInferences(store, { ...of, confidence: 0.9 });
        await label(store, 200, 170); // off by 0.05
      },
      async (store) => {
        await addModel(store);
        const of = { count: 199, requestId: request, label: "sand" };
        await addInferences(store, { ...of, confidence: 0.9 });
        await label(store, 199, 0); // too few to tell
      },
      async (store) => {
        await addModel(store);
        const of = { count: 200, requestId: request, label: "sand" };
        await addInferences(store, { ...of, confidence: 0.9, minutesAgo: 31 * DAY });
        await label(store, 200, 0);
      },
    ],
  },
  data_drift: {
    fires: (store) =>
      addDrift(store, [
        { runId: "new", feature: "GR", isDrifted: true },
        { runId: "new", feature: "DT", isDrifted: true },
        { runId: "new", feature: "SP", isDrifted: false },
        // Not compared, so that it does not count as not drifted.
        { runId: "new", feature: "RT", isDrifted: null },
        { runId: "new", feature: "RXO", isDrifted: null },
      ]),
    subject: "P-130",
    message: /^2 of 3 features of P-130 drifted by ks$/,
    quiet: [
      (store) =>
        addDrift(store, [
          { runId: "new", feature: "GR", isDrifted: true },
          { runId: "new", feature: "DT", isDrifted: false },
        ]),
      (store) => addDrift(store, [{ runId: "new", feature: "GR", isDrifted: null }]),
      (store) =>
        addDrift(store, [
          { runId: "old", feature: "GR", isDrifted: true, minutesAgo: DAY },
          { runId: "new", feature: "GR", isDrifted: false },
        ]),
    ],
  },
  disk_space: {
    fires: (store) => addResources(store, { disk_free_bytes: 9 * GIB, disk_bytes: 100 * GIB }),
    subject: "disk_space",
    message: /^9\.0 of 100\.0 GiB are left on the disk of the store$/,
    quiet: [
      (store) => addResources(store, { disk_free_bytes: 11 * GIB, disk_bytes: 100 * GIB }),
      // A server that looked long ago says nothing about now.
      (store) => addResources(store, { disk_free_bytes: 1, disk_bytes: 100 * GIB }, [20]),
      async (store) => {
        await addResources(store, { disk_free_bytes: 1, disk_bytes: 100 * GIB }, [2]);
        await addResources(store, { disk_free_bytes: 50 * GIB, disk_bytes: 100 * GIB });
      },
      (store) => addResources(store, { cpu_cores: 1 }), // a store in memory
    ],
  },
  error_rate: {
    async fires(store) {
      await addRequests(store, { count: 95 });
      await addRequests(store, { count: 5, status: 503 });
    },
    subject: "error_rate",
    message: /^5\.0 % of 100 requests failed$/,
    quiet: [
      (store) => addRequests(store, { count: 19, status: 500 }),
      (store) => addRequests(store, { count: 50, status: 422 }),
      (store) => addRequests(store, { count: 50, status: 500, minutesAgo: 61 }),
    ],
  },
  estimated_accuracy: {
    async fires(store) {
      await addModel(store);
      await addEstimate(store, { high: 0.7 });
    },
    subject: "P-130",
    message:
      /^65 % of 400 predictions of P-130 are estimated to be right, 70 % at most; version 1 promised 80 %$/,
    quiet: [
      async (store) => {
        await addModel(store);
        await addEstimate(store, { high: 0.85 }); // the contract is within the band
      },
      async (store) => {
        await addModel(store);
        await addEstimate(store, { high: 0.7, daysAgo: 3 });
        await addEstimate(store, { high: 0.9, daysAgo: 2 }); // the latest window counts
      },
      async (store) => {
        await addModel(store, { alias: null }); // not served
        await addEstimate(store, { high: 0.7 });
      },
      async (store) => {
        await addModel(store);
        await addEstimate(store, { high: 0.7, floor: null }); // nothing was promised
      },
    ],
  },
  implausible_predictions: {
    async fires(store) {
      await addModel(store);
      await addInferences(store, { count: 100, requestId: request });
      await judge(store, 45);
    },
    subject: "rule on rocks 1",
    message: /^rule finds 45 % of 100 judged predictions of version 1 implausible$/,
    quiet: [
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 100, requestId: request });
        await judge(store, 35); // the lower bound is 26 %
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 100, requestId: request });
        await judge(store, 90, { kappaLow: 0 }); // advisory
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 100, requestId: request });
        await judge(store, 45, { tpr: 0.75 }); // of a faultless version it would find 25 %
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 100, requestId: request });
        await judge(store, 95, { tnr: 0.7 }); // more than of a version that is always wrong
      },
      async (store) => {
        await addModel(store, { alias: null }); // nobody is served by it
        await addInferences(store, { count: 100, requestId: request });
        await judge(store, 90);
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 100, requestId: request });
        await addJudgements(store, { requestId: request, count: 100, score: 0.1, minutesAgo: 99 });
        await judge(store, 5, { judgeVersion: "rule-2" }); // a later version of the judge thinks otherwise
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 100, requestId: request });
        await addJudgements(store, { requestId: request, count: 100, status: "error" });
      },
    ],
  },
  judge_drift: {
    async fires(store) {
      await addCanaries(store, [0.95, 0.5]);
    },
    subject: "rule",
    message: /^rule tells 60 canaries apart with an AUC of 0\.50, and 0\.97 in the week before$/,
    quiet: [
      (store) => addCanaries(store, [0.95, 0.88]), // by less than 0.1
      (store) => addCanaries(store, [0.95, 0.5], { count: 18 }), // too few to tell
      (store) => addCanaries(store, [0.95, 0.5], { version: "rule-2" }), // another version of it
      (store) => addCanaries(store, [0.95, 0.5], { card: { kappaLow: -0.1 } }), // advisory
    ],
  },
  judge_errors: {
    async fires(store) {
      await addJudgements(store, { requestId: request, count: 17, score: 0.9 });
      await addJudgements(store, { requestId: request, start: 17, count: 3, status: "error" });
    },
    subject: "rule",
    message: /^rule could not answer 3 of 20 predictions$/,
    quiet: [
      (store) => addJudgements(store, { requestId: request, count: 19, status: "error" }),
      (store) => addJudgements(store, { requestId: request, count: 99, status: "abstained" }),
      (store) =>
        addJudgements(store, {
          requestId: request,
          count: 99,
          status: "error",
          minutesAgo: DAY + 1,
        }),
    ],
  },
  judge_score: {
    async fires(store) {
      await addModel(store);
      await addInferences(store, { count: 100, requestId: request });
      await judge(store, 80); // of scores 0.1 and 0.9
    },
    subject: "rule on rocks 1",
    message: /^rule gives 100 predictions of version 1 a mean score of 0\.26$/,
    quiet: [
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 100, requestId: request });
        await judge(store, 55); // the upper bound is 0.54
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 100, requestId: request });
        await judge(store, 80, { kappaLow: -0.01 }); // advisory
      },
      async (store) => {
        await addModel(store, { alias: null }); // nobody is served by it
        await addInferences(store, { count: 100, requestId: request });
        await judge(store, 90);
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 49, requestId: request });
        await addJudgements(store, { requestId: request, count: 49, score: 0 });
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 100, requestId: request });
        const of = { requestId: request, count: 100, score: 0 };
        await addJudgements(store, { ...of, minutesAgo: 8 * DAY });
      },
    ],
  },
  latency_p99: {
    async fires(store) {
      await addRequests(store, { count: 97 });
      await addRequests(store, { count: 3, durationMs: 250 });
    },
    subject: "/predict",
    message: /^\/predict answers single rows in 250\.0 ms at the 99th percentile$/,
    quiet: [
      (store) => addRequests(store, { count: 99, durationMs: 250 }),
      (store) => addRequests(store, { count: 200, durationMs: 99 }),
      (store) => addRequests(store, { count: 200, durationMs: 250, rowCount: 2 }),
      (store) => addRequests(store, { count: 200, durationMs: 250, status: 503 }),
      (store) => addRequests(store, { count: 200, durationMs: 250, minutesAgo: 61 }),
    ],
  },
  log_backlog: {
    fires: (store) => addResources(store, { log_backlog_rows: 6_000 }, [1, 2, 3, 3.5, 4]),
    subject: "log_backlog",
    message: /^6000 rows of the inference log are in no table yet$/,
    quiet: [
      (store) => addResources(store, { log_backlog_rows: 6_000 }, [1, 2, 3, 4]),
      (store) => addResources(store, { log_backlog_rows: 5_000 }, [1, 2, 3, 3.5, 4]),
      (store) => addResources(store, { log_backlog_rows: 6_000 }, [6, 7, 8, 9, 10]),
      async (store) => {
        await addResources(store, { log_backlog_rows: 20_000 }, [1, 2]); // a short peak
        await addResources(store, { log_backlog_rows: 0 }, [3, 3.5, 4]);
      },
    ],
  },
  low_confidence: {
    async fires(store) {
      await addModel(store);
      await addInferences(store, { count: 100, confidence: 0.4, slice: "P-130" });
      await addInferences(store, { count: 100, confidence: 0.9, slice: "P-135" });
    },
    subject: "P-130",
    message: /^the median confidence of 100 predictions of P-130 is 0\.40$/,
    quiet: [
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 99, confidence: 0.4 });
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 500, confidence: 0.4, minutesAgo: DAY + 1 });
      },
    ],
  },
  missing_share: {
    async fires(store) {
      await addModel(store);
      await addInferences(store, { count: 80, features: [50, null, 0.2] });
      await addInferences(store, { count: 40, features: [null, 2.4, 0.2] });
    },
    subject: "all RHOB",
    message: /^RHOB is missing in 67 % of 120 predictions of all$/,
    quiet: [
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 60, features: [50, null, 0.2] });
        await addInferences(store, { count: 60, features: [50, 2.4, 0.2] });
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 99, features: [null, null, null] });
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, {
          count: 500,
          features: [null, null, null],
          minutesAgo: DAY + 1,
        });
      },
    ],
  },
  no_traffic: {
    async fires(store) {
      await addModel(store);
      await addRequests(store, { count: 1, minutesAgo: DAY + 1 });
    },
    subject: "rocks",
    message: /^no request to rocks since 20/,
    quiet: [
      async (store) => {
        await addModel(store);
        await addRequests(store, { count: 1, minutesAgo: 2 * DAY });
        await addRequests(store, { count: 1, minutesAgo: DAY - 1 });
      },
      async (store) => {
        await addModel(store, { alias: "challenger" }); // not in production
        await addRequests(store, { count: 1, minutesAgo: 2 * DAY });
      },
      (store) => addModel(store), // no request yet
    ],
  },
  online_drift: {
    async fires(store) {
      await addModel(store);
      await addOnlineAlarm(store, { series: "feature:GR", mean: 1, minutesAgo: 60 });
      await addOnlineAlarm(store, { series: "feature:GR" });
    },
    subject: "feature:GR",
    message:
      /^feature:GR changed at about 2026-03-01 12:34:56 UTC, as cusum found after 3 rows: mean 100\.3, and 59\.5 before$/,
    quiet: [
      async (store) => {
        await addModel(store);
        await addOnlineAlarm(store, { series: "confidence", minutesAgo: DAY + 1 });
      },
      (store) => addModel(store), // nothing is watched
    ],
  },
  out_of_range: {
    async fires(store) {
      await addModel(store);
      await addInferences(store, { count: 90 });
      await addInferences(store, { count: 10, features: [50, 3.6, -9] }); // NPHI has no range
    },
    subject: "all RHOB",
    message: /^10 % of 100 values of RHOB of all lie outside 1\.0 to 3\.5$/,
    quiet: [
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 96 });
        await addInferences(store, { count: 4, features: [50, 3.6, 0.2] });
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 200, features: [null, 3.5, 0.2] }); // missing, and at the end
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 99, features: [-1, 9, 0.2] });
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 500, features: [-1, 9, 0.2], minutesAgo: DAY + 1 });
      },
    ],
  },
  prediction_drift: {
    async fires(store) {
      await addModel(store);
      await addClasses(store, { sandstone: 300, siltstone: 100 }, 2 * DAY);
      await addClasses(store, { sandstone: 100, siltstone: 100, anhydrite: 50 }, 60);
    },
    subject: "all",
    message:
      /^the classes of 250 predictions of all differ by 35 % from those of the week before, sandstone most$/,
    quiet: [
      async (store) => {
        await addModel(store);
        await addClasses(store, { sandstone: 300, siltstone: 100 }, 2 * DAY);
        await addClasses(store, { sandstone: 120, siltstone: 80 }, 60);
      },
      async (store) => {
        await addModel(store);
        await addClasses(store, { sandstone: 300 }, 2 * DAY);
        await addClasses(store, { siltstone: 199 }, 60);
      },
      async (store) => {
        await addModel(store);
        await addClasses(store, { sandstone: 300 }, 9 * DAY);
        await addClasses(store, { siltstone: 300 }, 60);
      },
    ],
  },
  queue_backlog: {
    fires: (store) => addResources(store, { queue_rows: 1_500 }, [1, 2, 3, 3.5, 4]),
    subject: "queue_backlog",
    message: /^1500 records wait for a model run$/,
    quiet: [
      (store) => addResources(store, { queue_rows: 1_500 }, [1, 2, 3, 4]),
      (store) => addResources(store, { queue_rows: 1_000 }, [1, 2, 3, 3.5, 4]),
      (store) => addResources(store, { queue_rows: 1_500 }, [6, 7, 8, 9, 10]),
      (store) => addResources(store, { log_backlog_rows: 1_500 }, [1, 2, 3, 3.5, 4]),
    ],
  },
  quota_near_limit: {
    async fires(store) {
      await addKey(store, { name: "ci", rowsPerDay: 100, requestsPerDay: 1_000 });
      await addRequests(store, { count: 10, rowCount: 8, requester: "ci", minutesAgo: 0 });
    },
    subject: "ci rows",
    message: /^ci has used 80 % of its 100 rows a day/,
    quiet: [
      async (store) => {
        await addKey(store, { name: "ci", rowsPerDay: 1_000 });
        await addRequests(store, { count: 10, rowCount: 8, requester: "ci", minutesAgo: 0 });
      },
      async (store) => {
        await addKey(store, { name: "ci", rowsPerDay: 100 });
        await addRequests(store, { count: 20, rowCount: 8, requester: "ci", minutesAgo: DAY });
        // Refused: it took nothing.
        const refused = { status: 429, requester: "ci", minutesAgo: 0 };
        await addRequests(store, { count: 20, rowCount: 8, ...refused });
      },
      async (store) => {
        await addKey(store, { name: "ci" }); // without a quota
        await addRequests(store, { count: 20, rowCount: 8, requester: "ci", minutesAgo: 0 });
      },
    ],
  },
  realized_accuracy: {
    async fires(store) {
      await addModel(store);
      await addInferences(store, { count: 100, requestId: request, label: "sand" });
      await label(store, 100, 30);
    },
    subject: "all",
    message: /^30 % of 100 labeled predictions of all are right$/,
    quiet: [
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 100, requestId: request, label: "sand" });
        await label(store, 29, 0); // too few to tell
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 100, requestId: request, label: "sand" });
        await label(store, 100, 45); // the upper bound is 55 %
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 100, requestId: request, label: "sand" });
        await label(store, 100, 0);
        await label(store, 100, 100); // corrected since
      },
    ],
  },
  rejected_rate: {
    async fires(store) {
      await addRequests(store, { count: 15 });
      await addRequests(store, { count: 4, status: 422 });
      await addRequests(store, { count: 1, status: 401 });
    },
    subject: "rejected_rate",
    message: /^25\.0 % of 20 requests were refused$/,
    quiet: [
      (store) => addRequests(store, { count: 19, status: 400 }),
      (store) => addRequests(store, { count: 50, status: 500 }),
      (store) => addRequests(store, { count: 50, status: 404, minutesAgo: 61 }),
    ],
  },
  stale_labels: {
    async fires(store) {
      await addModel(store);
      await addInferences(store, { count: 10, requestId: request, label: "sand" });
      await addRequests(store, { count: 10 });
      await addRequests(store, { count: 1, requestId: request });
      await label(store, 10, 10);
      await store.query("update core.labels set created_at = ?", [ago(15 * DAY)]);
    },
    subject: "rocks",
    message: /^the newest label of rocks is of 20/,
    quiet: [
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 10, requestId: request, label: "sand" });
        await addRequests(store, { count: 10 });
        await addRequests(store, { count: 1, requestId: request });
        await label(store, 10, 10); // just now
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 10, requestId: request, label: "sand" });
        await addRequests(store, { count: 1, minutesAgo: 8 * DAY, requestId: request }); // it is not used
        await label(store, 10, 10);
        await store.query("update core.labels set created_at = ?", [ago(15 * DAY)]);
      },
      async (store) => {
        await addModel(store);
        await addRequests(store, { count: 10 }); // it never had a label
      },
    ],
  },
  volume_drop: {
    async fires(store) {
      await addRequests(store, { count: 100, minutesAgo: 7 * DAY + 30 });
      await addRequests(store, { count: 60, minutesAgo: 14 * DAY + 30 });
      await addRequests(store, { count: 29, minutesAgo: 30 });
    },
    subject: "rocks",
    message:
      /^29 requests to rocks in the last hour, and 60 or more in the same hour of 2 weeks before$/,
    quiet: [
      async (store) => {
        await addRequests(store, { count: 100, minutesAgo: 7 * DAY + 30 });
        await addRequests(store, { count: 60, minutesAgo: 14 * DAY + 30 });
        await addRequests(store, { count: 30, minutesAgo: 30 });
      },
      // Only one week to compare with.
      (store) => addRequests(store, { count: 100, minutesAgo: 7 * DAY + 30 }),
      async (store) => {
        await addRequests(store, { count: 100, minutesAgo: 7 * DAY + 30 });
        await addRequests(store, { count: 19, minutesAgo: 14 * DAY + 30 }); // an hour of little traffic
      },
      async (store) => {
        await addRequests(store, { count: 100, minutesAgo: 7 * DAY + 90 }); // another hour
        await addRequests(store, { count: 100, minutesAgo: 14 * DAY + 90 });
      },
    ],
  },
  volume_spike: {
    async fires(store) {
      await addRequests(store, { count: 20, minutesAgo: 7 * DAY + 30 });
      await addRequests(store, { count: 33, minutesAgo: 14 * DAY + 30 });
      await addRequests(store, { count: 100, minutesAgo: 30 });
    },
    subject: "rocks",
    message:
      /^100 requests to rocks in the last hour, and 33 or less in the same hour of 2 weeks before$/,
    quiet: [
      async (store) => {
        await addRequests(store, { count: 20, minutesAgo: 7 * DAY + 30 });
        await addRequests(store, { count: 34, minutesAgo: 14 * DAY + 30 });
        await addRequests(store, { count: 102, minutesAgo: 30 });
      },
      async (store) => {
        await addRequests(store, { count: 1, minutesAgo: 7 * DAY + 30 });
        await addRequests(store, { count: 1, minutesAgo: 14 * DAY + 30 });
        await addRequests(store, { count: 99, minutesAgo: 30 });
      },
      // A new model has no weeks before.
      (store) => addRequests(store, { count: 500, minutesAgo: 30 }),
    ],
  },
};

for (const { name, sql } of alerts) {
  for (const timeZone of ["Asia/Tokyo", "America/Los_Angeles"]) {
    Deno.test(`alert ${name} fires when its condition holds and the machine stands in ${timeZone}`, async () => {
      await using store = await openStoreAbroad(timeZone);
      const { fires, subject, message } = cases[name];
      await fires(store);
      const { columns, rows } = await store.queryReadOnly(sql);
      assertEquals(rows.length, 1);
      assertEquals(rows[0][columns.indexOf("subject")], subject);
      const text = String(rows[0][columns.indexOf("message")]);
      assert(message.test(text), text);
    });

    Deno.test(`alert ${name} is quiet when its condition nearly holds and the machine stands in ${timeZone}`, async () => {
      assert(cases[name].quiet.length > 0);
      for (const [i, prepare] of cases[name].quiet.entries()) {
        await using store = await openStoreAbroad(timeZone);
        await prepare(store);
        assertEquals((await store.queryReadOnly(sql)).rows, [], `case ${i}`);
      }
    });
  }
}

Deno.test("loadAlerts() gives each file of the folder, and each has cases here", () => {
  assertEquals(alerts.map(({ name }) => name), Object.keys(cases).sort());
});
