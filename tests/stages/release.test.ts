import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { artifactStep, readArtifact } from "../../runtime/artifacts.ts";
import {
  currentVersion,
  loadModel,
  registerVersion,
} from "../../runtime/registry/model_registry.ts";
import { deployment } from "../../stages/deployment.ts";
import { evaluation } from "../../stages/evaluation.ts";
import { features } from "../../stages/features.ts";
import { monitoring, type MonitoringState } from "../../stages/monitoring.ts";
import { type Registered, registry } from "../../stages/registry.ts";
import { release } from "../../stages/release.ts";
import { training } from "../../stages/training.ts";
import { ks } from "../../plugins/drift/ks.ts";
import { psi } from "../../plugins/drift/psi.ts";
import { parseAlert } from "../../plugins/alerts/load.ts";
import { rule } from "../../judges/rule.ts";
import { decideOn } from "../../runtime/registry/approvals.ts";
import { EvidenceError } from "../../runtime/registry/evidence.ts";
import { createApp } from "../../server.ts";
import { ServingParams } from "../../serving/params.ts";
import type { TestContext } from "../stage_context.ts";
import { tamperings } from "../tampering.ts";
import { type TableOptions, withSilver } from "./fixture.ts";

/** Trains, evaluates and registers a small model. */
function withRegistered(
  options: TableOptions,
  action: (context: TestContext, version: Registered) => Promise<void>,
): Promise<void> {
  return withSilver({ isOrdered: true, ...options }, async (context, silver) => {
    const table = await features.run(silver, features.params.parse({}), context);
    const model = await training.run(
      table,
      training.params.parse({ params: { rounds: 10, leaves: 6 } }),
      context,
    );
    const report = await evaluation.run(
      { model, table },
      evaluation.params.parse({ baselines: ["prior"], replicates: 100 }),
      context,
    );
    await action(context, await registry.run({ model, report }, {}, context));
  });
}

const deploy = (version: Registered, context: TestContext) =>
  deployment.run(version, deployment.params.parse({}), context);

const quiet: MonitoringState = { version: 1, scored: [], drift: [], alerts: [], judges: [] };

Deno.test("registry() gives one version for the same model and report, and the next for another", () =>
  withRegistered({}, async (context, version) => {
    assertEquals(version.version, 1);
    const rows = await context.store.query(
      "select json_keys(report->'profiles') as profiles, report->>'$.parity.flips' as flips from core.model_versions",
    );
    assertEquals(rows, [{ profiles: ["busy", "calm", "hot"], flips: "0" }]);
    assert(await registry.isCurrent!(version, {}, context));
  }));

Deno.test("deployment() moves the alias after the golden batch and tells the version before", () =>
  withRegistered({}, async (context, version) => {
    const first = await deploy(version, context);
    assertEquals([first.alias, first.previous], ["challenger", null]);
    assertEquals(await currentVersion(context.store, "test", "challenger"), 1);
    assert(await deployment.isCurrent!(first, deployment.params.parse({}), context));
  }));

Deno.test("deployment() moves nothing when a byte of the model has changed", () =>
  withRegistered({}, async (context, version) => {
    await context.store.query("update core.artifacts set content = 'x'::blob where sha256 = ?", [
      version.artifact,
    ]);
    await assertRejects(() => deploy(version, context), Error, "its content now hashes to");
    assertEquals(await currentVersion(context.store, "test", "challenger"), null);
  }));

Deno.test("deployment() moves nothing when the golden batch answers otherwise", () =>
  withRegistered({}, async (context, version) => {
    const batch = JSON.parse(
      new TextDecoder().decode(await readArtifact(context.store, version.golden)),
    );
    batch.probabilities[3][1] += 0.01;
    const altered = await artifactStep(
      new TextEncoder().encode(JSON.stringify(batch)),
      "application/json",
    );
    await context.store.transaction([altered.step]);
    const run = () => deploy({ ...version, golden: altered.sha256 }, context);
    await assertRejects(run, Error, "golden row 3 answers");
    assertEquals(await currentVersion(context.store, "test", "challenger"), null);
  }));

Deno.test("release() promotes with reasons when every check passes, and says so in the history", () =>
  withRegistered({}, async (context, version) => {
    const outcome = await release.run(
      { version, state: quiet },
      release.params.parse({}),
      context,
    );
    assertEquals([outcome.isPassed, outcome.isPromoted, outcome.previous], [true, true, null]);
    assertEquals(await currentVersion(context.store, "test", "production"), 1);
    const [{ reason }] = await context.store.query<{ reason: string }>(
      "select reason from alias_history where alias = 'production'",
    );
    assertStringIncludes(reason, "log-loss");
    assert(await release.isCurrent!(outcome, release.params.parse({}), context));
  }));

