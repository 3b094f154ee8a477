/** Alerts in the past: rewriting, backtest, unit tests, report. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { loadAlerts } from "../../../plugins/alerts/load.ts";
import { AsOf } from "../../../runtime/alerts/as_of.ts";
import { backtestAlert } from "../../../runtime/alerts/backtest.ts";
import { evaluateAlerts } from "../../../runtime/alerts/engine.ts";
import { explainAlert } from "../../../runtime/alerts/explain.ts";
import { parseMatcher } from "../../../runtime/alerts/matchers.ts";
import { reportNoise } from "../../../runtime/alerts/report.ts";
import { addMark } from "../../../runtime/alerts/silences.ts";
import { testAlert } from "../../../runtime/alerts/unit_tests.ts";
import { UsageError } from "../../../runtime/errors.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { registerTestModel } from "../../model_fixture.ts";
import { makeAlert } from "./alert_fixture.ts";

const MINUTE = 60_000;
const target = { model: "rocks", version: 1 };
const noon = Date.UTC(2026, 4, 4, 12);
const signal = new AbortController().signal;

/** Requests of the model at minutes after noon, with this status. */
async function addRequests(store: Store, minutes: readonly number[], status = 500) {
  for (const minute of minutes) {
    await store.query(
      `insert into core.requests by name select uuid()::varchar as request_id,
         ?::timestamp as request_time, 'POST' as method, '/predict' as endpoint,
         ?::integer as status_code, 'rocks' as model, 1 as version, 1 as row_count, 2.0 as duration_ms`,
      [new Date(noon + minute * MINUTE), status],
    );
  }
}

const recent = "select endpoint as subject, count(*) as value from requests " +
  "where request_time > now() at time zone 'UTC' - interval 5 minute group by endpoint";

const alerts = await loadAlerts(new URL("../../../plugins/alerts/", import.meta.url));

Deno.test("AsOf.queryReadOnly() gives of every shipped alert what it gives now when the time is now", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  await store.query(
    `insert into core.requests by name select uuid()::varchar as request_id,
       now() at time zone 'UTC' - interval 5 minute as request_time, 'POST' as method,
       '/predict' as endpoint, case when range % 4 = 0 then 500 when range % 4 = 1 then 404 else 200 end
         as status_code, 'rocks' as model, 1 as version, 1 as row_count, 250.0 as duration_ms
     from range(800)`,
  );
  await store.query(
    `insert into core.inferences by name select uuid()::varchar as request_id, 0 as row,
       now() at time zone 'UTC' - interval 5 minute as request_time, 'rocks' as model, 1 as version,
       [null, 2.4, 0.2]::double[] as features, 'sandstone' as label, 0.3::double as confidence,
       [0.8, 0.1, 0.1]::float[] as probabilities from range(200)`,
  );
  const scope = target;
  let found = 0;
  for (const { name, sql } of alerts) {
    const now = await store.queryReadOnly(sql, { scope });
    if (name === "quota_near_limit") {
      // The quotas of a key are kept as they are now.
      const ask = () => new AsOf(store, { time: noon }).queryReadOnly(sql);
      await assertRejects(ask, UsageError, 'the past of "quota_use" is not known');
      continue;
    }
    const then = await new AsOf(store, { time: Date.now() }).queryReadOnly(sql, { scope });
    assertEquals([name, then.columns, then.rows], [name, now.columns, now.rows]);
    found += now.rows.length;
    const before = await new AsOf(store, { time: noon }).queryReadOnly(sql, { scope });
    assertEquals([name, before.rows], [name, []]);
  }
  assertEquals(found >= 5, true);
});

Deno.test("AsOf.queryReadOnly() hides later rows and moves every clock, in subqueries and expressions, too", async () => {
  await using store = await openStore(":memory:");
  await addRequests(store, [0, 10, 20]);
  const time = noon + 10 * MINUTE;
  const ask = async (sql: string) => (await new AsOf(store, { time }).queryReadOnly(sql)).rows;
  assertEquals(await ask("select count(*) from requests"), [[2]]);
  assertEquals(await ask("with r as (from requests) select (select count(*) from r)"), [[2]]);
  assertEquals(
    await ask("select count(*) from requests a join main.requests b using (request_id)"),
    [
      [2],
    ],
  );
  assertEquals(await ask("select requests.status_code from requests limit 1"), [[500]]);
  assertEquals(
    await ask(
      "select now()::varchar, current_date::varchar, localtimestamp::varchar, today()::varchar",
    ),
    [["2026-05-04 12:10:00+00", "2026-05-04", "2026-05-04 12:10:00", "2026-05-04"]],
  );
  // Only text that looks like a clock.
  assertEquals(await ask("select 'now()' as a, 1 as current_timestamps"), [["now()", 1]]);
});

