import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import {
  type ApprovalDecision,
  decideOn,
  listApprovals,
} from "../../../runtime/registry/approvals.ts";
import { readArtifact } from "../../../runtime/artifacts.ts";
import { verifyAudit } from "../../../runtime/audit.ts";
import { UsageError } from "../../../runtime/errors.ts";
import { canonicalJson, EvidenceError } from "../../../runtime/registry/evidence.ts";
import { GateParams } from "../../../runtime/registry/gate_params.ts";
import {
  currentVersion,
  type ModelVersion,
  setAlias,
} from "../../../runtime/registry/model_registry.ts";
import {
  decidePromotion,
  listPromotions,
  promote,
  type PromotionReason,
  recordPromotion,
} from "../../../runtime/registry/promotion.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { deleteVersion } from "../../../runtime/tracking/registry.ts";
import { registerTestModel } from "../../model_fixture.ts";
import { makeReport, type ReportOptions } from "../../report_fixture.ts";
import { flipArtifact, tamperings } from "../../tampering.ts";

const ada: PromotionReason = { by: "ada", role: "admin", reason: "better" };

/** Registers a version and asks the gates about it. */
async function withVersion(
  report: ReportOptions,
  action: (tools: {
    store: Store;
    version: ModelVersion;
    ask(params?: unknown, of?: ModelVersion): ReturnType<typeof decidePromotion>;
    go(params?: unknown, reason?: Partial<PromotionReason>): ReturnType<typeof promote>;
  }) => Promise<void>,
): Promise<void> {
  await using store = await openStore(":memory:");
  const version = await registerTestModel(store, { alias: null, report: makeReport(report) });
  const question = (params: unknown = {}, of = version) => ({
    version: of,
    alias: "production",
    environment: "dev",
    params: GateParams.parse(params),
  });
  await action({
    store,
    version,
    ask: (params, of) => decidePromotion(store, question(params, of)),
    go: (params, reason) => promote(store, question(params), { ...ada, ...reason }),
  });
}

/** The checks that fail, by name. */
const failed = ({ checks }: { checks: Awaited<ReturnType<typeof promote>>["checks"] }) =>
  checks.filter((check) => !check.isPassed).map(({ check, state }) => `${check}: ${state}`);

Deno.test("promote() moves the alias with numbers behind every check, a row and its evidence", () =>
  withVersion({}, async ({ store, version, go }) => {
    const outcome = await go({ minimums: { accuracy: 0.79 } });
    assertEquals([outcome.isPassed, outcome.isPromoted, outcome.isForced], [true, true, false]);
    assertEquals(outcome.checks.map(({ check, state }) => [check, state]), [
      ["score", "passed"],
      ["score_accuracy", "passed"],
      ["beats_prior", "passed"],
      ["no_regression", "no data"],
      ["parity", "passed"],
      ["drift", "no data"],
      ["judges", "no data"],
      ["alerts", "no data"],
      ["approvals", "passed"],
    ]);
    const accuracy = outcome.checks.find(({ check }) => check === "score_accuracy");
    assertEquals([accuracy?.value, accuracy?.limit], [0.85 - 0.05, 0.79]);
    assertEquals(await currentVersion(store, "rocks", "production"), 1);
    const [row] = await store.query("from promotions");
    assertEquals(
      [row.alias, row.from_version, row.decided_by, row.role, row.is_passed, row.evidence_hash],
      ["production", null, "ada", "admin", true, version.evidenceHash],
    );
    const bytes = await readArtifact(store, row.evidence as string);
    const document = JSON.parse(new TextDecoder().decode(bytes));
    assertEquals(new TextDecoder().decode(bytes), canonicalJson(document));
    assertEquals(
      [document.evidenceHash, document.artifact, document.previous],
      [version.evidenceHash, version.artifact, null],
    );
    assertEquals(document.checks, JSON.parse(row.checks as string));
    const [entry] = await store.query(
      "select actor, subject from audit where action = 'model_version.promoted'",
    );
    assertEquals(entry, { actor: "ada", subject: "rocks@production" });
    assertEquals((await verifyAudit(store)).firstBroken, null);
  }));

