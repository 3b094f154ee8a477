/**
 * Monitoring: the production stream goes through the real server path, then drift, profiles, alerts and
 * judges look at what the inference table holds.
 *
 * @module
 */
import { z } from "zod";
import { judgeSample, type JudgeSummary, JudgingParams } from "../judges/judging.ts";
import type { Plugin, Plugins, Severity } from "../plugins/plugin.ts";
import { type AlertState, evaluateAlerts, lookAtAlerts } from "../runtime/alerts/engine.ts";
import { refreshEstimatesOf } from "../runtime/estimates/refresh.ts";
import { ProfileParams } from "../runtime/monitors/definition.ts";
import { refreshMonitors } from "../runtime/monitors/refresh.ts";
import { MonitorSamplingParams } from "../runtime/monitors/sampling.ts";
import { quoteIdentifier } from "../runtime/store/sql.ts";
import { type Context, defineStage } from "../runtime/stage.ts";
import type { Deployment } from "./deployment.ts";
import type { Silver } from "./preprocessing.ts";
import { readSilver } from "./rows.ts";

const Params = z.strictObject({
  batchRows: z.int().min(1).max(10_000).default(2_000)
    .describe("records per request of the production stream"),
  drift: z.array(z.string()).default(["ks", "psi"]).describe("drift methods by name"),
  profile: ProfileParams.prefault({}).describe("what is computed of each window of predictions"),
  sampling: MonitorSamplingParams.prefault({})
    .describe(
      "which share of the predictions profiles and estimates look at, and what they may cost",
    ),
  judging: JudgingParams.prefault({}).describe("which predictions are judged, and by whom"),
  alerts: z.array(z.string()).nullable().default(null)
    .describe("alerts by name; null is all of them"),
  sinks: z.array(z.string()).default([])
    .describe("sinks that hear of alerts that name none of their own"),
  schedule: z.enum(["on", "off"]).default("on")
    .describe("whether a server evaluates the alerts when their schedules say so"),
});

/** Drift of one feature of one slice by one method. */
export interface DriftRow {
  readonly slice: string;
  readonly feature: string;
  readonly method: string;
  /** `null` when either side has no value: no data is not no drift. */
  readonly statistic: number | null;
  readonly pValue: number | null;
  readonly isDrifted: boolean | null;
  readonly referenceCount: number;
  readonly currentCount: number;
}

/** What the world looks like after the production stream. */
export interface MonitoringState {
  /** Version that was monitored. */
  readonly version: number;
  readonly scored: readonly { readonly slice: string; readonly rows: number }[];
  readonly drift: readonly DriftRow[];
  readonly alerts: readonly {
    readonly alert: string;
    readonly severity: Severity;
    readonly state: AlertState;
    readonly findingCount: number;
  }[];
  readonly judges: readonly JudgeSummary[];
}

/** Scores the production stream and looks at it. */
export const monitoring = defineStage<Deployment, MonitoringState, z.infer<typeof Params>>({
  name: "monitoring",
  summary: "production stream through the server, drift, SQL alerts, judges",
  module: import.meta.url,
  params: Params,
  validate(params, plugins) {
    for (const name of [...params.drift, ...params.profile.methods]) plugins.get("drift", name);
    const { judges, traces } = params.judging;
    for (const name of [...judges, ...traces.judges]) plugins.get("judge", name);
    for (const name of params.alerts ?? []) plugins.get("alert", name);
    for (const name of params.sinks) plugins.get("sink", name);
    for (const { name, notify } of chooseAlerts(params, plugins)) {
      for (const sink of notify?.sinks ?? []) checkSink(plugins, name, sink);
    }
  },
  dependsOn: (params, plugins) => ({
    alerts: chooseAlerts(params, plugins).map((
      { kind: _, summary: __, runbook: ___, ...meaning },
    ) => meaning),
    judges: params.judging.judges.map((name) => plugins.get("judge", name).version),
  }),
  async run(deployment, params, context) {
    const { registered } = deployment;
    const scored = await scoreStream(deployment, params, context);
    context.progress(0.5, "drift");
    const drift = await compareDrift(registered.silver, params, context);
    await recordDrift(drift, deployment, context);
    await refreshProfile(registered, params, context);
    context.progress(0.6, "judges");
    const judges = await judgeSample(context.store, {
      judges: params.judging.judges.map((name) => context.plugins.get("judge", name)),
      model: registered.model,
      version: registered.version,
      params: params.judging,
      seed: context.seed,
      signal: context.signal,
      onProgress: (judge, share) => context.progress(0.6 + 0.3 * share, `judge ${judge}`),
    });
    reportJudges(judges, context);
    context.progress(0.9, "alerts");
    const alerts = await runAlerts(registered, params, context);
    return { version: registered.version, scored, drift, alerts, judges };
  },
  describe: ({ scored, drift, alerts, judges }) => {
    const rows = scored.reduce((sum, { rows }) => sum + rows, 0);
    const drifted = new Set(drift.filter((d) => d.isDrifted).map((d) => `${d.slice} ${d.feature}`));
    const firing = alerts.filter(({ state }) => state === "firing").length;
    const judged = judges.filter(({ status }) => status === "judged")
      .map(({ judge, scored }) => `${judge} ${scored}`).join(", ");
    return `${rows.toLocaleString("en")} rows scored, ${drifted.size} drifted features, ` +
      `${firing} of ${alerts.length} alerts fire, judged: ${judged || "none"}`;
  },
  /** What was scored is still logged, and the alerts say what they said: they read the clock, too. */
  async isCurrent({ scored, version, alerts }, params, { store, name, plugins }) {
    const rows = scored.reduce((sum, { rows }) => sum + rows, 0);
    const [{ count }] = await store.query<{ count: number }>(
      "select count(*) as count from core.inferences where model = ? and version = ?",
      [name, version],
    );
    if (count < rows) return false;
    const now = await lookAtAlerts(store, chooseAlerts(params, plugins), { model: name, version });
    return now.every(({ state }, i) => state === alerts[i]?.state);
  },
});

