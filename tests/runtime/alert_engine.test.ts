import { assert, assertEquals } from "@std/assert";
import type { Finding, Plugin } from "../../plugins/plugin.ts";
import { deliverFindings, evaluateAlerts, MAX_FINDINGS } from "../../runtime/alert_engine.ts";
import { openStore } from "../../runtime/store.ts";

function makeAlert(
  name: string,
  sql: string,
  more: Partial<Plugin<"alert">> = {},
): Plugin<"alert"> {
  return {
    kind: "alert",
    name,
    severity: "warning",
    summary: `${name} happened`,
    empty: "ok",
    sql,
    ...more,
  };
}

const scope = { model: "rocks", version: 1 };

const QUIET = "select 1 as n where false";

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
  const start = performance.now();
  const [runaway, next] = await evaluateAlerts(
    store,
    [makeAlert("runaway", RUNAWAY), makeAlert("next", "select 1 as n")],
    { ...scope, timeoutMs: 200 },
  );
  assert(performance.now() - start < 5_000);
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

function makeSink(name: string, deliver: Plugin<"sink">["deliver"]): Plugin<"sink"> {
  return { kind: "sink", name, summary: "a test", deliver };
}

Deno.test("deliverFindings() delivers only what began to fire, to every sink", async () => {
  await using store = await openStore(":memory:");
  await store.query("create table main.level (value double)");
  const alerts = [
    makeAlert("level", "select value from level"),
    makeAlert("always", "select 1 as n union all select 2"),
    makeAlert("broken", "select * from missing_table"),
    makeAlert("quiet", QUIET),
  ];
  const received: string[][] = [[], []];
  const sinks = received.map((list, i) =>
    makeSink(`sink ${i}`, (findings) => {
      list.push(...findings.map(({ check, message }) => `${check} ${message}`));
      return Promise.resolve();
    })
  );
  const { signal } = new AbortController();
  const deliver = async () => {
    received.forEach((list) => list.length = 0);
    const failures = await deliverFindings(
      sinks,
      await evaluateAlerts(store, alerts, scope),
      signal,
    );
    assertEquals(failures.size, 0);
    assertEquals(received[0], received[1]);
    return [...received[0]];
  };
  assertEquals(await deliver(), ["alert:always n = 1", "alert:always n = 2"]);
  assertEquals(await deliver(), []);
  await store.query("insert into level values (3)");
  assertEquals(await deliver(), ["alert:level value = 3"]);
  assertEquals(await deliver(), []);
  await store.query("delete from level");
  assertEquals(await deliver(), []);
  await store.query("insert into level values (4)");
  assertEquals(await deliver(), ["alert:level value = 4"]);
});

Deno.test("deliverFindings() gives back failures by name and goes on with other sinks", async () => {
  await using store = await openStore(":memory:");
  const outcomes = await evaluateAlerts(store, [makeAlert("a", "select 1 as n")], scope);
  const received: Finding[] = [];
  const failures = await deliverFindings(
    [
      makeSink("throws", () => {
        throw new Error("At once");
      }),
      makeSink(
        "rejects",
        () => Promise.reject(new Error("Later", { cause: new Error("No route") })),
      ),
      makeSink("works", (findings) => {
        received.push(...findings);
        return Promise.resolve();
      }),
    ],
    outcomes,
    new AbortController().signal,
  );
  assertEquals([...failures].sort(), [["rejects", "Later: No route"], ["throws", "At once"]]);
  assertEquals(received, [...outcomes[0].findings]);
});

Deno.test("deliverFindings() calls no sink when nothing began to fire", async () => {
  await using store = await openStore(":memory:");
  const outcomes = await evaluateAlerts(store, [makeAlert("quiet", QUIET)], scope);
  let calls = 0;
  const sink = makeSink("counts", () => {
    calls++;
    return Promise.resolve();
  });
  assertEquals((await deliverFindings([sink], outcomes, new AbortController().signal)).size, 0);
  assertEquals(calls, 0);
});
