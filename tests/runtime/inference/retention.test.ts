import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { verifyAudit } from "../../../runtime/audit.ts";
import {
  planRetention,
  retain,
  RetentionParams,
  type RetentionParams as Params,
} from "../../../runtime/inference/retention.ts";
import { RetentionSchedule } from "../../../runtime/inference/retention_schedule.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { createApp } from "../../../server.ts";
import { runCli, withProjectFolder } from "../../cli_runner.ts";
import { registerTestModel, testRecord } from "../../model_fixture.ts";

const NOW = new Date("2026-06-30T00:00:00Z");

const keep = (params: Partial<Params>) => RetentionParams.parse(params);

/** `count` requests, one a day back from now, each with two predictions and a body. */
async function addRequests(store: Store, count: number, now = NOW): Promise<void> {
  const days = `(select range as day, 'r' || range as request_id,
    ?::timestamp - interval (range) day as request_time from range(${count}))`;
  const rows = `(select * from ${days} cross join (select range as row from range(2)))`;
  for (
    const sql of [
      `insert into core.requests by name select request_id, request_time, 'POST' as method,
         '/predict' as endpoint, 200 as status_code, 2 as row_count, 1 as duration_ms from ${days}`,
      `insert into core.inferences by name select request_id, row, request_time, 'rocks' as model,
         1 as version, [1.5, 2.5] as features, 'a' as label, 0.5 as confidence,
         [0.5, 0.5] as probabilities from ${rows}`,
      `insert into core.payloads by name select request_id, request_time, '{}' as request,
         '{}' as response, '[]' as errors, 1 as fraction from ${days}`,
      `insert into core.shadow_inferences by name select request_id, row, request_time,
         'rocks' as model, 1 as champion_version, 'a' as champion_label, 1 as ms from ${rows}`,
      `insert into core.labels by name select request_id, row, 'a' as label,
         request_time as created_at from ${rows} where day % 2 = 0`,
      `insert into core.judgements by name select request_id, row, 'rule' as judge,
         '1' as judge_version, 'judged' as status, 1 as inclusion_probability, 1 as ms,
         request_time as created_at from ${rows}`,
    ]
  ) await store.query(sql, [now]);
}

async function countAll(store: Store): Promise<Record<string, number>> {
  const tables = [
    "requests",
    "inferences",
    "payloads",
    "shadow_inferences",
    "labels",
    "judgements",
    "audit_log",
  ];
  const [row] = await store.query<Record<string, number>>(
    `select ${tables.map((t) => `(select count(*) from core.${t}) as ${t}`).join(", ")}`,
  );
  return row;
}

Deno.test("retain() takes whole requests that are too old with all that hangs on them, in batches, on record", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  await addRequests(store, 100);
  const before = await verifyAudit(store);
  const { plan, batches } = await retain(store, keep({ maxAgeDays: 30 }), {
    now: NOW,
    batchRows: 30,
    by: "ada",
  });
  // Days 0 to 30 stay.
  const gone = { requests: 69, inferences: 138, payloads: 69, shadow_inferences: 138 };
  const taken = Object.fromEntries(Object.entries(plan.counts).filter(([, count]) => count > 0));
  assertEquals(taken, { ...gone, labels: 68, judgements: 138 });
  assertEquals(batches, 7);
  assertEquals(await countAll(store), {
    requests: 31,
    inferences: 62,
    payloads: 31,
    shadow_inferences: 62,
    labels: 32,
    judgements: 62,
    audit_log: before.entries + 1,
  });
  const [entry] = await store.query<{ actor: string; details: string }>(
    "select actor, details from audit where action = 'retention.applied'",
  );
  assertEquals(entry.actor, "ada");
  assertEquals(JSON.parse(entry.details).rows, plan.counts);
  assertEquals((await verifyAudit(store)).firstBroken, null);
  assertEquals(await store.query("select version from models"), [{ version: 1 }]);
  // Nothing is left to do, and that is no entry.
  const again = await retain(store, keep({ maxAgeDays: 30 }), { now: NOW });
  assertEquals(again.batches, 0);
  assertEquals((await verifyAudit(store)).entries, before.entries + 1);
});