const refusals:
  readonly (readonly [name: string, report: ReportOptions, params: unknown, failed: string[]])[] = [
    ["a lower bound is below its minimum", {}, { minMacroF1: 0.76 }, ["score: failed"]],
    ["another metric is", {}, { minimums: { rocAuc: 0.92 } }, ["score_rocAuc: failed"]],
    ["there are no scores", { scores: undefined }, {}, ["score: no data"]],
    [
      "the interval against a baseline holds 0",
      { priorDifference: [-0.6, 0.1] },
      {},
      ["beats_prior: failed"],
    ],
    ["a baseline was not compared", {}, { mustBeat: ["prior", "logistic"] }, [
      "beats_logistic: no data",
    ]],
    ["labels flip", { parity: { rows: 9, maxDifference: 0, flips: 1 } }, {}, ["parity: failed"]],
    [
      "probabilities differ",
      { parity: { rows: 9, maxDifference: 2e-5, flips: 0 } },
      {},
      ["parity: failed"],
    ],
    ["parity is required and was not measured", { parity: undefined }, { required: ["parity"] }, [
      "parity: no data",
    ]],
    ["judges, drift and alerts are required and none looked", {}, {
      required: ["judges", "drift", "alerts"],
    }, ["drift: no data", "judges: no data", "alerts: no data"]],
    ["nobody approved", {}, { approvals: { count: 1 } }, ["approvals: failed"]],
  ];

for (const [name, report, params, expected] of refusals) {
  Deno.test(`promote() refuses, moves nothing and keeps a row when ${name}`, () =>
    withVersion(report, async ({ store, go }) => {
      const outcome = await go(params);
      assertEquals(failed(outcome), expected);
      assertEquals([outcome.isPassed, outcome.isPromoted], [false, false]);
      assertEquals(await currentVersion(store, "rocks", "production"), null);
      const [row] = await store.query("select is_passed, is_promoted, reason from promotions");
      assertEquals(row, { is_passed: false, is_promoted: false, reason: "better" });
      const actions = await store.query("select action from audit where action like '%promot%'");
      assertEquals(actions, [{ action: "model_version.promotion_refused" }]);
    }));
}

Deno.test("promote() compares with what the alias serves, whatever else there is", () =>
  withVersion({ macroF1: 0.8 }, async ({ store, ask }) => {
    await setAlias(store, { model: "rocks", alias: "production", version: 1, reason: "first" });
    const worse = await registerTestModel(store, {
      seed: 2,
      alias: null,
      report: makeReport({ macroF1: 0.75 }),
    });
    assertEquals(failed(await ask({}, worse)), ["no_regression: failed"]);
    assertEquals(failed(await ask({ maxRegression: 0.06 }, worse)), []);
    // What it is to be compared with is not what was registered: nothing is known of it.
    await flipArtifact(store, (await listVersions(store))[0].artifact);
    const unknown = await ask({}, worse);
    assertEquals(failed(unknown), ["no_regression: no data"]);
    assertStringIncludes(unknown.checks[2].reason, "its model bytes changed");
  }));

async function listVersions(store: Store) {
  return await store.query<{ artifact: string }>("select artifact from models order by version");
}

