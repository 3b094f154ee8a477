/** Release: says with reasons whether a version may be promoted, and moves `production` only then. */
import { z } from "zod";
import type { Severity } from "../plugins/plugin.ts";
import { currentVersion, setAlias } from "../runtime/model_registry.ts";
import { defineStage } from "../runtime/stage.ts";
import type { Store } from "../runtime/store.ts";
import type { MonitoringState } from "./monitoring.ts";
import type { Registered } from "./registry.ts";

const Params = z.strictObject({
  minMacroF1: z.number().min(0).max(1).default(0)
    .describe("lower bound of macro-F1's interval must reach this"),
  metric: z.enum(["logLoss", "macroF1", "accuracy"]).default("logLoss")
    .describe("metric of the comparison with the baselines, by its paired interval"),
  mustBeat: z.array(z.string()).default(["prior"])
    .describe("baselines that the model must be ahead of; no other may be ahead of the model"),
  maxRegression: z.number().min(0).max(1).default(0.02)
    .describe("how far macro-F1 may fall below the version in production"),
  blockingSeverity: z.enum(["warning", "error", "critical", "never"]).default("critical")
    .describe("a firing alert of this severity or above blocks"),
  promote: z.boolean().default(true).describe("false: only say what would happen"),
});

/** The alias that a passed gate moves, and that the server serves first. */
const ALIAS = "production";

/** One condition of the gate. */
export interface GateCheck {
  readonly check: string;
  readonly isPassed: boolean;
  /** The numbers behind it. */
  readonly reason: string;
  /** The trainer that did better, where that is the finding. */
  readonly betterTrainer?: string;
}

/** Outcome of the gate. */
export interface Release {
  readonly model: string;
  readonly version: number;
  readonly alias: string;
  readonly isPassed: boolean;
  readonly isPromoted: boolean;
  /** Version the alias served before, or `null`. */
  readonly previous: number | null;
  readonly checks: readonly GateCheck[];
}

const severities: readonly Severity[] = ["info", "warning", "error", "critical"];

/** Decides and promotes. A gate that says no is an outcome, not an error. */
export const release = defineStage<
  { readonly version: Registered; readonly state: MonitoringState },
  Release,
  z.infer<typeof Params>
>({
  name: "release",
  summary: "the gate: promoted only with reasons",
  module: import.meta.url,
  params: Params,
  async run({ version, state }, params, context) {
    const { store } = context;
    const previous = await currentVersion(store, version.model, ALIAS);
    const checks = [
      checkScore(version, params.minMacroF1),
      ...checkBaselines(version, params),
      await checkRegression(context.store, version, previous, params.maxRegression),
      checkAlerts(state, params.blockingSeverity),
    ];
    const isPassed = checks.every((check) => check.isPassed);
    for (const check of checks.filter((check) => !check.isPassed)) {
      context.report({
        check: `gate:${check.check}`,
        severity: "warning",
        message: check.reason,
        subject: `${version.model} ${version.version}`,
      });
    }
    const isPromoted = isPassed && params.promote && previous !== version.version;
    if (isPromoted) {
      await setAlias(store, {
        model: version.model,
        alias: ALIAS,
        version: version.version,
        reason: `gate passed in run ${context.runId}: ${checks.map((c) => c.reason).join("; ")}`,
      });
    }
    context.log("gate_passed", isPassed ? 1 : 0);
    const { model, version: number } = version;
    return { model, version: number, alias: ALIAS, isPassed, isPromoted, previous, checks };
  },
  describe: ({ model, version, alias, isPassed, isPromoted, previous, checks }) =>
    isPromoted
      ? `${model}@${alias} is version ${version}` + (previous === null ? "" : `, was ${previous}`)
      : isPassed
      ? `gate passed; ${model}@${alias} is version ${previous ?? "none"}`
      : `not promoted: ${checks.filter((c) => !c.isPassed).map((c) => c.reason).join("; ")}`,
  /** The alias still stands where the decision left it: another one would be decided otherwise. */
  async isCurrent({ model, version, alias, isPromoted, previous }, _params, { store }) {
    return await currentVersion(store, model, alias) === (isPromoted ? version : previous);
  },
});

function checkScore({ report }: Registered, minimum: number): GateCheck {
  const { value, low } = report.scores.macroF1 ?? { value: null, low: null };
  return {
    check: "score",
    isPassed: low !== null && low >= minimum,
    reason: `macro-F1 ${format(value)}, lower bound ${format(low)} against ${format(minimum)}`,
  };
}

function checkBaselines(
  { report }: Registered,
  { metric, mustBeat }: z.infer<typeof Params>,
): GateCheck[] {
  // Of the log-loss, less is better.
  const sign = metric === "logLoss" ? -1 : 1;
  return report.baselines.map(({ trainer, difference }) => {
    const { difference: value, low, high } = difference[metric] ??
      { difference: null, low: null, high: null };
    const [worst, best] = [low, high].map((end) => end === null ? null : sign * end)
      .sort((a, b) => (a ?? 0) - (b ?? 0));
    const isAhead = worst !== null && worst > 0;
    const isBehind = best === null || best < 0;
    const isNeeded = mustBeat.includes(trainer);
    return {
      check: `${isNeeded ? "beats" : "not_behind"}_${trainer}`,
      isPassed: isNeeded ? isAhead : !isBehind,
      reason: `${metricNames[metric]} ${format(value, true)} against ${trainer} [${
        format(low, true)
      }, ${format(high, true)}]`,
      ...(isBehind ? { betterTrainer: trainer } : {}),
    };
  });
}

const metricNames = { logLoss: "log-loss", macroF1: "macro-F1", accuracy: "accuracy" } as const;

async function checkRegression(
  store: Store,
  { model, version, report }: Registered,
  previous: number | null,
  maxRegression: number,
): Promise<GateCheck> {
  const check = "no_regression";
  if (previous === null || previous === version) {
    return { check, isPassed: true, reason: "no other version in production to compare with" };
  }
  const [row] = await store.query<{ score: number | null }>(
    "select (report->>'$.scores.macroF1.value')::double as score from core.model_versions where model = ? and version = ?",
    [model, previous],
  );
  const before = row?.score ?? null;
  const now = report.scores.macroF1?.value ?? null;
  return {
    check,
    isPassed: before === null || (now !== null && now >= before - maxRegression),
    reason: `macro-F1 ${format(now)} against ${format(before)} of version ${previous}`,
  };
}

function checkAlerts(state: MonitoringState, blocking: "never" | Severity): GateCheck {
  const check = "alerts";
  if (blocking === "never") return { check, isPassed: true, reason: "alerts do not block" };
  const floor = severities.indexOf(blocking);
  const firing = state.alerts.filter((alert) =>
    alert.state === "firing" && severities.indexOf(alert.severity) >= floor
  );
  // An alert that cannot be evaluated is unknown, and unknown does not pass.
  const broken = state.alerts.filter((alert) =>
    alert.state === "error" && severities.indexOf(alert.severity) >= floor
  );
  return {
    check,
    isPassed: firing.length === 0 && broken.length === 0,
    reason: firing.length + broken.length === 0 ? `no alert of severity ${blocking} fires` : [
      ...firing.map((alert) => `alert ${alert.alert} fires`),
      ...broken.map((alert) => `alert ${alert.alert} cannot be evaluated`),
    ].join(", "),
  };
}

function format(value: number | null | undefined, isSigned = false): string {
  if (value === null || value === undefined) return "undefined";
  return (isSigned && value >= 0 ? "+" : "") + value.toFixed(3);
}
