import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { Plugin } from "../../plugins/plugin.ts";
import { createApiKey } from "../../runtime/api_keys.ts";
import { dispatchAlerts } from "../../runtime/alerts/dispatch.ts";
import { evaluateAlerts } from "../../runtime/alerts/engine.ts";
import { AlertingParams } from "../../runtime/alerts/params.ts";
import { verifyAudit } from "../../runtime/audit.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { createApp, type GeophoneApp } from "../../server.ts";
import { registerTestModel } from "../model_fixture.ts";
import { makeAlert } from "../runtime/alerts/alert_fixture.ts";

const target = { model: "rocks", version: 1 };
const params = AlertingParams.parse({ groupWait: "0", groupInterval: "0" });

const hot = makeAlert(
  "hot",
  "select 'P-130' as subject, 'P-130 is hot' as message union all select 'P-135', 'P-135 is hot'",
  { labels: { team: "logs" }, runbook: "https://example.com/hot", severity: "critical" },
);
const slow = makeAlert("slow", "select 7 as ms", {
  forMs: 600_000,
  keepFiringForMs: 60_000,
  threshold: { column: "ms", operator: "GREATER_THAN", value: 5 },
  schedule: { cron: "*/5 * * * *" },
});
const calm = makeAlert("calm", "select 1 where false");
const broken = makeAlert("broken", "select * from nowhere");
const unseen = makeAlert("unseen", "select 1", { schedule: { cron: "0 0 * * *", isPaused: true } });

interface Bench {
  readonly app: GeophoneApp;
  readonly store: Store;
  get(path: string): Promise<Record<string, unknown>>;
  send(method: string, path: string, body?: unknown): Promise<Response>;
}