async function scoreStream(
  { registered }: Deployment,
  { batchRows }: z.infer<typeof Params>,
  context: Context,
): Promise<MonitoringState["scored"]> {
  const { silver } = registered;
  if (!silver.production || silver.production.rows === 0) {
    context.report({
      check: "production_stream",
      severity: "info",
      message: "no production data to score: name files in ingestion.production to watch drift",
    });
    return [];
  }
  const names = silver.features.map(({ name }) => name);
  const rows = await readSilver(context.store, silver.production.table, names);
  const scored = new Map<string, number>();
  for (let start = 0; start < rows.X.rows;) {
    context.signal.throwIfAborted();
    const group = rows.groupNames[start] ?? "all";
    let end = start;
    while (
      end < rows.X.rows && end - start < batchRows && (rows.groupNames[end] ?? "all") === group
    ) end++;
    await scoreBatch({ rows, start, end, names, group, registered }, context);
    scored.set(group, (scored.get(group) ?? 0) + end - start);
    start = end;
    context.progress(0.5 * end / rows.X.rows, `scoring ${group}`);
  }
  return [...scored].map(([slice, rows]) => ({ slice, rows }));
}

async function scoreBatch(
  batch: {
    readonly rows: Awaited<ReturnType<typeof readSilver>>;
    readonly start: number;
    readonly end: number;
    readonly names: readonly string[];
    readonly group: string;
    readonly registered: Deployment["registered"];
  },
  context: Context,
): Promise<void> {
  const { rows, start, end, names } = batch;
  const { silver } = batch.registered;
  const columns: Record<string, (number | null)[]> = {};
  names.forEach((name, j) => {
    columns[name] = Array.from({ length: end - start }, (_, i) => {
      const value = rows.X.data[(start + i) * names.length + j];
      return Number.isNaN(value) ? null : value;
    });
  });
  if (silver.order) columns[silver.order.column] = [...rows.order.subarray(start, end)];
  const { model, version } = batch.registered;
  const response = await context.request(`/predict?version=${version}`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      // Judges draw by request id: the same stream of a version gives the same sample.
      "x-request-id": `${model}-${version}-${batch.group}-${start}`
        .replace(/[^A-Za-z0-9._:-]/g, "_").slice(-128),
    },
    body: JSON.stringify({ columns, slice: batch.group }),
    signal: context.signal,
  });
  if (!response.ok) {
    throw new Error(
      `Cannot score ${batch.group}: the server answered ${response.status} ${await response
        .text()}`,
    );
  }
  await response.body?.cancel();
}

async function compareDrift(
  silver: Silver,
  { drift: methods }: z.infer<typeof Params>,
  context: Context,
): Promise<DriftRow[]> {
  if (!silver.production || silver.production.rows === 0) return [];
  const results: DriftRow[] = [];
  for (const { name } of silver.features) {
    const column = quoteIdentifier(name);
    const reference = await readValues(context, silver.train.table, column);
    for (const [slice, current] of await readSlices(context, silver.production.table, column)) {
      for (const method of methods) {
        const result = context.plugins.get("drift", method).compare(reference, current);
        results.push({
          slice,
          feature: name,
          method,
          statistic: result?.statistic ?? null,
          pValue: result?.pValue ?? null,
          isDrifted: result?.isDrifted ?? null,
          referenceCount: reference.length,
          currentCount: current.length,
        });
      }
    }
  }
  return results;
}

async function readValues(context: Context, table: string, column: string): Promise<Float64Array> {
  const { columns } = await context.store.readColumns(
    `select ${column} as value from ${table} where ${column} is not null`,
  );
  return columns.value as Float64Array;
}

