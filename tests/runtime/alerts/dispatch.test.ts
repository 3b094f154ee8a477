import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { Plugin } from "../../../plugins/plugin.ts";
import { tellAlerts } from "../../../runtime/alerts/tell.ts";
import { dispatchAlerts } from "../../../runtime/alerts/dispatch.ts";
import { evaluateAlerts } from "../../../runtime/alerts/engine.ts";
import { formatMatcher, matches, parseMatcher } from "../../../runtime/alerts/matchers.ts";
import { AlertingParams } from "../../../runtime/alerts/params.ts";
import { addMark, endMark } from "../../../runtime/alerts/silences.ts";
import { UsageError } from "../../../runtime/errors.ts";
import { SinkDispatcher } from "../../../runtime/notifications/sinks.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { makeAlert, makeMailbox, makeSink } from "./alert_fixture.ts";

const target = { model: "rocks", version: 1 };
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** A store with a table `hot` whose rows are subjects, and an alert on each. */
class Bench implements AsyncDisposable {
  readonly mailbox = makeMailbox();
  now = Date.UTC(2026, 4, 4, 12);
  sinks: Plugin<"sink">[] = [this.mailbox.sink];
  defaultSinks = ["mailbox"];
  params = AlertingParams.parse({});
  alerts: readonly Plugin<"alert">[];

  constructor(readonly store: Store, ...alerts: Plugin<"alert">[]) {
    this.alerts = alerts.length > 0 ? alerts : [onHot("hot")];
  }

  static async open(...alerts: Plugin<"alert">[]): Promise<Bench> {
    const store = await openStore(":memory:");
    await store.query("create table main.hot (subject varchar)");
    return new Bench(store, ...alerts);
  }

  async set(...subjects: string[]): Promise<void> {
    await this.store.transaction([
      { sql: "delete from main.hot" },
      ...subjects.map((subject) => ({ sql: "insert into main.hot values (?)", params: [subject] })),
    ]);
  }

  /** Lets time pass, evaluates, and gives what reached the mailbox. */
  async after(ms: number, { isHurried = false } = {}): Promise<string[]> {
    this.now += ms;
    const now = () => this.now;
    await evaluateAlerts(this.store, this.alerts, { ...target, now });
    await this.dispatch(isHurried);
    await using dispatcher = new SinkDispatcher(this.store, { sinks: this.sinks, now });
    await dispatcher.drain();
    return this.mailbox.read();
  }

