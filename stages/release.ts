/** Release: says with reasons whether a version may be promoted, and moves `production` only then. */
import type { GateCheck } from "../runtime/registry/gates.ts";
import { GateParams } from "../runtime/registry/gate_params.ts";
import { currentVersion, resolveVersion, userName } from "../runtime/registry/model_registry.ts";
import { decidePromotion, recordPromotion } from "../runtime/registry/promotion.ts";
import { type Context, defineStage } from "../runtime/stage.ts";
import type { MonitoringState } from "./monitoring.ts";
import type { Registered } from "./registry.ts";

/** The alias that a passed gate moves, and that the server serves first. */
const ALIAS = "production";

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

/** Decides and promotes. A gate that says no is an outcome, not an error. */
export const release = defineStage<
  { readonly version: Registered; readonly state: MonitoringState },
  Release,
  GateParams
>({
  name: "release",
  summary: "the gate: promoted only with reasons",
  module: import.meta.url,
  params: GateParams,
  async run({ version, state }, params, context) {
    const { store, runId, environment } = context;
    const decision = await decidePromotion(store, {
      version,
      alias: ALIAS,
      environment,
      params,
      // Those of this run; the store may hold later ones by now.
      seen: { alerts: state.alerts },
    });
    const { checks, isPassed, previous } = decision;
    for (const check of checks.filter((check) => !check.isPassed)) {
      context.report({
        check: `gate:${check.check}`,
        severity: "warning",
        message: check.reason,
        subject: `${version.model} ${version.version}`,
      });
    }
    const isServed = isPassed && previous === version.version;
    if (params.promote && !isServed) {
      await recordPromotion(store, decision, {
        by: userName(),
        role: null,
        reason: `gate ${isPassed ? "passed" : "failed"} in run ${runId}: ${
          checks.filter((each) => each.isPassed === isPassed).map((c) => c.reason).join("; ")
        }`,
      });
    }
    const isPromoted = isPassed && params.promote && !isServed;
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
  /**
   * The alias still stands where the decision left it, and the gates would decide the same: an approval
   * or an alert since then is a new question.
   */
  async isCurrent(output, params, { store, environment }: Context) {
    const { model, version: number, alias, isPassed, isPromoted, previous } = output;
    if (await currentVersion(store, model, alias) !== (isPromoted ? number : previous)) {
      return false;
    }
    const version = await resolveVersion(store, model, String(number));
    const now = await decidePromotion(store, { version, alias, environment, params });
    return now.isPassed === isPassed;
  },
});
