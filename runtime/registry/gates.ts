/**
 * The gates before an alias: typed checks with numbers on what was recorded of a version and seen of it
 * since, the same ones for the stage `release`, the command line and the server.
 *
 * @module
 */
import type { Severity } from "../../plugins/plugin.ts";
import { hasRole } from "../api_keys.ts";
import { describeError } from "../errors.ts";
import { type CheckedVersion, EvidenceError, readEvidence } from "./evidence.ts";
import type { GateParams, SqlGate } from "./gate_params.ts";
import { type ModelVersion, resolveVersion } from "./model_registry.ts";
import type { Observations } from "../inference/observations.ts";
import { type RecordedReport, reportOf } from "./recorded_report.ts";
import type { Store } from "../store/store.ts";

/** How a check can end. What nobody measured is no number and no pass by itself. */
export type GateState = "passed" | "failed" | "no data";

/** One condition of the gates. */
export interface GateCheck {
  readonly check: string;
  readonly state: GateState;
  /** Whether it lets the version through; `no data` does unless the config asks for data. */
  readonly isPassed: boolean;
  /** The numbers behind it. */
  readonly reason: string;
  /** The number that was compared and what with, where it is one. */
  readonly value?: number | null;
  readonly limit?: number;
  /** The trainer that did better, where that is the finding. */
  readonly betterTrainer?: string;
}

/** What the gates look at. */
export interface Gated {
  readonly version: ModelVersion;
  readonly checked: CheckedVersion;
  readonly alias: string;
  /** Version that the alias serves now, or `null`. */
  readonly previous: number | null;
  readonly seen: Observations;
}

/** Runs every gate, those in SQL last. One that says no is an outcome, not an error. */
export async function checkGates(
  store: Store,
  gated: Gated,
  params: GateParams,
): Promise<GateCheck[]> {
  const report = reportOf(gated.checked.evidence);
  return [
    ...checkScores(report, params),
    ...checkBaselines(report, params),
    await checkRegression(store, gated, params.maxRegression),
    checkParity(report, params),
    checkDrift(gated.seen, params),
    ...checkJudges(gated.seen, params),
    checkAlerts(gated.seen, params),
    checkApprovals(gated.seen, params),
    ...await Promise.all(params.gates.map((gate) => checkSql(store, gated.version, gate))),
  ];
}

function decided(
  check: string,
  isPassed: boolean,
  rest: Omit<GateCheck, "check" | "state" | "isPassed">,
) {
  return { check, state: isPassed ? "passed" : "failed", isPassed, ...rest } as const;
}

function withoutData(check: string, reason: string, isPassed: boolean): GateCheck {
  return { check, state: "no data", isPassed, reason };
}

function checkScores({ scores }: RecordedReport, params: GateParams): GateCheck[] {
  const minimums = [["macroF1", params.minMacroF1], ...Object.entries(params.minimums)] as [
    "macroF1" | keyof typeof params.minimums,
    number,
  ][];
  return minimums.map(([metric, minimum]) => {
    const check = metric === "macroF1" ? "score" : `score_${metric}`;
    const { value, low } = scores?.[metric] ?? { value: null, low: null };
    const reason = `${metricNames[metric]} ${format(value)}, lower bound ${format(low)} against ${
      format(minimum)
    }`;
    if (low === null) return withoutData(check, reason, false);
    return decided(check, low >= minimum, { reason, value: low, limit: minimum });
  });
}

function checkBaselines(report: RecordedReport, { metric, mustBeat }: GateParams): GateCheck[] {
  const baselines = report.baselines ?? [];
  // Of the log-loss, less is better.
  const sign = metric === "logLoss" ? -1 : 1;
  const compared = baselines.map(({ trainer, difference }) => {
    const { difference: value, low, high } = difference[metric] ??
      { difference: null, low: null, high: null };
    const [worst, best] = [low, high].map((end) => end === null ? null : sign * end)
      .sort((a, b) => (a ?? 0) - (b ?? 0));
    const isAhead = worst !== null && worst > 0;
    const isBehind = best === null || best < 0;
    const isNeeded = mustBeat.includes(trainer);
    return decided(
      `${isNeeded ? "beats" : "not_behind"}_${trainer}`,
      isNeeded ? isAhead : !isBehind,
      {
        reason: `${metricNames[metric]} ${format(value, true)} against ${trainer} [${
          format(low, true)
        }, ${format(high, true)}]`,
        value,
        limit: 0,
        ...(isBehind ? { betterTrainer: trainer } : {}),
      },
    );
  });
  const missing = mustBeat.filter((name) =>
    name !== report.trainer && !baselines.some(({ trainer }) => trainer === name)
  );
  return [
    ...compared,
    ...missing.map((name) =>
      withoutData(`beats_${name}`, `no comparison with ${name} in the report`, false)
    ),
  ];
}

const metricNames = {
  logLoss: "log-loss",
  macroF1: "macro-F1",
  weightedF1: "weighted F1",
  accuracy: "accuracy",
  balancedAccuracy: "balanced accuracy",
  rocAuc: "ROC-AUC",
} as const;

/** The version that is served is checked like the one that is to replace it. */
async function checkRegression(
  store: Store,
  { version: { model, version }, checked, previous, alias }: Gated,
  maxRegression: number,
): Promise<GateCheck> {
  const check = "no_regression";
  if (previous === null || previous === version) {
    return withoutData(check, `no other version in ${alias} to compare with`, true);
  }
  let before: number | null;
  try {
    const served = await readEvidence(store, await resolveVersion(store, model, String(previous)));
    before = reportOf(served.evidence).scores?.macroF1?.value ?? null;
  } catch (error) {
    if (error instanceof EvidenceError) return withoutData(check, error.message, false);
    throw error;
  }
  const now = reportOf(checked.evidence).scores?.macroF1?.value ?? null;
  const reason = `macro-F1 ${format(now)} against ${format(before)} of version ${previous}`;
  if (before === null) return withoutData(check, reason, true);
  return decided(check, now !== null && now >= before - maxRegression, {
    reason,
    value: now,
    limit: before - maxRegression,
  });
}