Deno.test("planRetention() says what would go and takes nothing", async () => {
  await using store = await openStore(":memory:");
  await addRequests(store, 10);
  const before = await countAll(store);
  const plan = await planRetention(store, keep({ maxAgeDays: 5.5 }), NOW);
  assertEquals([plan.counts.requests, plan.oldest], [4, "2026-06-21T00:00:00.000Z"]);
  assertEquals(await countAll(store), before);
  const none = await planRetention(store, keep({}), NOW);
  assert(Object.values(none.counts).every((count) => count === 0));
});

Deno.test("retain() keeps requests that have a label when it is told to", async () => {
  await using store = await openStore(":memory:");
  await addRequests(store, 10);
  const { plan } = await retain(store, keep({ maxAgeDays: 1, keepLabeled: true }), {
    now: NOW,
    batchRows: 1,
  });
  assertEquals(plan.counts.labels, 0);
  const ids = await store.query("select request_id as id from core.requests order by id");
  assertEquals(ids.map(({ id }) => id), ["r0", "r1", "r2", "r4", "r6", "r8"]);
  const counts = await countAll(store);
  assertEquals([counts.inferences, counts.payloads, counts.labels], [12, 6, 10]);
});

Deno.test("retain() takes bodies before their requests when payloadDays says so", async () => {
  await using store = await openStore(":memory:");
  await addRequests(store, 10);
  await retain(store, keep({ payloadDays: 2, maxAgeDays: 8 }), { now: NOW, batchRows: 2 });
  const counts = await countAll(store);
  assertEquals([counts.requests, counts.payloads], [9, 3]);
});

Deno.test("retain() keeps the latest drift and the state of every alert, however old", async () => {
  await using store = await openStore(":memory:");
  for (const [run, time] of [["a", "2026-01-01"], ["b", "2026-02-01"]]) {
    await store.query(
      `insert into core.drift by name select ? as run_id, 'rocks' as model, 1 as version, 'all' as slice,
         'GR' as feature, 'ks' as method, 10 as reference_count, 10 as current_count,
         ?::timestamp as created_at`,
      [run, time],
    );
    await store.query(
      `insert into core.alert_log by name select 'drift' as alert, 'rocks' as model, 1 as version,
         'warning' as severity, 'firing' as state, '[]' as findings, 0 as finding_count, 1 as ms,
         ?::timestamp as created_at`,
      [time],
    );
  }
  const { plan } = await retain(store, keep({ historyDays: 30 }), { now: NOW });
  assertEquals([plan.counts.drift, plan.counts.alert_log], [1, 1]);
  assertEquals(await store.query("select run_id from drift"), [{ run_id: "b" }]);
  assertEquals(await store.query("select count(*) as n from alerts where state = 'firing'"), [
    { n: 1 },
  ]);
});

Deno.test("retain() keeps the last transition of each series and what still waits for webhooks", async () => {
  await using store = await openStore(":memory:");
  for (const [i, state] of ["delivered", "pending", "dead"].entries()) {
    const time = `2026-01-0${i + 1}`;
    await store.query(
      `insert into core.alert_transitions by name select 'hot' as alert, 'rocks' as model,
         1 as version, unnest(['a', 'b']) as series, 'firing' as to_state,
         ?::timestamp as changed_at, '' as reason`,
      [time],
    );
    await store.query(
      `insert into core.alert_notifications values
         ('hot', 'rocks', 1, 'firing', 'a', '{}', 1, '{}', ?::timestamp)`,
      [time],
    );
    await store.query(
      "insert into core.webhook_outbox values (?, 'w', 'e', '{}', ?::timestamp, ?, 0, 1, null)",
      [state, time, state],
    );
    await store.query(
      "insert into core.webhook_attempts values (?, 0, 1, null, 'no', 1, ?::timestamp)",
      [state, time],
    );
  }
  const { plan } = await retain(store, keep({ historyDays: 30 }), { now: NOW });
  const { alert_transitions, alert_notifications, webhook_attempts, webhook_outbox } = plan.counts;
  assertEquals(
    [alert_transitions, alert_notifications, webhook_attempts, webhook_outbox],
    [4, 3, 2, 2],
  );
  assertEquals(
    await store.query("select series, changed_at from alert_transitions order by series"),
    ["a", "b"].map((series) => ({ series, changed_at: "2026-01-03T00:00:00.000Z" })),
  );
  assertEquals(await store.query("select delivery_id from core.webhook_outbox"), [
    { delivery_id: "pending" },
  ]);
});

