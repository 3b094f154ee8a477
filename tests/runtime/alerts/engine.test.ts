import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Plugin } from "../../../plugins/plugin.ts";
import { evaluateAlerts, lookAtAlerts, MAX_FINDINGS } from "../../../runtime/alerts/engine.ts";
import { openStore } from "../../../runtime/store/store.ts";
import { makeAlert } from "./alert_fixture.ts";

const scope = { model: "rocks", version: 1 };

/** Three joins of a million rows: it cannot end in this century. */
const RUNAWAY = "select count(*) from range(1000000) a, range(1000000) b, range(1000000) c " +
  "where a.range * b.range + c.range < 0";

Deno.test("evaluateAlerts() gives each alert its state and records it with the state before", async () => {
  await using store = await openStore(":memory:");
  await store.query("create table main.level (value double)");
  const alerts = [
    makeAlert("level", "select value, 'level ' || value as message from level where value > 1"),
    makeAlert("data", "select value from level where value > 99", { empty: "no_data" }),
    makeAlert("broken", "select * from missing_table"),
    makeAlert("last", "select 'x' as subject, 1.23456789 as ratio, [1, 2] as list"),
  ];
  const states = async () =>
    (await evaluateAlerts(store, alerts, scope)).map(({ previous, state }) =>
      `${previous} ${state}`
    );
  assertEquals(await states(), ["null ok", "null no_data", "null error", "null firing"]);
  await store.query("insert into level values (2)");
  assertEquals(await states(), ["ok firing", "no_data no_data", "error error", "firing firing"]);
  await store.query("delete from level");
  assertEquals(await states(), ["firing ok", "no_data no_data", "error error", "firing firing"]);

  const history = await store.query(
    "select state, previous_state, finding_count from alert_history where alert = 'level' order by evaluation",
  );
  assertEquals(history, [
    { state: "ok", previous_state: null, finding_count: 0 },
    { state: "firing", previous_state: "ok", finding_count: 1 },
    { state: "ok", previous_state: "firing", finding_count: 0 },
  ]);
  const [{ n }] = await store.query("select count(*) as n from alerts");
  assertEquals(n, 4);
});

Deno.test("evaluateAlerts() makes a finding of each row when the query has a message or has none", async () => {
  await using store = await openStore(":memory:");
  const [{ findings }, { findings: plain }, { findings: bare }] = await evaluateAlerts(store, [
    makeAlert("a", "select 'GR' as subject, 'it is high' as message, 5 as n", {
      severity: "critical",
    }),
    makeAlert("b", "select 0.123456 as ratio, 7 as n, null as none, [1, 2] as list"),
    makeAlert("c", "select '' as message"),
  ], scope);
  assertEquals(findings, [{
    check: "alert:a",
    severity: "critical",
    message: "it is high",
    subject: "GR",
    rows: [{ subject: "GR", message: "it is high", n: 5 }],
  }]);
  assertEquals(plain[0].message, "ratio = 0.1235, n = 7, none = null, list = [1,2]");
  assertEquals(bare[0].message, "c happened");
  const [row] = await store.query<{ findings: string }>(
    "select findings from alerts where alert = 'a'",
  );
  assertEquals(JSON.parse(row.findings), findings);
});

Deno.test("evaluateAlerts() keeps a hundred findings and says when there were more", async () => {
  await using store = await openStore(":memory:");
  const outcomes = await evaluateAlerts(store, [
    makeAlert("full", `select range as n from range(${MAX_FINDINGS})`),
    makeAlert("over", "select range as n from range(100000)"),
  ], scope);
  assertEquals(
    outcomes.map(({ findings, findingCount }) => [findings.length, findingCount]),
    [[100, 100], [100, 101]],
  );
});

Deno.test("evaluateAlerts() ends a runaway query with state error and evaluates the next", async () => {
  await using store = await openStore(":memory:");
  const [runaway, next] = await evaluateAlerts(
    store,
    [makeAlert("runaway", RUNAWAY), makeAlert("next", "select 1 as n")],
    { ...scope, timeoutMs: 200 },
  );
  assertEquals([runaway.state, runaway.error, runaway.findings], [
    "error",
    "Cannot finish the query: it ran longer than 0.2 s",
    [],
  ]);
  assertEquals(next.state, "firing");
  const [row] = await store.query("select state, error from alerts where alert = 'runaway'");
  assertEquals(row, { state: "error", error: runaway.error });
});