  dispatch(isHurried = false) {
    return dispatchAlerts(this.store, this.alerts, {
      ...target,
      params: this.params,
      defaultSinks: this.defaultSinks,
      signal: new AbortController().signal,
      now: () => this.now,
      isHurried,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store.close();
  }
}

function onHot(name: string, more: Partial<Plugin<"alert">> = {}): Plugin<"alert"> {
  return makeAlert(
    name,
    "select subject, subject || ' is hot' as message from hot order by subject",
    more,
  );
}

Deno.test("dispatchAlerts() tells what began to fire and what ended, once each, when nobody comes back", async () => {
  await using bench = await Bench.open();
  const told = () => bench.after(MINUTE, { isHurried: true });
  assertEquals(await told(), []);
  await bench.set("a");
  assertEquals(await told(), ["hot: a is hot"]);
  assertEquals(await told(), []);
  await bench.set("a", "b");
  assertEquals(await told(), ["hot: b is hot"]);
  await bench.set("b");
  assertEquals(await told(), ["hot: resolved: a is hot"]);
  await bench.set();
  assertEquals(await told(), ["hot: resolved: b is hot"]);
  assertEquals(await told(), []);
  assertEquals(await bench.store.query("from core.alert_groups"), []);
});

Deno.test("dispatchAlerts() waits with a group, tells its changes in intervals, and tells again while it fires", async () => {
  await using bench = await Bench.open();
  await bench.set("a");
  assertEquals(await bench.after(0), []);
  assertEquals(await bench.after(29_000), []);
  await bench.set("a", "b");
  assertEquals(await bench.after(1_000), ["hot: a is hot", "hot: b is hot"]);
  await bench.set("a", "b", "c");
  assertEquals(await bench.after(MINUTE), []);
  assertEquals((await bench.dispatch()).nextAt, bench.now + 4 * MINUTE);
  assertEquals(await bench.after(4 * MINUTE), ["hot: c is hot"]);
  // a and b were told five minutes before c.
  assertEquals(await bench.after(4 * HOUR - 5 * MINUTE), ["hot: a is hot", "hot: b is hot"]);
  assertEquals(await bench.after(5 * MINUTE), ["hot: c is hot"]);
});

Deno.test("dispatchAlerts() makes a group per value of groupBy", async () => {
  await using bench = await Bench.open();
  bench.params = AlertingParams.parse({ groupBy: ["subject"], groupWait: "1m" });
  await bench.set("a");
  await bench.after(0);
  await bench.set("a", "b");
  assertEquals(await bench.after(MINUTE), ["hot: a is hot"]);
  assertEquals(await bench.after(MINUTE), ["hot: b is hot"]);
});

Deno.test("dispatchAlerts() tells again as retrigger says, and not of the end without onOk", async () => {
  await using bench = await Bench.open(
    onHot("once", { retrigger: 0, notify: { onOk: false } }),
    onHot("each", { retrigger: 1, notify: { onOk: false } }),
    onHot("seconds", { retrigger: 90, notify: { onOk: false } }),
  );
  await bench.set("a");
  const told = async () =>
    (await bench.after(MINUTE, { isHurried: true })).map((each) => each.split(":")[0]);
  assertEquals(await told(), ["once", "each", "seconds"]);
  assertEquals(await told(), ["each"]);
  assertEquals(await told(), ["each", "seconds"]);
  await bench.set();
  assertEquals(await told(), []);
});

Deno.test("dispatchAlerts() tells nobody while a silence matches, and what still fires afterwards", async () => {
  await using bench = await Bench.open();
  const told = () => bench.after(MINUTE, { isHurried: true });
  const id = await addMark(bench.store, {
    kind: "silence",
    matchers: [parseMatcher("severity=warning"), parseMatcher('subject!~"b|c"')],
    by: "ada",
    forMs: HOUR,
    now: bench.now,
  });
  await bench.set("a", "b");
  assertEquals(await told(), ["hot: b is hot"]);
  await bench.set("a", "b", "d");
  assertEquals(await told(), []);
  await bench.set("a", "b");
  assertEquals(await told(), []);
  await endMark(bench.store, id, { by: "ada", now: bench.now });
  assertEquals(await told(), ["hot: a is hot"]);
});

Deno.test("dispatchAlerts() ends a silence by itself when its time is over", async () => {
  await using bench = await Bench.open();
  await addMark(bench.store, {
    kind: "silence",
    matchers: [parseMatcher("alert=hot")],
    by: "ada",
    forMs: HOUR,
    now: bench.now,
  });
  await bench.set("a");
  assertEquals(await bench.after(HOUR - 1, { isHurried: true }), []);
  assertEquals(await bench.after(1, { isHurried: true }), ["hot: a is hot"]);
});

Deno.test("dispatchAlerts() keeps a snoozed alert quiet in a state of its own", async () => {
  await using bench = await Bench.open();
  await bench.set("a");
  await addMark(bench.store, {
    kind: "snooze",
    matchers: [parseMatcher("alert=hot")],
    by: "ada",
    forMs: HOUR,
    now: bench.now,
  });
  assertEquals(await bench.after(0, { isHurried: true }), []);
  assertEquals(await bench.store.query("select state from alerts"), [{ state: "snoozed" }]);
  assertEquals(await bench.after(HOUR, { isHurried: true }), ["hot: a is hot"]);
  assertEquals(await bench.store.query("select state from alerts"), [{ state: "firing" }]);
});

Deno.test("dispatchAlerts() does not tell again what somebody took up, but tells its end and what is new", async () => {
  await using bench = await Bench.open(onHot("hot", { retrigger: 1 }));
  const told = () => bench.after(MINUTE, { isHurried: true });
  await bench.set("a");
  assertEquals(await told(), ["hot: a is hot"]);
  assertEquals(await told(), ["hot: a is hot"]);
  await addMark(bench.store, {
    kind: "ack",
    matchers: [parseMatcher("alert=hot")],
    by: "ada",
    note: "looking",
    now: bench.now,
  });
  assertEquals(await told(), []);
  await bench.set("a", "b");
  assertEquals(await told(), ["hot: b is hot"]);
  await bench.set();
  assertEquals(await told(), ["hot: resolved: a is hot", "hot: resolved: b is hot"]);
  await bench.set("a");
  assertEquals(await told(), ["hot: a is hot"]);
});

Deno.test("dispatchAlerts() keeps targets of an inhibition quiet while a source with equal labels fires", async () => {
  await using bench = await Bench.open(
    onHot("grave", { severity: "critical", sql: "select subject from hot where subject = 'a'" }),
    onHot("hot"),
  );
  bench.params = AlertingParams.parse({
    inhibit: [{ source: ["severity=critical"], target: ["severity=warning"], equal: ["subject"] }],
  });
  await bench.set("a", "b");
  assertEquals(await bench.after(0, { isHurried: true }), ["grave: subject = a", "hot: b is hot"]);
});

Deno.test("dispatchAlerts() tells that an alert flaps instead of each change", async () => {
  await using bench = await Bench.open();
  const told: string[] = [];
  for (let i = 0; i < 24; i++) {
    await bench.set(...i % 2 === 0 ? ["a"] : []);
    told.push(...await bench.after(MINUTE, { isHurried: true }));
  }
  const flaps = told.filter((text) => text.includes("flaps"));
  assertEquals(flaps.length, 1);
  assert(told.length <= 6, told.join("\n"));
  assertEquals(await bench.store.query("select is_flapping from alerts"), [{ is_flapping: true }]);
  await bench.set("a");
  const calm: string[] = [];
  for (let i = 0; i < 24; i++) calm.push(...await bench.after(MINUTE, { isHurried: true }));
  assert(calm.some((text) => text.startsWith("hot: resolved: alert hot flaps")), calm.join("\n"));
});

Deno.test("dispatchAlerts() tells that an alert cannot be evaluated, and that data it had is gone", async () => {
  await using bench = await Bench.open(
    onHot("hot", { empty: "no_data" }),
    makeAlert("broken", "from no_such_table"),
  );
  const [text, ...rest] = await bench.after(0, { isHurried: true });
  assertEquals(rest, []);
  assert(text.startsWith("broken: error: Cannot run the query"), text);
  await bench.set("a");
  assertEquals(await bench.after(MINUTE, { isHurried: true }), ["hot: a is hot"]);
  await bench.set();
  assertEquals((await bench.after(MINUTE, { isHurried: true })).sort(), [
    "hot: no_data: the query gave no row",
    "hot: resolved: a is hot",
  ]);
});

Deno.test("tellAlerts() gives failures by name, reaches other sinks, and sends again what failed", async () => {
  await using bench = await Bench.open();
  let isDown = true;
  const received: string[] = [];
  const flaky = makeSink("flaky", (events) => {
    if (isDown) return Promise.reject(new Error("No route"));
    for (const event of events) received.push("alert" in event ? event.message : "");
    return Promise.resolve();
  });
  const tell = () =>
    tellAlerts(bench.store, bench.alerts, {
      ...target,
      params: bench.params,
      sinks: [flaky, bench.mailbox.sink],
      defaultSinks: ["flaky", "mailbox", "unknown"],
      signal: new AbortController().signal,
      now: () => bench.now,
    });
  await bench.set("a");
  await evaluateAlerts(bench.store, bench.alerts, { ...target, now: () => bench.now });
  assertEquals([...await tell()], [
    [
      "unknown",
      'Cannot serve sink "unknown": there is none of this name; there are flaky, mailbox',
    ],
    ["flaky", "No route"],
  ]);
  assertEquals(bench.mailbox.read(), ["hot: a is hot"]);
  assertEquals(await bench.store.query("select sinks from alert_notices"), [{ sinks: 3 }]);
  isDown = false;
  bench.now += HOUR;
  assertEquals([...(await tell()).keys()], ["unknown"]);
  assertEquals([received, bench.mailbox.read()], [["a is hot"], []]);
});

Deno.test("tellAlerts() gives up a sink that hangs when it is told to, and keeps what it was to be told", async () => {
  await using bench = await Bench.open();
  const abort = new AbortController();
  const hung = makeSink("hung", () => {
    queueMicrotask(() => abort.abort(new Error("Enough")));
    return new Promise(() => {});
  });
  await bench.set("a");
  await evaluateAlerts(bench.store, bench.alerts, { ...target, now: () => bench.now });
  const told = tellAlerts(bench.store, bench.alerts, {
    ...target,
    params: bench.params,
    sinks: [hung],
    defaultSinks: ["hung"],
    signal: abort.signal,
    now: () => bench.now,
  });
  await assertRejects(() => told, Error, "Enough");
  assertEquals(await bench.store.query("select sink, state from sink_deliveries"), [
    { sink: "hung", state: "pending" },
  ]);
});

Deno.test("dispatchAlerts() tells the sinks an alert names all there is to know of it", async () => {
  await using bench = await Bench.open(
    onHot("hot", {
      notify: { sinks: ["other"] },
      runbook: "https://example.com/hot",
      labels: { team: "x" },
    }),
  );
  const received: unknown[] = [];
  bench.sinks.push(makeSink("other", (events) => {
    received.push(...events);
    return Promise.resolve();
  }));
  await bench.set("a");
  assertEquals(await bench.after(0, { isHurried: true }), []);
  const startsAt = bench.now;
  await bench.set();
  await bench.after(MINUTE, { isHurried: true });
  const event = {
    kind: "firing",
    alert: "hot",
    series: "a",
    severity: "warning",
    labels: { subject: "a", team: "x", alert: "hot", severity: "warning" },
    value: null,
    message: "a is hot",
    startsAt,
    runbook: "https://example.com/hot",
  };
  assertEquals(received, [event, { ...event, kind: "resolved", endsAt: bench.now }]);
});

Deno.test("parseMatcher() reads what formatMatcher() writes, and says what is wrong otherwise", () => {
  for (const text of ['a="b"', 'a!="x \\"y\\" \\\\"', 'a=~"P-1.*"', 'a!~""']) {
    assertEquals(formatMatcher(parseMatcher(text)), text);
  }
  assertEquals(matches([parseMatcher('missing=""')], {}), true);
  assertEquals(matches([], {}), false);
  for (const text of ["", "a", "a==b", 'a="b', "a b=c", 'a=~"("', 'a=~"(?!b)c"']) {
    assertThrows(() => parseMatcher(text), UsageError, "Cannot read matcher");
  }
  // Backtracking would take longer than the world is old.
  assertEquals(matches([parseMatcher('a=~"(a+)+"')], { a: `${"a".repeat(5_000)}b` }), false);
});

Deno.test("addMark() refuses a silence of everything or for ever, endMark() one that does not hold", async () => {
  await using store = await openStore(":memory:");
  const matchers = [parseMatcher("alert=a")];
  const add = (more: object) =>
    addMark(store, { kind: "silence", matchers, by: "ada", forMs: HOUR, ...more });
  await assertRejects(() => add({ matchers: [] }), UsageError, "without a matcher");
  await assertRejects(() => add({ forMs: undefined }), UsageError, "for ever");
  await assertRejects(() => add({ forMs: 400 * 24 * HOUR }), UsageError, "up to a year");
  const id = await add({});
  await endMark(store, id, { by: "ada" });
  await assertRejects(() => endMark(store, id, { by: "ada" }), UsageError, "none of this id holds");
  assertEquals(await store.query("select state, ended_by from silences"), [
    { state: "expired", ended_by: "ada" },
  ]);
});

Deno.test("AlertingParams has Alertmanager's defaults and names what is wrong", () => {
  const { inhibit: _, ...rest } = AlertingParams.parse({});
  assertEquals(rest, {
    groupBy: [],
    groupWait: 30_000,
    groupInterval: 5 * MINUTE,
    repeatInterval: 4 * HOUR,
  });
  assertThrows(() => AlertingParams.parse({ groupWait: "soon" }), Error, "Cannot read duration");
  assertThrows(
    () => AlertingParams.parse({ inhibit: [{ source: ["x"], target: ["a=b"] }] }),
    Error,
    "Cannot read matcher",
  );
});