/** Values by group; a group without any value is there with none. */
async function readSlices(
  context: Context,
  table: string,
  column: string,
): Promise<Map<string, Float64Array>> {
  const { columns } = await context.store.readColumns(
    `select coalesce(_group, 'all') as slice, ${column} as value from ${table} order by slice`,
  );
  const values = columns.value as Float64Array;
  const slices = new Map<string, number[]>();
  (columns.slice as readonly string[]).forEach((slice, i) => {
    if (!slices.has(slice)) slices.set(slice, []);
    if (!Number.isNaN(values[i])) slices.get(slice)!.push(values[i]);
  });
  return new Map([...slices].map(([slice, list]) => [slice, Float64Array.from(list)]));
}

async function recordDrift(
  rows: readonly DriftRow[],
  { registered }: Deployment,
  context: Context,
): Promise<void> {
  const now = new Date();
  await context.store.transaction([{
    append: "core.drift",
    columns: {
      run_id: rows.map(() => context.runId),
      model: rows.map(() => registered.model),
      version: rows.map(() => registered.version),
      slice: rows.map((row) => row.slice),
      feature: rows.map((row) => row.feature),
      method: rows.map((row) => row.method),
      statistic: rows.map((row) => row.statistic),
      p_value: rows.map((row) => row.pValue),
      is_drifted: rows.map((row) => row.isDrifted),
      reference_count: rows.map((row) => row.referenceCount),
      current_count: rows.map((row) => row.currentCount),
      created_at: rows.map(() => now),
    },
  }]);
}

/** Computes the windows that have closed; the stream that was just scored is in one that has not. */
async function refreshProfile(
  { model, version }: Deployment["registered"],
  params: z.infer<typeof Params>,
  context: Context,
): Promise<void> {
  const { profile } = params;
  const sampling = { ...params.sampling, seed: context.seed };
  const { state, windows, message } = await refreshMonitors(context.store, {
    model,
    version,
    definition: profile,
    methods: profile.methods.map((name) => context.plugins.get("drift", name)),
    sampling,
    signal: context.signal,
  });
  context.signal.throwIfAborted();
  context.log("profiled_windows", windows);
  const estimated = await refreshEstimatesOf(context.store, {
    model,
    version,
    definition: profile,
    sampling,
    signal: context.signal,
  });
  context.log("estimated_windows", estimated.windows);
  if (state === "FAILED") {
    context.report({
      check: "profile",
      severity: "warning",
      message: `the profile of closed windows is not whole: ${message}`,
    });
  }
}

function reportJudges(judges: readonly JudgeSummary[], context: Context): void {
  for (const { judge, status, detail, stopped, left, ...answers } of judges) {
    const { errors, scored, abstained, meanScore } = answers;
    if (status === "skipped") {
      context.report({
        check: `judge:${judge}`,
        severity: "info",
        message: `judge ${judge} was skipped: ${detail}`,
      });
      continue;
    }
    if (meanScore !== null) context.log(`judge_${judge}_mean_score`, meanScore);
    if (stopped !== null) {
      context.report({
        check: `judge:${judge}`,
        severity: "warning",
        message: `judge ${judge} was asked no further, ${left} are left: ${stopped}`,
      });
    } else if (errors > 0) {
      context.report({
        check: `judge:${judge}`,
        severity: "warning",
        message: `judge ${judge} could not answer ${errors} of ${scored + abstained + errors}`,
      });
    }
  }
}

function checkSink(plugins: Plugins, alert: string, sink: string): void {
  const known = plugins.list("sink").map(({ name }) => name);
  if (known.includes(sink)) return;
  throw new RangeError(
    `Cannot notify of alert "${alert}": there is no sink "${sink}"; there are ${known.join(", ")}`,
  );
}

function chooseAlerts({ alerts }: z.infer<typeof Params>, plugins: Plugins): Plugin<"alert">[] {
  return alerts === null ? plugins.list("alert") : alerts.map((name) => plugins.get("alert", name));
}

async function runAlerts(
  { model, version }: Deployment["registered"],
  params: z.infer<typeof Params>,
  context: Context,
): Promise<MonitoringState["alerts"]> {
  const alerts = chooseAlerts(params, context.plugins);
  const { signal } = context;
  const outcomes = await evaluateAlerts(context.store, alerts, { model, version, signal });
  for (const outcome of outcomes) {
    if (outcome.state === "error") {
      context.report({
        check: `alert:${outcome.alert}`,
        severity: "error",
        message: `alert ${outcome.alert} cannot be evaluated: ${outcome.error}`,
      });
    }
    if (outcome.state === "firing") outcome.findings.forEach(context.report);
  }
  const failures = await context.tell(alerts, { model, version, sinks: params.sinks });
  for (const [sink, message] of failures) {
    context.report({ check: `sink:${sink}`, severity: "error", message });
  }
  return outcomes.map(({ alert, severity, state, findingCount }) => ({
    alert,
    severity,
    state,
    findingCount,
  }));
}