Deno.test("promote() asks drift of the latest monitoring, judges and alerts of this version alone", () =>
  withVersion({}, async ({ store, ask }) => {
    const drift = (run: string, feature: string, is: boolean | null, at: number, version = 1) => ({
      sql: `insert into core.drift values (?, 'rocks', ?, 'a', ?, 'ks', 0.5, null, ?, 9, 9, ?)`,
      params: [run, version, feature, is, new Date(at)],
    });
    await store.transaction([
      drift("run-1", "GR", false, 1_000),
      drift("run-2", "GR", true, 2_000),
      drift("run-2", "GR", false, 2_000),
      drift("run-2", "RHOB", false, 2_000),
      drift("run-2", "NPHI", null, 2_000),
      drift("run-3", "RHOB", true, 3_000, 2),
    ]);
    const half = await ask({ maxDriftShare: 0.5 });
    assertEquals(failed(half), []);
    const found = half.checks.find(({ check }) => check === "drift");
    assertEquals([found?.value, found?.reason], [0.5, "1 of 2 features drift, 50 % may"]);
    assertEquals(failed(await ask({ maxDriftShare: 0.4 })), ["drift: failed"]);

    const judged = Array.from({ length: 200 }, (_, i) => i);
    await store.transaction(judged.flatMap((i) => [
      {
        sql:
          `insert into core.inferences (request_id, row, request_time, model, version, features, label,
            confidence, probabilities) values (?, 0, ?, 'rocks', ?, [1], 'sandstone', 0.9, [0.9])`,
        params: [`r${i}`, new Date(0), i < 100 ? 1 : 2],
      },
      {
        sql:
          `insert into core.judgements (request_id, row, judge, judge_version, status, kind, score, rationale,
            inclusion_probability, tokens_in, tokens_out, ms, created_at) values
          (?, 0, 'rule', '1', 'scored', null, ?, null, 1, null, null, 1, ?)`,
        // Those of version 2 are worse; the first of version 1 was judged again.
        params: [`r${i}`, i < 100 ? 0.9 : 0.1, new Date(i)],
      },
    ]));
    await store.query(
      `insert into core.judgements (request_id, row, judge, judge_version, status, kind, score, rationale,
            inclusion_probability, tokens_in, tokens_out, ms, created_at) values
        ('r0', 0, 'rule', '1', 'error', 'judge', null, 'x', 1, null, null, 1, now())`,
    );
    // A judge that nobody has shown to agree with the truth says nothing, and passes nothing required.
    const advisory = (await ask({ minJudgeScore: 0.99 })).checks.find(({ check }) =>
      check === "judge_rule"
    );
    assertEquals([advisory?.state, advisory?.isPassed], ["no data", true]);
    assertMatch(advisory!.reason, /; it is advisory$/);
    assertEquals(failed(await ask({ required: ["judges"] })), ["judge_rule: no data"]);
    await store.query(
      `insert into core.judge_cards by name select 'rule' as judge, '1' as judge_version,
         'rocks' as model, 1 as version, 'labels' as source, 200 as n, 100 as good, 0.3 as kappa_low,
         'a test' as summary, 0 as tokens, 1 as ms, now()::timestamp as created_at`,
    );
    const judge = (await ask({ minJudgeScore: 0.7 })).checks.find(({ check }) =>
      /judge/.test(check)
    );
    assertEquals([judge?.check, judge?.isPassed], ["judge_rule", true]);
    assertMatch(
      judge!.reason,
      /judge rule 0\.900 of 100 predictions, lower bound 0\.7\d\d against/,
    );
    assertEquals(failed(await ask({ minJudgeScore: 0.89 })), ["judge_rule: failed"]);

    const alert = (version: number, state: string) => ({
      sql:
        `insert into core.alert_log (alert, model, version, severity, state, findings, finding_count,
          ms, created_at) values ('busy', 'rocks', ?, 'critical', ?, '[]', 0, 1, ?)`,
      params: [version, state, new Date()],
    });
    await store.transaction([alert(1, "ok"), alert(2, "firing")]);
    assertEquals(failed(await ask()), []);
    await store.transaction([alert(1, "firing")]);
    const firing = await ask();
    assertEquals(failed(firing), ["alerts: failed"]);
    assertEquals(failed(await ask({ blockingSeverity: "never" })), []);
  }));