for (
  const [name, state, params, reason] of [
    [
      "an alert of blocking severity fires",
      { alerts: [{ alert: "x", severity: "critical", state: "firing", findingCount: 1 }] },
      {},
      "alert x fires",
    ],
    [
      "an alert of blocking severity cannot be evaluated",
      { alerts: [{ alert: "x", severity: "critical", state: "error", findingCount: 0 }] },
      {},
      "alert x cannot be evaluated",
    ],
    ["the score is below the minimum", {}, { minMacroF1: 0.999 }, "against 0.999"],
  ] as const
) {
  Deno.test(`release() moves no alias and gives the reason when ${name}`, () =>
    withRegistered({}, async (context, version) => {
      const outcome = await release.run(
        { version, state: { ...quiet, ...state } as MonitoringState },
        release.params.parse(params),
        context,
      );
      assertEquals([outcome.isPassed, outcome.isPromoted], [false, false]);
      assertEquals(await currentVersion(context.store, "test", "production"), null);
      assertStringIncludes(release.describe!(outcome), reason);
      assertEquals(context.findings.at(-1)?.severity, "warning");
    }));
}

Deno.test("release() fails a model that a baseline is ahead of, and names the better trainer", () =>
  withRegistered({}, async (context, version) => {
    const [prior] = version.report.baselines;
    // Gates read what is recorded, so that another report is another version.
    const against = async (low: number, high: number) => {
      const report = {
        ...version.report,
        baselines: [prior, {
          ...prior,
          trainer: "logistic",
          difference: { ...prior.difference, logLoss: { difference: 0.1, low, high } },
        }],
      };
      const bytes = await loadModel(context.store, version);
      const made = await registerVersion(context.store, { bytes, report, runId: "run-test" });
      return { ...version, ...made, report };
    };
    const decide = async (low: number, high: number) =>
      await release.run(
        { version: await against(low, high), state: quiet },
        release.params.parse({ promote: false }),
        context,
      );
    assertEquals((await decide(-0.05, 0.2)).isPassed, true);
    const behind = await decide(0.05, 0.2);
    assertEquals(behind.isPassed, false);
    assertEquals(behind.checks.find((check) => !check.isPassed)?.betterTrainer, "logistic");
    const must = release.params.parse({ promote: false, mustBeat: ["logistic"] });
    const outcome = await release.run(
      { version: await against(-0.05, 0.2), state: quiet },
      must,
      context,
    );
    assertEquals(outcome.isPassed, false);
  }));

Deno.test("release() lets a firing warning pass and only decides when promote is off", () =>
  withRegistered({}, async (context, version) => {
    const alerts = [
      { alert: "x", severity: "warning", state: "firing", findingCount: 1 } as const,
    ];
    const outcome = await release.run(
      { version, state: { ...quiet, alerts } },
      release.params.parse({ promote: false }),
      context,
    );
    assertEquals([outcome.isPassed, outcome.isPromoted], [true, false]);
    assertEquals(await currentVersion(context.store, "test", "production"), null);
  }));

Deno.test("release() keeps its decision as a row, and decides anew when somebody has approved since", () =>
  withRegistered({}, async (context, version) => {
    const params = release.params.parse({ approvals: { count: 1 }, mustBeat: ["prior"] });
    const run = () => release.run({ version, state: quiet }, params, context);
    const refused = await run();
    assertEquals([refused.isPassed, refused.isPromoted], [false, false]);
    assert(await release.isCurrent!(refused, params, context));
    await decideOn(context.store, version, { decision: "approved", by: "bob", role: "operator" });
    assertEquals(await release.isCurrent!(refused, params, context), false);
    const outcome = await run();
    assertEquals([outcome.isPassed, outcome.isPromoted], [true, true]);
    assert(await release.isCurrent!(outcome, params, context));
    const rows = await context.store.query(
      "select alias, environment, role, is_passed, is_forced, is_promoted from promotions",
    );
    const row = { alias: "production", environment: "dev", role: null, is_forced: false };
    assertEquals(rows, [
      { ...row, is_passed: false, is_promoted: false },
      { ...row, is_passed: true, is_promoted: true },
    ]);
  }));

Deno.test("release() runs gates in SQL, and fails a model on each row", () =>
  withRegistered({}, async (context, version) => {
    const decide = (sql: string) =>
      release.run(
        { version, state: quiet },
        release.params.parse({ gates: [{ name: "no_noise", sql, message: "noise drifts" }] }),
        context,
      );
    assertEquals((await decide("select 1 from drift where is_drifted")).isPassed, true);
    const outcome = await decide("select 1 from models");
    assertEquals(outcome.isPassed, false);
    assertStringIncludes(release.describe!(outcome), "no_noise: noise drifts (1 finding)");
  }));