function checkParity({ parity }: RecordedReport, params: GateParams): GateCheck {
  const check = "parity";
  if (!parity) {
    return withoutData(check, "parity was not measured", !params.required.includes(check));
  }
  const { maxDifference: value, flips, rows } = parity;
  const limit = params.maxParityDifference;
  return decided(check, value <= limit && flips === 0, {
    reason:
      `probabilities differ from the trainer's by ${value.toExponential(1)} at most, ${flips} ` +
      `of ${rows} labels flip`,
    value,
    limit,
  });
}

function checkDrift({ drift }: Observations, params: GateParams): GateCheck {
  const check = "drift";
  if (!drift) return withoutData(check, "drift was not measured", !params.required.includes(check));
  const value = drift.drifted.length / drift.features;
  const limit = params.maxDriftShare;
  return decided(check, value <= limit, {
    reason: `${drift.drifted.length} of ${drift.features} features drift, ${percent(limit)} % may`,
    value,
    limit,
  });
}

function checkJudges({ judges }: Observations, params: GateParams): GateCheck[] {
  if (judges.length === 0) {
    return [withoutData("judges", "nothing was judged", !params.required.includes("judges"))];
  }
  const limit = params.minJudgeScore;
  const isNeeded = params.required.includes("judges") &&
    !judges.some(({ status }) => status === "trusted");
  return judges.map(({ judge, status, scored, score }) => {
    const check = `judge_${judge}`;
    const reason = `judge ${judge} ${format(score.value)} of ${scored} predictions, lower bound ${
      format(score.low)
    } against ${format(limit)}`;
    // What nobody has shown to agree with the truth has no say.
    if (status !== "trusted") return withoutData(check, `${reason}; it is ${status}`, !isNeeded);
    return decided(check, score.low >= limit, { reason, value: score.low, limit });
  });
}

const severities: readonly Severity[] = ["info", "warning", "error", "critical"];

function checkAlerts({ alerts }: Observations, params: GateParams): GateCheck {
  const check = "alerts";
  const blocking = params.blockingSeverity;
  if (blocking === "never") return decided(check, true, { reason: "alerts do not block" });
  if (alerts.length === 0) {
    return withoutData(check, "no alert was evaluated", !params.required.includes(check));
  }
  const floor = severities.indexOf(blocking);
  const grave = alerts.filter(({ severity }) => severities.indexOf(severity) >= floor);
  // An alert that cannot be evaluated is unknown, and unknown does not pass.
  const against = [
    ...grave.filter(({ state }) => state === "firing").map(({ alert }) => `alert ${alert} fires`),
    ...grave.filter(({ state }) => state === "error")
      .map(({ alert }) => `alert ${alert} cannot be evaluated`),
  ];
  return decided(check, against.length === 0, {
    reason: against.join(", ") || `no alert of severity ${blocking} fires`,
  });
}

function checkApprovals({ approvals, registrar }: Observations, params: GateParams): GateCheck {
  const check = "approvals";
  const { count, role, fourEyes } = params.approvals;
  const rejection = approvals.find(({ decision }) => decision === "rejected");
  if (rejection) {
    const why = rejection.reason === null ? "" : `: ${rejection.reason}`;
    return decided(check, false, { reason: `rejected by ${rejection.approver}${why}` });
  }
  const counted = approvals.filter((approval) =>
    hasRole(approval.role, role) &&
    // Without knowing who registered it, nobody can be shown to be somebody else.
    (!fourEyes || (registrar !== null && approval.approver !== registrar))
  );
  const names = counted.map(({ approver }) => approver).join(", ");
  return decided(check, counted.length >= count, {
    reason: `${counted.length} of ${count} approvals by role ${role}${
      fourEyes ? " other than who registered it" : ""
    }${names ? ` (${names})` : ""}`,
    value: counted.length,
    limit: count,
  });
}

/** A gate's query may take this long: as an alert's. */
const SQL_TIMEOUT_MS = 10_000;

/** Findings of one gate that are counted. */
const MAX_FINDINGS = 100;

async function checkSql(
  store: Store,
  { model, version }: ModelVersion,
  { name: check, sql, message }: SqlGate,
): Promise<GateCheck> {
  try {
    const { columns, rows, isTruncated } = await store.queryReadOnly(sql, {
      timeoutMs: SQL_TIMEOUT_MS,
      maxRows: MAX_FINDINGS,
      scope: { model, version },
    });
    if (rows.length === 0) {
      return decided(check, true, { reason: `${check} finds nothing`, value: 0 });
    }
    const first = Object.fromEntries(columns.map((name, j) => [name, rows[0][j]]));
    const text = message ??
      (typeof first.message === "string" ? first.message : JSON.stringify(first));
    const count = `${rows.length}${isTruncated ? " or more" : ""} ${
      rows.length === 1 ? "finding" : "findings"
    }`;
    return decided(check, false, {
      reason: `${check}: ${text} (${count})`,
      value: rows.length,
      limit: 0,
    });
  } catch (error) {
    const [line] = describeError(error).split("\n");
    return decided(check, false, { reason: `${check} cannot be evaluated: ${line}` });
  }
}

function format(value: number | null | undefined, isSigned = false): string {
  if (value === null || value === undefined) return "undefined";
  return (isSigned && value >= 0 ? "+" : "") + value.toFixed(3);
}

function percent(share: number): string {
  return (100 * share).toFixed(0);
}