Deno.test("AsOf.queryReadOnly() shows aliases and labels as they were then", async () => {
  await using store = await openStore(":memory:");
  for (const [minute, to] of [[0, 1], [10, 2]]) {
    await store.query(
      `insert into core.alias_log (model, alias, to_version, reason, changed_at)
       values ('rocks', 'production', ?, 'test', ?)`,
      [to, new Date(noon + minute * MINUTE)],
    );
    await store.query(
      "insert into core.labels (request_id, row, label, created_at) values ('r', 0, ?, ?)",
      [`label ${to}`, new Date(noon + minute * MINUTE)],
    );
  }
  const ask = async (minute: number, sql: string) =>
    (await new AsOf(store, { time: noon + minute * MINUTE }).queryReadOnly(sql)).rows;
  for (const [minute, expected] of [[-1, []], [9, [[1]]], [10, [[2]]]] as const) {
    assertEquals(await ask(minute, "select version from aliases"), expected);
    assertEquals(
      await ask(minute, "select label from labels"),
      expected.map(([n]) => [`label ${n}`]),
    );
  }
});

Deno.test("AsOf.queryReadOnly() refuses what has no past or no certain answer", async () => {
  await using store = await openStore(":memory:");
  for (
    const [sql, reason] of [
      ["from core.requests", 'the past of "core.requests" is not known'],
      ["from models", 'the past of "models" is not known'],
      ["select random()", "random() answers otherwise each time"],
      ["select age(timestamp '2026-01-01')", "reads the clock"],
      ["select 1; select 2", "exactly one SELECT"],
      ["delete from core.runs", "Only SELECT"],
    ]
  ) {
    await assertRejects(
      () => new AsOf(store, { time: noon }).queryReadOnly(sql),
      UsageError,
      reason,
    );
  }
});

Deno.test("backtestAlert() gives when an alert would have fired, and records nothing", async () => {
  await using store = await openStore(":memory:");
  await addRequests(store, [1, 2, 20]);
  const alert = makeAlert("recent", recent, { forMs: 2 * MINUTE });
  const result = await backtestAlert(store, alert, {
    ...target,
    from: noon,
    to: noon + 30 * MINUTE,
    stepMs: MINUTE,
    signal,
  });
  assertEquals(result.evaluations, 31);
  assertEquals(
    result.episodes.map((
      { series, from, to },
    ) => [series, (from - noon) / MINUTE, (to! - noon) / MINUTE]),
    [
      ["/predict", 3, 7],
      ["/predict", 22, 25],
    ],
  );
  assertEquals(result.firingShare, 7 / 31);
  assertEquals(result.errors, 0);
  assertEquals(await store.query("from core.alert_log"), []);
});

Deno.test("backtestAlert() uses the alert's schedule without a step, and refuses what cannot be run", async () => {
  await using store = await openStore(":memory:");
  const alert = makeAlert("recent", recent, { schedule: { cron: "*/10 * * * *" } });
  const span = { ...target, from: noon, to: noon + 30 * MINUTE, signal };
  assertEquals((await backtestAlert(store, alert, span)).evaluations, 4);
  const refused: [Parameters<typeof backtestAlert>, string][] = [
    [[store, alert, { ...span, to: noon - 1 }], "not evaluated once"],
    [[store, alert, { ...span, stepMs: 1 }], "more than 20000 evaluations"],
    [[store, makeAlert("now", "from models"), span], 'the past of "models" is not known'],
  ];
  for (const [args, reason] of refused) {
    await assertRejects(() => backtestAlert(...args), UsageError, reason);
  }
});