for (const { name, tamper, message } of tamperings.filter(({ name }) => !/another/.test(name))) {
  Deno.test(`deployment() and release() refuse a version when ${name}`, () =>
    withRegistered({}, async (context, version) => {
      await tamper(context.store, version);
      await assertRejects(() => deploy(version, context), EvidenceError, message);
      const run = () => release.run({ version, state: quiet }, release.params.parse({}), context);
      await assertRejects(run, EvidenceError, message);
      assertEquals(await context.store.query("from aliases"), []);
      assertEquals(await context.store.query("from promotions"), []);
    }));
}

/** Runs monitoring against the real server within this process. */
async function monitor(context: TestContext, version: Registered, params: unknown) {
  for (const plugin of [ks, psi, rule]) context.plugins.add(plugin);
  const app = await createApp({
    store: context.store,
    model: "test",
    aliases: ["challenger"],
    serving: ServingParams.parse({}),
  });
  try {
    const request = (path: string, init?: RequestInit) =>
      Promise.resolve(app.fetch(new Request(`http://localhost${path}`, init)));
    return await monitoring.run(
      await deploy(version, context),
      monitoring.params.parse({
        judging: { judges: ["rule"], samplingRate: 0.5 },
        ...params as object,
      }),
      { ...context, request },
    );
  } finally {
    await app.close();
  }
}

Deno.test("monitoring() scores the stream through the server and sees a shifted feature drift", () =>
  withRegistered({ production: { rows: 300, shift: 3 } }, async (context, version) => {
    context.plugins.add(
      parseAlert(
        "busy",
        "-- severity: info\n-- summary: any request\nselect 1 as one from requests limit 1",
      ),
    );
    const state = await monitor(context, version, { batchRows: 128 });
    assertEquals(state.scored, [{ slice: "new", rows: 300 }]);
    const drifted = state.drift.filter(({ isDrifted }) => isDrifted).map((d) =>
      `${d.feature} ${d.method}`
    );
    assertEquals(drifted, ["heat ks", "heat psi"]);
    assertEquals(state.alerts.map(({ alert, state }) => [alert, state]), [["busy", "firing"]]);
    const [counts] = await context.store.query(
      `select (select count(*) from requests) as requests, (select count(*) from inferences where slice = 'new') as rows,
        (select count(*) from drift) as drift, (select count(*) from judgements) as judged`,
    );
    assertEquals([counts.requests, counts.rows, counts.drift], [3, 300, 6]);
    assertEquals(counts.judged, state.judges[0].scored);
    assert(state.judges[0].scored > 100 && state.judges[0].scored < 200);
  }));

Deno.test("monitoring() says that there is nothing to score when no production data is named", () =>
  withRegistered({}, async (context, version) => {
    const state = await monitor(context, version, {});
    assertEquals([state.scored, state.drift], [[], []]);
    assertEquals(context.findings.find((f) => f.check === "production_stream")?.severity, "info");
  }));

Deno.test("monitoring() profiles closed windows against the training rows, and reports what failed", () =>
  withRegistered({}, async (context, version) => {
    await context.store.query(
      `insert into core.inferences by name select 'r' as request_id, position as row,
         timestamp '2026-01-05' + to_seconds(position) as request_time, 'test' as model,
         1 as version, features, 'calm' as label, 0.8 as confidence, probabilities,
         group_name as slice
       from core.held_out_predictions`,
    );
    const metrics = [{ name: "bad", kind: "aggregate", sql: "sum(nothing)" }];
    await monitor(context, version, { profile: { metrics } });
    const rows = await context.store.query(
      `select column_name, is_drifted, reference_count = current_count as is_same
       from drift_metrics where drift_type = 'BASELINE' and column_kind in ('feature', 'prediction')
         and slice_key is null order by column_kind, column_name`,
    );
    assertEquals(rows.map(({ is_same }) => is_same), rows.map(() => true));
    assertEquals(rows.map(({ is_drifted }) => is_drifted), [
      ...rows.slice(1).map(() => false),
      true,
    ]);
    const finding = context.findings.find(({ check }) => check === "profile");
    assertStringIncludes(finding!.message, 'metric "bad"');
    const params = monitoring.params.parse({ profile: { methods: ["hellinge"] } });
    assertThrows(() => monitoring.validate!(params, context.plugins), Error, "hellinge");
  }));