Deno.test("a gate in SQL sees the version's rows, and each row is a finding", () =>
  withVersion({}, async ({ store, ask }) => {
    await store.query(
      `insert into core.drift values
        ('r', 'rocks', 1, 'a', 'GR', 'ks', 0.5, null, true, 9, 9, now()),
        ('r', 'rocks', 2, 'a', 'NPHI', 'ks', 0.5, null, true, 9, 9, now())`,
    );
    const gate = (sql: string, more: object = {}) => ({ gates: [{ name: "mine", sql, ...more }] });
    const sql = "select feature || ' drifts' as message from drift";
    const own = await ask(gate(sql));
    assertEquals(own.checks.at(-1), {
      check: "mine",
      state: "failed",
      isPassed: false,
      reason: "mine: GR drifts (1 finding)",
      value: 1,
      limit: 0,
    });
    assertStringIncludes(
      (await ask(gate(sql, { message: "no drift at all" }))).checks.at(-1)!.reason,
      "mine: no drift at all (1 finding)",
    );
    assertEquals(failed(await ask(gate("select 1 where false"))), []);
    for (const wrong of ["drop table core.drift", "select * from nowhere", "selec 1", ""]) {
      if (wrong === "") {
        assertEquals(GateParams.safeParse(gate("")).success, false);
        continue;
      }
      const outcome = await ask(gate(wrong));
      assertEquals(failed(outcome), ["mine: failed"]);
      assertStringIncludes(outcome.checks.at(-1)!.reason, "mine cannot be evaluated: Cannot ");
    }
    assertEquals((await store.query("from core.drift")).length, 2);
  }));

Deno.test("promote() goes against the gates when an administrator forces it, on record as forced", () =>
  withVersion({}, async ({ store, go }) => {
    const strict = { minMacroF1: 0.99 };
    for (const role of ["operator", "viewer", null] as const) {
      await assertRejects(
        () => go(strict, { isForced: true, role }),
        UsageError,
        `Cannot force "rocks@production": role ${role ?? "none"} may not`,
      );
    }
    await assertRejects(() => go(strict, { isForced: true, reason: " " }), UsageError, "no reason");
    assertEquals(await store.query("from promotions"), []);
    const outcome = await go(strict, { isForced: true, reason: "the show is tomorrow" });
    assertEquals([outcome.isPassed, outcome.isForced, outcome.isPromoted], [false, true, true]);
    assertEquals(await currentVersion(store, "rocks", "production"), 1);
    const [entry] = await store.query<{ details: string }>(
      "select details from audit where action = 'model_version.promotion_forced'",
    );
    const { reason, failed } = JSON.parse(entry.details);
    assertEquals(reason, "the show is tomorrow");
    assertEquals(failed, ["macro-F1 0.800, lower bound 0.750 against 0.990"]);
    // Nothing was overridden where the gates agree.
    assertEquals((await go({}, { isForced: true })).isForced, false);
  }));

for (
  const { name, tamper, message } of tamperings.filter(({ name }) => !/golden|entry/.test(name))
) {
  Deno.test(`promote() and approvals refuse, even by force, when ${name}`, () =>
    withVersion({}, async ({ store, version, go }) => {
      await tamper(store, version);
      await assertRejects(() => go(), EvidenceError, message);
      await assertRejects(() => go({}, { isForced: true }), EvidenceError, message);
      const approve = () =>
        decideOn(store, version, { decision: "approved", by: "bob", role: "admin" });
      await assertRejects(approve, EvidenceError, message);
      assertEquals(await store.query("from promotions"), []);
      assertEquals(await store.query("from approvals"), []);
      assertEquals(await currentVersion(store, "rocks", "production"), null);
    }));
}

Deno.test("recordPromotion() moves nothing when alias or version has changed since the gates looked", () =>
  withVersion({}, async ({ store, version, ask }) => {
    await registerTestModel(store, { seed: 2, alias: null });
    const decision = await ask();
    await setAlias(store, { model: "rocks", alias: "production", version: 2, reason: "meanwhile" });
    const record = (of = decision) => recordPromotion(store, of, ada);
    await assertRejects(() => record(), Error, "has changed since the gates looked; try again");
    assertEquals(await currentVersion(store, "rocks", "production"), 2);
    const again = await ask({ maxRegression: 1 });
    await deleteVersion(store, { name: "rocks", version: version.version }, { by: "eve" });
    await assertRejects(() => record(again), Error, "has changed since the gates looked");
    assertEquals(await store.query("from promotions"), []);
    assertEquals(
      await store.query("select 1 from core.artifacts where content::varchar like '%promotion%'"),
      [],
    );
  }));