Deno.test("testAlert() passes the shipped tests, and names what is otherwise", async () => {
  const folder = new URL("../../../plugins/alerts/", import.meta.url);
  for (const name of ["error_rate", "low_confidence"]) {
    const alert = alerts.find((each) => each.name === name)!;
    const text = await Deno.readTextFile(new URL(`${name}.test.yaml`, folder));
    for (const { failures } of await testAlert(alert, text)) assertEquals(failures, []);
  }
  const [{ failures }] = await testAlert(
    makeAlert("recent", recent),
    `- name: wrong
  rows: { requests: [{ request_time: -1m, endpoint: /predict, repeat: 3 }] }
  at:
    - { time: 0m, state: ok, series: {}, findings: [{ value: 4 }] }`,
  );
  assertEquals(failures, [
    "at 0m: state is firing, expected ok",
    'at 0m: series are {"/predict":"firing"}, expected {}',
    'at 0m: no finding {"value":4}',
    'at 0m: one finding more: {"subject":"/predict","value":3,"message":"subject = /predict, value = 3"}',
  ]);
});

Deno.test("testAlert() refuses views, columns, keys and times that are not there, with the nearest name", async () => {
  const alert = makeAlert("recent", recent);
  const at = "at: [{ time: 0m, state: ok }]";
  for (
    const [text, reason] of [
      [`- { name: a, rows: { reqests: [{}] }, ${at} }`, 'did you mean "requests"?'],
      [
        `- { name: a, rows: { requests: [{ statuscode: 1 }] }, ${at} }`,
        'did you mean "status_code"?',
      ],
      [
        `- { name: a, rows: { requests: [{ request_time: soon }] }, ${at} }`,
        'Cannot read time "soon"',
      ],
      [`- { nam: a, ${at} }`, 'did you mean "name"?'],
      ["- { name: a, at: [{ time: x, state: ok }] }", 'Cannot read duration "x"'],
      [
        "- { name: a, at: [{ time: 1m, state: ok }, { time: 0m, state: ok }] }",
        "after a later time",
      ],
      ["[", "no YAML"],
    ]
  ) {
    await assertRejects(() => testAlert(alert, text), UsageError, reason);
  }
});

Deno.test("explainAlert() gives state, findings, transitions and a plan, and no plan of what fails", async () => {
  await using store = await openStore(":memory:");
  const alert = makeAlert("a", "select 'x' as subject");
  assertEquals((await explainAlert(store, alert, target)).memory, null);
  await evaluateAlerts(store, [alert], { ...target, now: () => noon });
  const explained = await explainAlert(store, alert, { ...target, now: noon });
  assert(explained.memory !== null && explained.memory !== "damaged");
  assertEquals([explained.memory.state, explained.nextAt], ["firing", noon + 15 * MINUTE]);
  assertEquals(explained.findings.map(({ message }) => message), ["subject = x"]);
  assertEquals(explained.transitions.length, 2);
  assert(explained.plan!.includes("PROJECTION"), explained.plan!);
  const broken = await explainAlert(
    store,
    makeAlert("b", "select 1; drop table core.runs"),
    target,
  );
  assertEquals([broken.plan, broken.observation.kind], [null, "error"]);
  await store.query("select count(*) from core.runs");
});

Deno.test("reportNoise() counts what fired and was told, per alert of the week", async () => {
  await using store = await openStore(":memory:");
  await store.query("create table main.hot (subject varchar)");
  const alert = makeAlert("hot", "select subject from hot");
  const at = (minute: number) =>
    evaluateAlerts(store, [alert], { ...target, now: () => noon + minute * MINUTE });
  for (const [minute, count] of [[0, 1], [10, 0], [20, 1], [50, 0], [60, 0]]) {
    await store.query("delete from main.hot");
    if (count > 0) await store.query("insert into main.hot values ('P-130')");
    await at(minute);
  }
  await addMark(store, {
    kind: "ack",
    matchers: [parseMatcher("alert=hot")],
    by: "ada",
    now: noon + 25 * MINUTE,
  });
  const span = { model: "rocks", from: noon, to: noon + 60 * MINUTE };
  assertEquals(await reportNoise(store, span), [{
    alert: "hot",
    fired: 2,
    notified: 0,
    acknowledged: 1,
    isFlapping: false,
    meanFiringSeconds: 1200,
    errors: 0,
  }]);
  assertEquals(await reportNoise(store, { ...span, model: "other" }), []);
});