Deno.test("evaluateAlerts() gives state error when a query is no SELECT, reads a file or fails midway", async () => {
  await using store = await openStore(":memory:");
  const outcomes = await evaluateAlerts(store, [
    makeAlert("write", "delete from core.runs"),
    makeAlert("two", "select 1; select 2"),
    makeAlert("file", "select * from read_csv('/etc/passwd')"),
    makeAlert("cast", "select case when range > 5000 then error('boom') end from range(9000)"),
    makeAlert("syntax", "selec 1"),
  ], scope);
  for (const { state, error, findingCount } of outcomes) {
    assertEquals([state, findingCount], ["error", 0]);
    assert(error!.startsWith("Cannot "), error);
    assert(!error!.includes("\n"), error);
  }
});

Deno.test("evaluateAlerts() waits for `for` and remembers it when the store is opened again", async () => {
  const dir = await Deno.makeTempDir();
  const path = `${dir}/store.duckdb`;
  const alert = makeAlert("hot", "select 'P-130' as subject, 7 as value", {
    forMs: 60_000,
    keepFiringForMs: 30_000,
  });
  const quiet = { ...alert, sql: `from (${alert.sql}) where false` };
  const evaluateAt = async (at: number, which: Plugin<"alert">) => {
    await using store = await openStore(path, { publish: false });
    const [{ state, previous }] = await evaluateAlerts(store, [which], { ...scope, now: () => at });
    return [previous, state];
  };
  try {
    assertEquals(await evaluateAt(0, alert), [null, "pending"]);
    assertEquals(await evaluateAt(30_000, alert), ["pending", "pending"]);
    assertEquals(await evaluateAt(60_000, alert), ["pending", "firing"]);
    assertEquals(await evaluateAt(70_000, quiet), ["firing", "firing"]);
    assertEquals(await evaluateAt(100_000, quiet), ["firing", "ok"]);
    await using store = await openStore(path, { publish: false });
    const rows = await store.query(
      "select series, from_state, to_state, epoch_ms(changed_at) as ms from alert_transitions order by transition",
    );
    assertEquals(
      rows.map(({ series, from_state, to_state, ms }) => [series, from_state, to_state, ms]),
      [
        ["P-130", "ok", "pending", 0],
        [null, null, "pending", 0],
        ["P-130", "pending", "firing", 60_000],
        [null, "pending", "firing", 60_000],
        ["P-130", "firing", "ok", 100_000],
        [null, "firing", "ok", 100_000],
      ],
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("evaluateAlerts() gives state error when what an alert remembered is damaged, and the next goes on", async () => {
  await using store = await openStore(":memory:");
  const alerts = [makeAlert("a", "select 1 as n"), makeAlert("b", "select 1 as n")];
  await evaluateAlerts(store, alerts, scope);
  await store.query("update core.alert_states set memory = '{\"state\": 7}' where alert = 'a'");
  const [a, b] = await evaluateAlerts(store, alerts, scope);
  assertEquals([a.state, b.state], ["error", "firing"]);
  assert(a.error!.includes("cannot be read"), a.error);
  const [again] = await evaluateAlerts(store, alerts, scope);
  assertEquals([again.previous, again.state], ["error", "firing"]);
});

Deno.test("evaluateAlerts() fails when another process evaluates, and takes over when that one died", async () => {
  await using store = await openStore(":memory:");
  const alerts = [makeAlert("a", "select 1 as n")];
  const now = 1_000_000;
  const hold = (endsAt: number) =>
    store.query("insert or replace into core.leases values ('alert_evaluation', 'other', ?)", [
      new Date(endsAt),
    ]);
  await hold(now + 1);
  await assertRejects(
    () => evaluateAlerts(store, alerts, { ...scope, now: () => now, waitMs: 0 }),
    Error,
    "another process does",
  );
  await hold(now);
  const [{ state }] = await evaluateAlerts(store, alerts, { ...scope, now: () => now, waitMs: 0 });
  assertEquals(state, "firing");
  assertEquals(await store.query("from core.leases"), []);
});

Deno.test("lookAtAlerts() records nothing", async () => {
  await using store = await openStore(":memory:");
  const [{ state }] = await lookAtAlerts(store, [makeAlert("a", "select 1 as n")], scope);
  assertEquals(state, "firing");
  assertEquals(await store.query("from core.alert_log"), []);
  assertEquals(await store.query("from core.alert_states"), []);
});