/** Windows of one day that ended some days before now, with what is kept of each. */
async function addWindows(store: Store, ages: readonly number[]): Promise<void> {
  for (const age of ages) {
    const about = `'rocks' as model, 1 as version, '1 day' as granularity,
      ?::timestamp - to_days(${age + 1}) as window_start,
      ?::timestamp - to_days(${age}) as window_end`;
    const at = `?::timestamp - to_days(${age}) as created_at`;
    const monitor = "1 as monitor_version, 'GR' as column_name, 'feature' as column_kind";
    for (
      const [sql, times] of [
        [
          `core.profile_metrics by name select ${about}, ${monitor}, 'INPUT' as log_type,
           10 as count, ${at}`,
          3,
        ],
        [
          `core.drift_metrics by name select ${about}, ${monitor}, 'BASELINE' as drift_type, ${at}`,
          3,
        ],
        [
          `core.estimates by name select ${about}, 'accuracy' as metric, 10 as rows,
           0 as labeled_rows`,
          2,
        ],
        [
          `core.estimate_causes by name select ${about}, 'GR' as feature, 1 as position,
           0.1 as change, 0.1 as explained`,
          2,
        ],
        [
          `core.estimate_confusion by name select ${about}, 'a' as true_class,
           'a' as predicted_class`,
          2,
        ],
        [
          `core.estimate_windows by name select ${about}, '{}' as definition, 10 as rows,
           0 as labeled_rows, ?::timestamp as estimated_at`,
          3,
        ],
        [
          `core.monitor_refreshes by name select 'r${age}' as refresh_id, 'rocks' as model,
           1 as version, 1 as monitor_version, 'SUCCESS' as state, 1 as windows, 0 as failed,
           10 as rows, ${at}`,
          1,
        ],
        [
          `core.monitor_costs by name select 'profile' as monitor, 'rocks' as model, 1 as version,
           1 as windows, 10 as rows_read, 10 as rows_used, 1 as ms, 1 as rate, 1 as next_factor,
           1 as next_rate, ${at}`,
          1,
        ],
      ] as const
    ) await store.query(`insert into ${sql}`, Array.from({ length: times }, () => NOW));
  }
  await store.query(
    `insert into core.profile_metrics by name select 'rocks' as model, 1 as version,
       1 as monitor_version, 'GR' as column_name, 'feature' as column_kind, 'BASELINE' as log_type,
       10 as count, timestamp '2020-01-01' as created_at`,
  );
}

Deno.test("retain() takes profiles and estimates of old windows by days of their own, but never the latest or a baseline", async () => {
  await using store = await openStore(":memory:");
  await addWindows(store, [100, 60, 40]);
  const ages = async (view: string) =>
    (await store.query<{ age: number }>(
      `select date_diff('day', window_end, ?::timestamp) as age from core.${view}
       where window_end is not null order by age desc`,
      [NOW],
    )).map(({ age }) => age);
  const params = keep({ profileDays: 50, estimateDays: 80 });
  const check = await planRetention(store, params, NOW);
  const { plan } = await retain(store, params, { now: NOW });
  assertEquals(check.counts, plan.counts);
  const { counts } = plan;
  assertEquals([counts.profile_metrics, counts.drift_metrics, counts.monitor_costs], [2, 2, 2]);
  assertEquals([counts.estimates, counts.estimate_causes, counts.estimate_confusion], [1, 1, 1]);
  assertEquals([counts.drift, counts.alert_log], [0, 0]);
  assertEquals(await ages("profile_metrics"), [40]);
  assertEquals(await ages("estimates"), [60, 40]);
  // How far windows are stays, so that nothing is computed anew.
  assertEquals(await ages("estimate_windows"), [100, 60, 40]);
  const [baseline] = await store.query("from core.profile_metrics where log_type = 'BASELINE'");
  assertEquals(baseline.count, 10);
  const [entry] = await store.query<{ details: string }>(
    "select details::varchar as details from audit where action = 'retention.applied'",
  );
  assertStringIncludes(entry.details, "profiles_before");
  assertEquals(
    (await retain(store, keep({ profileDays: 1, estimateDays: 1 }), { now: NOW })).plan
      .counts.estimates,
    1,
  );
  assertEquals([await ages("profile_metrics"), await ages("estimates")], [[40], [40]]);
});