Deno.test("approvals count once a person, for these bytes, of the asked role and by four eyes", () =>
  withVersion({}, async ({ store, version, ask }) => {
    await store.query("update core.model_versions set created_by = 'ada'");
    const say = (by: string | null, decision: ApprovalDecision = "approved", more: object = {}) =>
      decideOn(store, version, { decision, by, role: "operator", ...more });
    const two = { approvals: { count: 2, fourEyes: true } };
    await say("bob");
    await say("bob");
    await say("ada");
    assertEquals(failed(await ask(two)), ["approvals: failed"]);
    assertEquals((await ask(two)).checks.at(-1)?.value, 1);
    await say("eve", "approved", { role: "viewer" });
    assertEquals((await ask(two)).checks.at(-1)?.value, 1);
    await say("eve", "approved", { reason: "looked at P-135" });
    assertEquals(failed(await ask(two)), []);
    assertEquals(failed(await ask({ approvals: { count: 1, role: "admin" } })), [
      "approvals: failed",
    ]);
    assertEquals((await listApprovals(store, version)).map(({ approver }) => approver), [
      "ada",
      "bob",
      "eve",
    ]);
    // A rejection stands until the same person says otherwise.
    await say("bob", "rejected", { reason: "not on this well" });
    const rejected = await ask();
    assertEquals(failed(rejected), ["approvals: failed"]);
    assertEquals(rejected.checks.at(-1)?.reason, "rejected by bob: not on this well");
    await say("bob");
    assertEquals(failed(await ask(two)), []);
    // Another report is another evidence hash: nobody approved that.
    const other = await registerTestModel(store, {
      alias: null,
      report: makeReport({ macroF1: 0.81 }),
    });
    assertEquals(failed(await ask(two, other)), ["approvals: failed"]);
    await store.query("update core.approvals set version = 2");
    assertEquals(await listApprovals(store, other), []);
    const actions = await store.query(
      "select action, count(*) as n from audit where action like '%ed' and subject = 'rocks/1' group by all order by all",
    );
    assertEquals(actions, [
      { action: "model_version.approved", n: 6 },
      { action: "model_version.created", n: 1 },
      { action: "model_version.rejected", n: 1 },
    ]);
  }));

Deno.test("decideOn() refuses when nobody knows who decides or four eyes are two", () =>
  withVersion({}, async ({ store, version, ask }) => {
    const say = (by: string | null) => () =>
      decideOn(store, version, { decision: "approved", by, role: "admin", fourEyes: true });
    await store.query("update core.model_versions set created_by = 'ada'");
    await assertRejects(say("ada"), UsageError, "ada registered it; somebody else has to");
    await assertRejects(say(null), UsageError, "nobody knows who you are");
    await assertRejects(say(""), UsageError, "nobody knows who you are");
    await decideOn(store, version, { decision: "rejected", by: "ada", role: "admin" });
    await say("bob")();
    await store.query("update core.model_versions set created_by = null");
    await assertRejects(say("eve"), UsageError, "nobody knows who registered it");
    const blind = await ask({ approvals: { count: 1, fourEyes: true } });
    assertEquals(failed(blind), ["approvals: failed"]);
  }));

Deno.test("listPromotions() tells a decision whose document has changed", () =>
  withVersion({}, async ({ store, version, go }) => {
    const { evidence } = await go();
    assertEquals((await listPromotions(store, version))[0].evidenceError, null);
    await flipArtifact(store, evidence);
    const [{ evidenceError }] = await listPromotions(store, version);
    assert(evidenceError?.includes("its content now hashes to"), evidenceError ?? "none");
  }));

Deno.test("promote() refuses a name that is none for an alias, before it looks at anything", () =>
  withVersion({}, async ({ store, version }) => {
    for (const alias of ["3", "v3", "", "Prod", "@production"]) {
      await assertRejects(
        () =>
          promote(store, { version, alias, environment: "dev", params: GateParams.parse({}) }, ada),
        UsageError,
        `Cannot set alias "${alias}"`,
      );
    }
    assertEquals(await store.query("from promotions"), []);
  }));
