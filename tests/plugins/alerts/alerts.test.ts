/** Every shipped alert fires when it should and is quiet otherwise, wherever the machine stands. */
import { assert, assertEquals } from "@std/assert";
import { loadAlerts } from "../../../plugins/alerts/load.ts";
import { recordLabels } from "../../../runtime/labels.ts";
import type { Store } from "../../../runtime/store.ts";
import {
  addDrift,
  addInferences,
  addJudgements,
  addModel,
  addRequests,
  DAY,
  openStoreAbroad,
} from "./rows.ts";

const alerts = await loadAlerts(new URL("../../../plugins/alerts/", import.meta.url));

interface Case {
  /** Rows with which it fires, and what its only finding then says. */
  readonly fires: (store: Store) => Promise<unknown>;
  readonly subject: string;
  readonly message: RegExp;
  /** Rows near those with which it is quiet, each in a store of its own. */
  readonly quiet: readonly ((store: Store) => Promise<unknown>)[];
}

const request = "11111111-1111-4111-8111-111111111111";

async function judge(store: Store, low: number, judgeVersion = "rule-1"): Promise<void> {
  const of = { requestId: request, judgeVersion };
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
        await addModel(store, { alias: null }); // nobody is served by it
        await addInferences(store, { count: 100, requestId: request });
        await judge(store, 90);
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 100, requestId: request });
        await addJudgements(store, { requestId: request, count: 100, score: 0.1, minutesAgo: 99 });
        await judge(store, 5, "rule-2"); // a later version of the judge thinks otherwise
      },
      async (store) => {
        await addModel(store);
        await addInferences(store, { count: 100, requestId: request });
        await addJudgements(store, { requestId: request, count: 100, status: "error" });
      },
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