/** What judges left so many days before now: one card with its case, a canary, probes, a label. */
async function addJudges(store: Store, ages: readonly number[]): Promise<void> {
  const about = "'llm' as judge, 'v1' as judge_version, 'rocks' as model, 1 as version";
  for (const age of ages) {
    const at = `?::timestamp - interval ${age} day as created_at`;
    for (
      const sql of [
        `core.judge_cards by name select ${about}, 'mistakes' as source, 9 as n, 5 as good,
           'a${age}' as summary, 0 as tokens, 1 as ms, ${at}`,
        ...["mistakes", "swapped"].map((batch) =>
          `core.judge_cases by name select 'card' as kind, '${batch}' as batch, ${about},
             'r${age}' as request_id, 'a' as shown, true as is_good, 'scored' as status, 1 as ms, ${at}`
        ),
        `core.judge_cases by name select 'canary' as kind, 'b${age}' as batch, ${about},
           'r${age}' as request_id, 'a' as shown, true as is_good, 'scored' as status, 1 as ms, ${at}`,
        `core.judge_probes by name select 'llm' as judge, 'v1' as judge_version, 'b${age}' as batch,
           'order' as probe, true as is_passed, '' as detail, ${at}`,
        `core.judge_versions by name select 'llm' as judge, 'w${age}' as judge_version,
           '{}' as definition, ${at}`,
        `core.judge_labels by name select 'r${age}' as request_id, 0 as row, 'good' as label, ${at}`,
      ]
    ) await store.query(`insert into ${sql}`, [NOW]);
  }
}

Deno.test("retain() takes what judges left by days of its own, but never the newest card with its cases, a version with verdicts, or a label", async () => {
  await using store = await openStore(":memory:");
  await addJudges(store, [90, 60, 5]);
  await store.query(
    `insert into core.judgements by name select 'r1' as request_id, 0 as row, 'llm' as judge,
       'w90' as judge_version, 'scored' as status, 1 as inclusion_probability, 1 as ms,
       ?::timestamp as created_at`,
    [NOW],
  );
  const params = keep({ judgeDays: 50 });
  const check = await planRetention(store, params, NOW);
  const { plan } = await retain(store, params, { now: NOW });
  assertEquals(check.counts, plan.counts);
  const { counts } = plan;
  // Cases of the newest card's kind stay, those of another and canaries go.
  assertEquals(
    [counts.judge_cards, counts.judge_cases, counts.judge_probes, counts.judge_versions],
    [2, 4, 2, 1],
  );
  assertEquals(counts.judge_labels, 0);
  const count = async (view: string) => (await store.query(`from core.${view}`)).length;
  assertEquals(await count("judge_labels"), 3);
  assertEquals((await store.query("select summary from judge_cards")).map((r) => r.summary), [
    "a5",
  ]);
  assertEquals(
    await store.query("select judge_version as v from judge_versions order by v"),
    [{ v: "w5" }, { v: "w90" }],
  );
  const all = keep({ judgeDays: 1, judgeLabelDays: 50 });
  const second = await retain(store, all, { now: NOW });
  assertEquals(second.plan.counts.judge_labels, 2);
  assertEquals([await count("judge_cards"), await count("judge_probes")], [1, 1]);
  assertEquals(await count("judge_labels"), 1);
  const [entry] = await store.query<{ details: string }>(
    "select details::varchar as details from audit where action = 'retention.applied' order by number desc",
  );
  assertStringIncludes(entry.details, "judge_labels_before");
  assertEquals((await verifyAudit(store)).firstBroken, null);
});

Deno.test("retain() takes no more definitions of judges than it has put on record when their verdicts go, too", async () => {
  await using store = await openStore(":memory:");
  await addRequests(store, 10);
  await store.query(
    `insert into core.judge_versions by name select 'rule' as judge, '1' as judge_version,
       '{}' as definition, timestamp '2020-01-01' as created_at`,
  );
  const params = keep({ maxAgeDays: 0.5, judgeDays: 1 });
  const now = new Date(NOW.getTime() + 86_400_000);
  assertEquals((await retain(store, params, { now })).plan.counts.judge_versions, 0);
  assertEquals((await store.query("from core.judgements")).length, 0);
  assertEquals((await store.query("from core.judge_versions")).length, 1);
  assertEquals((await retain(store, params, { now })).plan.counts.judge_versions, 1);
});

