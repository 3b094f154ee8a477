import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createApiKey, type Role } from "../../runtime/api_keys.ts";
import { GateParams } from "../../runtime/registry/gate_params.ts";
import { currentVersion, setAlias } from "../../runtime/registry/model_registry.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { tagModel } from "../../runtime/tracking/registry.ts";
import { createApp, type GeophoneApp } from "../../server.ts";
import { registerTestModel, testRecord } from "../model_fixture.ts";
import { makeReport } from "../report_fixture.ts";
import { flipArtifact, tamperings } from "../tampering.ts";

interface Served {
  readonly app: GeophoneApp;
  readonly store: Store;
  /** Asks as JSON; a body makes it a POST. */
  ask(path: string, body?: unknown, key?: string): Promise<{ status: number; json: Answer }>;
  key(name: string, role: Role): Promise<string>;
}

// deno-lint-ignore no-explicit-any
type Answer = any;

async function withServer(
  action: (served: Served) => Promise<void>,
  gates: unknown = {},
): Promise<void> {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { report: makeReport() });
  await registerTestModel(store, { seed: 2, alias: "challenger", report: makeReport() });
  await using app = await createApp({
    store,
    model: "rocks",
    quiet: true,
    environment: "staging",
    gates: GateParams.parse(gates),
  });
  await action({
    app,
    store,
    async ask(path, body, key) {
      const response = await app.request(path, {
        ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
        headers: key === undefined ? {} : { "x-api-key": key },
      });
      return { status: response.status, json: await response.json() };
    },
    async key(name, role) {
      const { secret } = await createApiKey(store, { name, role });
      await app.refresh();
      return secret;
    },
  });
}

const V2 = "/models/rocks/versions/2";

Deno.test("GET /models finds by part of name, tag, class and trainer, and by alias", () =>
  withServer(async ({ store, ask }) => {
    await registerTestModel(store, { model: "sands", alias: null });
    await tagModel(store, { name: "sands" }, { key: "area", value: "North Sea" }, { by: "ada" });
    await tagModel(store, { name: "rocks", version: 2 }, { key: "owner", value: "bob" }, {
      by: "ada",
    });
    const find = async (query: string) =>
      (await ask(`/models${query}`)).json.models.map((row: Answer) =>
        `${row.model} ${row.version}`
      );
    const all = ["rocks 2", "rocks 1", "sands 1"];
    assertEquals(await find(""), all);
    assertEquals(await find("?search=SAN"), all, "a class of all is sandstone");
    assertEquals(await find("?search=rock"), ["rocks 2", "rocks 1"]);
    assertEquals(await find("?search=north"), ["sands 1"]);
    assertEquals(await find("?search=owner%3Dbo"), ["rocks 2"]);
    assertEquals(await find("?search=fixture"), ["rocks 2", "rocks 1"]);
    assertEquals(await find("?search=100%25_'"), []);
    assertEquals(await find("?alias=challenger"), ["rocks 2"]);
    assertEquals(await find("?alias=@production&search=rocks"), ["rocks 1"]);
    assertEquals(await find("?alias=nobody"), []);
    const wrong = await ask("/models?serch=a");
    assertEquals([wrong.status, wrong.json.error.code], [400, "invalid_query"]);
    assertStringIncludes(wrong.json.error.message, 'did you mean "search"?');
  }));

Deno.test("a version is looked at, approved, promoted and served over HTTP, each with its name on record", () =>
  withServer(async ({ app, store, ask, key }) => {
    const admin = await key("chief", "admin");
    const operator = await key("bob", "operator");
    const viewer = await key("eye", "viewer");
    const refused = await ask(`${V2}/promote`, { alias: "production", reason: "better" }, admin);
    assertEquals([refused.status, refused.json.error.code], [422, "invalid_input"]);
    assertMatch(
      refused.json.error.message,
      /^Cannot promote "rocks" version 2 to production: 0 of 1/,
    );
    assertEquals(refused.json.error.details.map((each: Answer) => each.check), ["approvals"]);
    assertEquals(await currentVersion(store, "rocks", "production"), 1);

    assertEquals((await ask(`${V2}/approve`, {}, viewer)).status, 403);
    const approved = await ask(`${V2}/approve`, { reason: "looked" }, operator);
    assertEquals(
      [approved.status, approved.json.decision, approved.json.decided_by, approved.json.role],
      [200, "approved", "bob", "operator"],
    );
    const promoted = await ask(`${V2}/promote`, { alias: "production", reason: "better" }, admin);
    assertEquals(promoted.status, 200, JSON.stringify(promoted.json));
    assertEquals(
      [promoted.json.from_version, promoted.json.is_forced, promoted.json.environment],
      [1, false, "staging"],
    );
    const { json } = await ask("/model_info", undefined, viewer);
    assertEquals([json.version, json.alias], [2, "production"]);

    const about = (await ask("/models/rocks/versions/@production", undefined, viewer)).json;
    assertEquals([about.version, about.aliases], [2, ["challenger", "production"]]);
    assertEquals(about.report.scores.macroF1.value, 0.8);
    assertEquals(about.approvals.map((each: Answer) => [each.approver, each.reason]), [
      ["bob", "looked"],
    ]);
    assertEquals(
      about.promotions.map((each: Answer) => [each.is_promoted, each.decided_by, each.role]),
      [[false, "chief", "admin"], [true, "chief", "admin"]],
    );
    assertEquals(about.evidence_error, null);
    const card = await app.request(about.card, { headers: { "x-api-key": viewer } });
    assertEquals(
      [card.status, card.headers.get("content-type")],
      [200, "text/markdown; charset=utf-8"],
    );
    assertStringIncludes(await card.text(), "# Model card: rocks version 2");
    const rejected = await ask(`${V2}/reject`, { reason: "worse on P-135" }, operator);
    assertEquals(rejected.json.decision, "rejected");
  }, { approvals: { count: 1 } }));