async function withApp(
  action: (bench: Bench) => Promise<void>,
  alerts: readonly Plugin<"alert">[] = [hot, slow, calm, broken, unseen],
): Promise<void> {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  const rules = { alerts, params, target: () => Promise.resolve(target) };
  await using app = await createApp({ store, model: "rocks", quiet: true, rules });
  await action({
    app,
    store,
    get: async (path) => await (await app.request(path)).json(),
    send: (method, path, body) =>
      app.request(path, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
  });
}

const evaluate = (store: Store) => evaluateAlerts(store, [hot, slow, calm, broken], target);

// deno-lint-ignore no-explicit-any -- JSON of an answer
type Json = any;

const audit = (store: Store) =>
  store.query(
    `select action, actor, subject, details->>'kind' as kind, details->>'matchers' as matchers
     from audit where action like 'silence.%' order by number`,
  );

Deno.test("GET /alerts gives state, findings and series of every alert, and of one that nobody evaluated that it is so", () =>
  withApp(async ({ store, get }) => {
    await evaluate(store);
    const { model, version, alerts, silences } = await get("/alerts") as Json;
    assertEquals([model, version, silences], ["rocks", 1, []]);
    assertEquals(alerts.map(({ name, state }: Json) => [name, state]), [
      ["hot", "firing"],
      ["slow", "pending"],
      ["calm", "ok"],
      ["broken", "error"],
      ["unseen", "unevaluated"],
    ]);
    const [first, , , failed, never] = alerts;
    assertEquals([first.severity, first.runbook, first.finding_count], [
      "critical",
      "https://example.com/hot",
      2,
    ]);
    assertEquals(first.findings, [
      { subject: "P-130", message: "P-130 is hot" },
      { subject: "P-135", message: "P-135 is hot" },
    ]);
    assertEquals(first.series[0].labels, {
      subject: "P-130",
      team: "logs",
      alert: "hot",
      severity: "critical",
    });
    assertMatch(first.since, /^\d{4}-\d\d-\d\dT.*Z$/);
    assertEquals([first.is_silenced, first.is_acknowledged, first.series[0].is_muted], [
      false,
      false,
      false,
    ]);
    assertStringIncludes(failed.reason, "nowhere");
    assertEquals([never.since, never.evaluated_at, never.series], [null, null, []]);
  }));

Deno.test("GET /alerts?state= filters, and refuses what is no state or no parameter", () =>
  withApp(async ({ store, get, app }) => {
    await evaluate(store);
    const { alerts } = await get("/alerts?state=firing") as Json;
    assertEquals(alerts.map(({ name }: Json) => name), ["hot"]);
    for (
      const [query, said] of [
        ["state=burning", 'state "burning" is not ok or pending'],
        ["state=", 'state "" is not'],
        ["state=ok&state=ok", "state is there twice"],
        ["stat=ok", 'did you mean "state"?'],
      ]
    ) {
      const response = await app.request(`/alerts?${query}`);
      const { error } = await response.json();
      assertEquals([response.status, error.code], [400, "invalid_query"]);
      assertStringIncludes(error.message, said);
    }
  }));

Deno.test("POST /alerts/silences keeps what matches from being told until it is deleted, all on record", () =>
  withApp(async ({ store, get, send }) => {
    await evaluate(store);
    const tell = async () => {
      const signal = AbortSignal.timeout(30_000);
      const options = { ...target, params, defaultSinks: [], signal };
      return (await dispatchAlerts(store, [hot], options)).events.map(({ series }) => series);
    };
    const made = await send("POST", "/alerts/silences", {
      matchers: ['alert="hot"', 'subject=~"P-13.*"', "subject!=P-135"],
      for: "2h",
      note: "new logs",
    });
    assertEquals(made.status, 200);
    const mark = await made.json();
    assertEquals([mark.kind, mark.note, mark.matchers], [
      "silence",
      "new logs",
      ['alert="hot"', 'subject=~"P-13.*"', 'subject!="P-135"'],
    ]);
    assertEquals(Date.parse(mark.ends_at) - Date.parse(mark.starts_at), 7_200_000);
    const { alerts: [first], silences } = await get("/alerts") as Json;
    assertEquals(silences.map(({ id }: Json) => id), [mark.id]);
    assertEquals(
      first.series.map(({ silenced_by, is_muted }: Json) => [silenced_by, is_muted]),
      [[mark.id, true], [null, false]],
    );
    assertEquals(first.is_silenced, false, "one of its series is not");
    assertEquals(await tell(), ["P-135"]);
    const ended = await send("DELETE", `/alerts/silences/${mark.id}`);
    assertEquals((await ended.json()).state, "expired");
    assertEquals((await get("/alerts") as Json).silences, []);
    assertEquals(await tell(), ["P-130"]);
    const again = await send("DELETE", `/alerts/silences/${mark.id}`);
    assertEquals([again.status, (await again.json()).error.code], [404, "not_found"]);
    const by = mark.created_by;
    const matchers = 'alert="hot", subject=~"P-13.*", subject!="P-135"';
    assertEquals(await audit(store), [
      { action: "silence.created", actor: by, subject: mark.id, kind: "silence", matchers },
      { action: "silence.ended", actor: by, subject: mark.id, kind: "silence", matchers },
    ]);
    assertEquals((await verifyAudit(store)).firstBroken, null);
  }));

Deno.test("POST /alerts/silences takes a begin to come, which holds nothing yet and can be taken back", () =>
  withApp(async ({ store, get, send }) => {
    const at = (hours: number) => new Date(Date.now() + 3_600_000 * hours).toISOString();
    const made = await send("POST", "/alerts/silences", {
      matchers: ['severity="critical"'],
      starts_at: at(1),
      ends_at: at(3),
    });
    const { id } = await made.json();
    assertEquals((await get("/alerts") as Json).silences, []);
    assertEquals(await store.query("select state from silences"), [{ state: "pending" }]);
    assertEquals((await send("DELETE", `/alerts/silences/${id}`)).status, 200);
    assertEquals(await store.query("select state from silences"), [{ state: "expired" }]);
  }));

Deno.test("POST /alerts/silences refuses wrong matchers, times and notes, and writes nothing", () =>
  withApp(async ({ store, send }) => {
    const ok = { matchers: ['severity="critical"'], for: "1h" };
    const wrong: readonly [body: unknown, said: string][] = [
      [{ ...ok, matchers: [] }, "matchers"],
      [{ ...ok, matchers: ["severity"] }, 'Cannot read matcher "severity"'],
      [{ ...ok, matchers: ['subject=~"("'] }, "its regular expression is wrong"],
      [{ ...ok, matchers: Array(21).fill("a=b") }, "matchers"],
      [{ ...ok, matchers: [`a="${"x".repeat(1_050)}"`] }, "longer than 1000 characters"],
      [{ matchers: ok.matchers }, "either by for or by ends_at"],
      [{ ...ok, ends_at: "2100-01-01T00:00:00Z" }, "either by for or by ends_at"],
      [{ matchers: ok.matchers, ends_at: "2020-01-01T00:00:00Z" }, "until before that begins"],
      [
        {
          matchers: ok.matchers,
          starts_at: "2100-01-02T00:00:00Z",
          ends_at: "2100-01-01T00:00:00Z",
        },
        "until before that begins",
      ],
      [{ matchers: ok.matchers, ends_at: "2100-01-01T00:00:00Z" }, "of up to a year"],
      [{ ...ok, for: "soon" }, "such as 30s"],
      [{ ...ok, for: "0" }, "until before that begins"],
      [{ ...ok, starts_at: "tomorrow" }, "starts_at"],
      [{ ...ok, note: "x".repeat(1_001) }, "note"],
      [{ ...ok, note: "\ud800" }, "note: half a character"],
      [{ ...ok, matchers: ['subject="\udc00"'] }, "matchers.0: half a character"],
      [{ ...ok, who: "me" }, "who"],
    ];
    for (const [body, said] of wrong) {
      const response = await send("POST", "/alerts/silences", body);
      const { error } = await response.json();
      assertEquals([response.status, error.code], [422, "invalid_input"], JSON.stringify(body));
      assertStringIncludes(error.message, said);
    }
    const [{ rows }] = await store.query("select count(*) as rows from silences");
    assertEquals([rows, await audit(store)], [0, []]);
  }));

Deno.test("POST /alerts/{name}/acknowledge holds until it is resolved or for a time, of all series or of some", () =>
  withApp(async ({ store, get, send }) => {
    await evaluate(store);
    const series = async () =>
      (await get("/alerts") as Json).alerts[0].series.map((each: Json) => each.is_acknowledged);
    const one = await send("POST", "/alerts/hot/acknowledge", {
      matchers: ["subject=P-130"],
      note: "I look at it",
      for: "1h",
    });
    assertEquals((await one.json()).matchers, ['alert="hot"', 'subject="P-130"']);
    assertEquals(await series(), [true, false]);
    const all = await (await send("POST", "/alerts/hot/acknowledge")).json();
    assertEquals([all.kind, all.ends_at], ["ack", null]);
    assertEquals(await series(), [true, true]);
    assertEquals((await get("/alerts") as Json).alerts[0].is_acknowledged, true);
    assertEquals((await send("DELETE", `/alerts/silences/${all.id}`)).status, 200);
    assertEquals(await series(), [true, false]);
    assertEquals((await audit(store)).map(({ action, kind }) => [action, kind]), [
      ["silence.created", "ack"],
      ["silence.created", "ack"],
      ["silence.ended", "ack"],
    ]);
  }));

Deno.test("POST /alerts/{name}/acknowledge refuses an alert that is not there, naming the nearest", () =>
  withApp(async ({ send }) => {
    const response = await send("POST", "/alerts/hott/acknowledge");
    assertEquals(response.status, 404);
    assertStringIncludes((await response.json()).error.message, 'did you mean "hot"?');
    const broken = await send("POST", "/alerts/%ff/acknowledge");
    assertEquals([broken.status, (await broken.json()).error.code], [400, "invalid_query"]);
    const matcher = await send("POST", "/alerts/hot/acknowledge", { matchers: ["subject"] });
    assertEquals((await matcher.json()).error.code, "invalid_input");
  }));

Deno.test("DELETE /alerts/silences/{id} is the only method there, and unknown ids are refused", () =>
  withApp(async ({ send }) => {
    const unknown = await send("DELETE", "/alerts/silences/nobody");
    assertEquals(unknown.status, 404);
    assertStringIncludes((await unknown.json()).error.message, "none of this id holds");
    const get = await send("GET", "/alerts/silences/nobody");
    assertEquals([get.status, get.headers.get("allow")], [405, "DELETE"]);
    await get.body?.cancel();
  }));

Deno.test("silences made by a key have its name on record, and a viewer may make none", () =>
  withApp(async ({ app, store }) => {
    const call = async (role: "viewer" | "operator", path: string, init: RequestInit = {}) => {
      const { secret } = await createApiKey(store, { name: `${role}-${path.length}`, role });
      await app.refresh();
      return await app.request(path, { ...init, headers: { "x-api-key": secret } });
    };
    const post = (body: unknown) => ({ method: "POST", body: JSON.stringify(body) });
    const body = { matchers: ["severity=critical"], for: "1h" };
    const refused = await call("viewer", "/alerts/silences", post(body));
    assertEquals([refused.status, (await refused.json()).error.code], [403, "role_too_low"]);
    const made = await call("operator", "/alerts/silences", post(body));
    assertEquals((await made.json()).created_by, "operator-16");
    const rows = await store.query(
      "select actor from audit where action = 'silence.created'",
    );
    assertEquals(rows, [{ actor: "operator-16" }]);
    const shown = await call("viewer", "/alerts");
    assertEquals((await shown.json()).silences.length, 1);
  }));

Deno.test("GET /api/v1/alerts gives pending and firing series in Prometheus' form", () =>
  withApp(async ({ store, get }) => {
    await evaluate(store);
    const { status, data } = await get("/api/v1/alerts") as Json;
    assertEquals(status, "success");
    assertEquals(
      data.alerts.map(({ activeAt, ...rest }: Json) => [typeof activeAt, rest]).slice(1),
      [
        ["string", {
          labels: { alertname: "hot", subject: "P-135", team: "logs", severity: "critical" },
          annotations: {
            summary: "hot happened",
            runbook_url: "https://example.com/hot",
            description: "P-135 is hot",
          },
          state: "firing",
          value: "NaN",
        }],
        ["string", {
          labels: { alertname: "slow", severity: "warning" },
          annotations: { summary: "slow happened", description: "ms = 7" },
          state: "pending",
          value: "7",
        }],
      ],
    );
  }));

Deno.test("GET /api/v1/rules gives every alert with its query, clocks, health and alerts, grouped by schedule", () =>
  withApp(async ({ store, get }) => {
    await evaluate(store);
    const { data: { groups } } = await get("/api/v1/rules") as Json;
    assertEquals(groups.map(({ name, file, interval }: Json) => [name, file, interval]), [
      ["*/15 * * * * UTC", "rocks", 900],
      ["*/5 * * * * UTC", "rocks", 300],
      ["paused", "rocks", 0],
    ]);
    const rules = groups.flatMap((group: Json) => group.rules);
    assertEquals(
      rules.map(({ name, state, health, alerts }: Json) => [name, state, health, alerts.length]),
      [
        ["hot", "firing", "ok", 2],
        ["calm", "inactive", "ok", 0],
        ["broken", "inactive", "err", 0],
        ["slow", "pending", "ok", 1],
        ["unseen", "inactive", "unknown", 0],
      ],
    );
    const { duration, keepFiringFor, query, type, labels } = rules[3];
    assertEquals([duration, keepFiringFor, query, type], [600, 60, "select 7 as ms", "alerting"]);
    assertEquals(labels, { severity: "warning" });
    assertStringIncludes(rules[2].lastError, "nowhere");
    assertEquals(rules[4].lastEvaluation, "0001-01-01T00:00:00Z");
  }));

Deno.test("GET /api/v1/rules filters as Prometheus does, and refuses in its form", () =>
  withApp(async ({ store, app, get }) => {
    await evaluate(store);
    const names = async (query: string) => {
      const { data: { groups } } = await get(`/api/v1/rules?${query}`) as Json;
      return groups.flatMap((group: Json) => group.rules.map(({ name }: Json) => name));
    };
    assertEquals(await names("rule_name[]=hot&rule_name[]=slow"), ["hot", "slow"]);
    assertEquals(await names("rule_group[]=paused"), ["unseen"]);
    assertEquals(await names("file[]=other"), []);
    assertEquals(await names("type=record"), []);
    const { data } = await get("/api/v1/rules?type=alert&exclude_alerts=true") as Json;
    assert(data.groups.every(({ rules }: Json) => rules.every((r: Json) => r.alerts.length === 0)));
    for (const query of ["type=alerting", "exclude_alerts=maybe"]) {
      const response = await app.request(`/api/v1/rules?${query}`);
      const { status, errorType, error } = await response.json();
      assertEquals([response.status, status, errorType], [400, "error", "bad_data"]);
      assertStringIncludes(error, "Cannot read the query");
    }
  }));

Deno.test("GET /alerts and its like are empty while there is no version to look at", async () => {
  await using store = await openStore(":memory:");
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const get = async (path: string) => await (await app.request(path)).json();
  const { model, version, alerts } = await get("/alerts");
  assertEquals([model, version, alerts], [null, null, []]);
  assertEquals((await get("/api/v1/alerts")).data, { alerts: [] });
  assertEquals((await get("/api/v1/rules")).data, { groups: [] });
  assertEquals((await get("/monitors")).columns, []);
});

Deno.test("GET /alerts says of a memory that cannot be read that it is damaged, and of the others what they are", () =>
  withApp(async ({ store, get }) => {
    await evaluate(store);
    await store.query("update core.alert_states set memory = '{' where alert = 'hot'");
    const { alerts } = await get("/alerts") as Json;
    assertEquals([alerts[0].state, alerts[0].reason], [
      "error",
      "what it remembered cannot be read",
    ]);
    assertEquals(alerts[2].state, "ok");
  }));