Deno.test("retain() keeps the last look at resources and what still waits for sinks, however old", async () => {
  await using store = await openStore(":memory:");
  for (const [i, state] of ["delivered", "pending", "dead"].entries()) {
    const time = `2026-01-0${i + 1}`;
    await store.query(
      `insert into core.resources (created_at, cpu_cores) values (?::timestamp, 1)`,
      [time],
    );
    await store.query(
      "insert into core.sink_outbox values (?, 'log', '[]', ?::timestamp, ?, 0, 1, null)",
      [state, time, state],
    );
    await store.query(
      "insert into core.sink_attempts values (?, 0, 1, null, 'no', 1, ?::timestamp)",
      [state, time],
    );
  }
  const { plan } = await retain(store, keep({ historyDays: 30 }), { now: NOW });
  const { resources, sink_attempts, sink_outbox } = plan.counts;
  assertEquals([resources, sink_attempts, sink_outbox], [2, 2, 2]);
  assertEquals(await store.query("select delivery_id from sink_attempts"), [
    { delivery_id: "pending" },
  ]);
  assertEquals(await store.query("select delivery_id from sink_deliveries"), [
    { delivery_id: "pending" },
  ]);
  assertEquals(await store.query("select time, name from resources"), [
    { time: "2026-01-03T00:00:00.000Z", name: "cpu_cores" },
  ]);
});

Deno.test("retain() takes alarms of detectors by their time", async () => {
  await using store = await openStore(":memory:");
  for (const [row, age] of [40, 20].entries()) {
    const time = new Date(NOW.getTime() - age * 86_400_000);
    await store.query(
      `insert into core.online_alarms by name
       select 'rocks' as model, 1 as version, 'confidence' as series, 'adwin' as detector,
         'r' as request_id, ?::integer as row, ?::timestamp as alarmed_at, 0.5 as value,
         0.05 as rate, 10000 as period, 3 as rows_since_change, ?::timestamp as created_at`,
      [row, time, time],
    );
  }
  const { plan } = await retain(store, keep({ historyDays: 30 }), { now: NOW });
  assertEquals(plan.counts.online_alarms, 1);
  assertEquals(await store.query("select row from online_alarms"), [{ row: 1 }]);
});