Deno.test("an administrator forces a promotion with a reason, and the approvers are those of the config", () =>
  withServer(async ({ ask, key }) => {
    const admin = await key("chief", "admin");
    const operator = await key("bob", "operator");
    const body = { alias: "production", reason: "the show is tomorrow", force: true };
    assertEquals((await ask(`${V2}/promote`, body, operator)).status, 403);
    const low = await ask(`${V2}/approve`, {}, operator);
    assertEquals([low.status, low.json.error.code], [403, "role_too_low"]);
    assertEquals((await ask(`${V2}/approve`, {}, admin)).status, 200);
    const forced = await ask(`${V2}/promote`, body, admin);
    assertEquals([forced.status, forced.json.is_passed, forced.json.is_forced], [200, false, true]);
  }, { minMacroF1: 0.99, approvals: { count: 1, role: "admin" } }));

const bad: readonly (readonly [path: string, body: unknown, status: number, part: string])[] = [
  ["/models/rocks/versions/9", undefined, 404, 'Cannot find "9" of model "rocks"'],
  ["/models/stones/versions/1", undefined, 404, 'Cannot find model "stones"'],
  ["/models/rocks/versions/@nobody/card", undefined, 404, 'Cannot find "@nobody"'],
  ["/models/%E0%A4%A/versions/1", undefined, 400, "its percent signs encode no text"],
  [`${V2}/promote`, {}, 422, "Cannot read the body: alias"],
  [`${V2}/promote`, { alias: "production" }, 422, "Cannot read the body: reason"],
  [`${V2}/promote`, { alias: "production", reason: "" }, 422, "Cannot read the body: reason"],
  [`${V2}/promote`, { alias: "v3", reason: "x" }, 422, 'Cannot set alias "v3"'],
  [`${V2}/promote`, { alias: "a", reason: "x", froce: true }, 422, "froce"],
  [`${V2}/promote`, [1], 422, "Cannot read the body"],
  [`${V2}/approve`, { reason: 1 }, 422, "Cannot read the body: reason"],
  [`${V2}/reject`, { by: "somebody else" }, 422, "by"],
  ["/models/rocks/versions/9/approve", {}, 404, 'Cannot find "9"'],
];

Deno.test("the registry routes say what is wrong with a request, and change nothing", () =>
  withServer(async ({ store, app, ask }) => {
    for (const [path, body, status, part] of bad) {
      const answer = await ask(path, body);
      assertEquals(answer.status, status, `${path} ${JSON.stringify(answer.json)}`);
      assertStringIncludes(answer.json.error.message, part);
    }
    const broken = await app.request(`${V2}/promote`, { method: "POST", body: "{" });
    assertEquals([broken.status, (await broken.json()).error.code], [400, "invalid_json"]);
    const get = await app.request(`${V2}/promote`);
    assertEquals([get.status, get.headers.get("allow")], [405, "POST"]);
    await get.body?.cancel();
    assertEquals(await store.query("from promotions"), []);
    assertEquals(await store.query("from approvals"), []);
  }));

for (
  const { name, tamper, message } of tamperings.filter(({ name }) => !/golden|entry/.test(name))
) {
  Deno.test(`a server keeps its version, and says why, when ${name} in the next one`, () =>
    withServer(async ({ app, store, ask, key }) => {
      const chief = await key("chief", "admin");
      const version = await registerTestModel(store, {
        seed: 3,
        alias: "next",
        report: makeReport(),
      });
      await tamper(store, version);
      const V3 = "/models/rocks/versions/3";
      const promoted = await ask(`${V3}/promote`, { alias: "production", reason: "better" }, chief);
      assertEquals([promoted.status, promoted.json.error.code], [500, "model_failed"]);
      assertStringIncludes(promoted.json.error.message, message);
      const approved = await ask(`${V3}/approve`, {}, chief);
      assertEquals(approved.status, 500);
      // Somebody who writes into the store itself gets no further.
      await store.query(
        `insert into core.alias_log (model, alias, from_version, to_version, reason, changed_at)
         values ('rocks', 'production', 1, 3, 'by hand', now())`,
      );
      await app.refresh();
      const ready = (await ask("/ready")).json;
      assertEquals([ready.status, ready.model.version], ["ready", 1]);
      assertEquals(ready.load_failures.map((each: Answer) => [each.alias, each.version]), [
        ["production", 3],
      ]);
      assertStringIncludes(ready.load_failures[0].message, message);
      const predicted = await ask("/predict", { records: [testRecord(1)] }, chief);
      assertEquals([predicted.status, predicted.json.version], [200, 1]);
      const other = await ask("/predict?version=3", { records: [testRecord(1)] }, chief);
      assertEquals([other.status, other.json.error.code], [500, "model_failed"]);
      const about = (await ask(V3, undefined, chief)).json;
      assertStringIncludes(about.evidence_error, message);
      assertEquals(about.report, null);
      assertEquals((await ask(`${V3}/card`, undefined, chief)).status, 500);
    }));
}

Deno.test("setAlias() of a version whose evidence is gone is refused, and the server stays", () =>
  withServer(async ({ app, store, ask }) => {
    const version = await registerTestModel(store, { seed: 4, alias: null });
    await flipArtifact(store, version.evidenceHash);
    const error = await setAlias(store, {
      model: "rocks",
      alias: "production",
      version: 3,
      reason: "x",
    }).then(() => null, (error) => error);
    assert(error?.message.includes("its evidence changed"), String(error));
    await app.refresh();
    assertEquals((await ask("/model_info")).json.version, 1);
  }));