Deno.test("retain() takes the oldest until the store fits, frees blocks, and then leaves the rest alone", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await using store = await openStore(`${folder}/a.duckdb`, { publish: false });
    for (let i = 0; i < 4; i++) {
      await store.query(
        `insert into core.requests by name select 'r' || range as request_id,
           timestamp '2026-01-01' + interval (range) second as request_time, 'POST' as method,
           '/predict' as endpoint, 200 as status_code, 1 as row_count, random() as duration_ms
         from range(${i * 100_000}, ${(i + 1) * 100_000})`,
      );
      await store.query(
        `insert into core.inferences by name select 'r' || range as request_id, 0 as row,
           timestamp '2026-01-01' + interval (range) second as request_time, 'rocks' as model,
           1 as version, [random(), random(), random()] as features, 'a' as label,
           random() as confidence, [random()] as probabilities
         from range(${i * 100_000}, ${(i + 1) * 100_000})`,
      );
    }
    await store.query("checkpoint");
    const { usedBytes } = await planRetention(store, keep({}), NOW);
    const params = keep({ maxGiB: usedBytes / 2 / 2 ** 30 });
    const { plan, usedBytes: after, batches } = await retain(store, params, { now: NOW });
    assert(batches >= 20, `${batches} batches`);
    assertEquals(plan.counts.requests, plan.counts.inferences);
    assert(after < 0.75 * usedBytes, `${after} of ${usedBytes} bytes`);
    const [{ n, first }] = await store.query<{ n: number; first: string }>(
      "select count(*) as n, min(request_id[2:]::int) as first from core.requests",
    );
    // The newest stay, about half of them.
    assertEquals(Number(first) + n, 400_000);
    assert(n > 100_000 && n < 250_000, `${n} are left`);
    const again = await planRetention(store, params, NOW);
    assert(again.counts.requests < 0.1 * n, `${again.counts.requests} of ${n} would go at once`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("retain() says so and takes no request when what always stays is too large by itself", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await using store = await openStore(`${folder}/a.duckdb`, { publish: false });
    await registerTestModel(store);
    await addRequests(store, 10);
    const { plan, batches } = await retain(store, keep({ maxGiB: 1e-4 }), { now: NOW });
    assertStringIncludes(plan.problem!, "raise retention.maxGiB");
    assertEquals([batches, (await countAll(store)).requests], [0, 10]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("retain() leaves every row and no entry when its first transaction fails", async () => {
  await using store = await openStore(":memory:");
  await addRequests(store, 10);
  const before = await countAll(store);
  // The requests are the last that a batch takes away.
  await store.query("alter table core.requests rename to held");
  await store.query("create view core.requests as select * from core.held");
  await assertRejects(() => retain(store, keep({ maxAgeDays: 1 }), { now: NOW }), Error);
  await store.query("drop view core.requests");
  await store.query("alter table core.held rename to requests");
  assertEquals(await countAll(store), before);
});

Deno.test("retain() ends after a whole batch when it is aborted", async () => {
  await using store = await openStore(":memory:");
  await addRequests(store, 20);
  const abort = new AbortController();
  store.onCommit(() => abort.abort());
  await retain(store, keep({ maxAgeDays: 1 }), { now: NOW, batchRows: 12, signal: abort.signal });
  const counts = await countAll(store);
  assertEquals([counts.requests, counts.inferences, counts.judgements], [16, 32, 32]);
});

Deno.test("deno task retention shows with --check what it then takes away, and asks for a limit", () =>
  withProjectFolder(async (folder) => {
    const path = `${folder}/a.duckdb`;
    await using store = await openStore(path);
    await addRequests(store, 10, new Date());
    const run = (...args: string[]) => runCli(["retention", "--set", `store=${path}`, ...args]);
    const limit = ["--set", "retention.maxAgeDays=4.5"];
    const check = await run("--check", ...limit);
    assertEquals(check.code, 0, check.stderr);
    assertMatch(check.stdout, /requests +5\n[^]*inferences +10\n[^]*oldest request: 20/);
    assertEquals((await countAll(store)).requests, 10);
    const done = await run("--json", ...limit);
    assertEquals(JSON.parse(done.stdout).plan.counts.requests, 5);
    assertEquals((await countAll(store)).requests, 5);
    const refused = await run();
    assertEquals(refused.code, 2);
    assertStringIncludes(refused.stderr, "set retention.maxAgeDays");
    const unknown = await run("--set", "retention.maxAgeDay=4");
    assertStringIncludes(unknown.stderr, 'did you mean "maxAgeDays"?');
  }));

Deno.test("RetentionSchedule takes old requests away while a server answers, and loses no new row", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await using store = await openStore(`${folder}/a.duckdb`, { publish: false, thread: true });
    await registerTestModel(store);
    await addRequests(store, 5_000, new Date());
    await using app = await createApp({ store, model: "rocks", quiet: true });
    const events: string[] = [];
    const schedule = RetentionSchedule.start(store, keep({ maxAgeDays: 10 }), {
      onEvent: (line) => events.push(line),
    });
    let answered = 0;
    let isDone = false;
    const callers = Array.from({ length: 4 }, async () => {
      while (!isDone) {
        const response = await app.request("/predict", {
          method: "POST",
          body: JSON.stringify({ records: [testRecord(answered)] }),
        });
        await response.body?.cancel();
        assertEquals(response.status, 200);
        answered++;
      }
    });
    while (events.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    isDone = true;
    await Promise.all(callers);
    await schedule.close();
    assertEquals(events, ["Retention took away 4990 requests and what hangs on them"]);
    assertEquals(
      await store.query("select count(*) as n from core.requests where request_id not like 'r%'"),
      [{ n: answered }],
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("retain() takes nothing of the future, and the server makes no id twice, when the clock jumps back", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  const { Date: RealDate } = globalThis;
  let offset = 0;
  class Clock extends RealDate {
    constructor(...args: [] | [number | string | Date]) {
      super(args.length === 0 ? RealDate.now() + offset : args[0]);
    }
    static override now = () => RealDate.now() + offset;
  }
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const ask = async () => {
    const response = await app.request("/predict", {
      method: "POST",
      body: JSON.stringify({ records: [testRecord(1)] }),
    });
    return (await response.json()).request_id as string;
  };
  try {
    globalThis.Date = Clock as unknown as DateConstructor;
    const ids = [await ask(), await ask()];
    offset = -400 * 86_400_000;
    ids.push(await ask(), await ask());
    assertEquals(new Set(ids).size, 4);
    await retain(store, keep({ maxAgeDays: 30 }));
    assertEquals(await store.query("select count(*) as n from core.requests"), [{ n: 4 }]);
    offset = 0;
    await retain(store, keep({ maxAgeDays: 30 }));
    const left = await store.query("select request_id as id from core.requests");
    assertEquals(left.map(({ id }) => id).sort(), ids.slice(0, 2).sort());
  } finally {
    globalThis.Date = RealDate;
  }
});
