/**
 * What was seen of a version since it was registered: alerts, drift, judges, approvals. Gates decide on
 * it and the model card shows it; what nobody looked at yet is empty, and no number.
 *
 * @module
 */
import { computeRateInterval, type RateInterval } from "../../numeric/rates.ts";
import type { Severity } from "../../plugins/plugin.ts";
import type { AlertState } from "../alerts/engine.ts";
import { type Approval, listApprovals, readRegistrar } from "../registry/approvals.ts";
import type { ModelVersion } from "../registry/model_registry.ts";
import type { Store } from "../store/store.ts";

/** An alert's last evaluation on a version. */
export interface SeenAlert {
  readonly alert: string;
  readonly severity: Severity;
  readonly state: AlertState;
}

/** Drift of the latest monitoring, over all slices and methods. */
export interface SeenDrift {
  readonly runId: string;
  /** Features that could be compared, and those of them that drifted in any slice. */
  readonly features: number;
  readonly drifted: readonly string[];
}

/** What a judge thinks of a sample of a version's predictions. */
export interface SeenJudge {
  readonly judge: string;
  /** By the card of the version that judged last; without a card `advisory`. */
  readonly status: "trusted" | "advisory" | "quarantined";
  readonly scored: number;
  /** Mean score in [0, 1], with an interval that holds at all times at once: one may ask daily. */
  readonly score: RateInterval;
}

/** Everything that was seen of one version. */
export interface Observations {
  readonly alerts: readonly SeenAlert[];
  /** `null` when no monitoring could compare a feature. */
  readonly drift: SeenDrift | null;
  readonly judges: readonly SeenJudge[];
  readonly approvals: readonly Approval[];
  /** Who registered the version, `null` when nobody knows. */
  readonly registrar: string | null;
}

/** Reads what was seen of a version. */
export async function observe(store: Store, version: ModelVersion): Promise<Observations> {
  const [alerts, drift, judges, approvals, registrar] = await Promise.all([
    readAlerts(store, version),
    readDrift(store, version),
    readJudges(store, version),
    listApprovals(store, version),
    readRegistrar(store, version),
  ]);
  return { alerts, drift, judges, approvals, registrar };
}

async function readAlerts(store: Store, { model, version }: ModelVersion): Promise<SeenAlert[]> {
  const rows = await store.query(
    `select alert, severity, state from core.alert_log where model = ? and version = ?
     qualify row_number() over (partition by alert order by evaluation desc) = 1 order by alert`,
    [model, version],
  );
  return rows.map((row) => ({
    alert: row.alert as string,
    severity: row.severity as Severity,
    state: row.state as AlertState,
  }));
}

async function readDrift(
  store: Store,
  { model, version }: ModelVersion,
): Promise<SeenDrift | null> {
  const rows = await store.query<{ run_id: string; feature: string; is_drifted: boolean }>(
    `select run_id, feature, bool_or(is_drifted) as is_drifted from core.drift
     where model = ? and version = ? and is_drifted is not null and run_id = (
       select arg_max(run_id, created_at) from core.drift where model = ? and version = ?)
     group by all order by feature`,
    [model, version, model, version],
  );
  if (rows.length === 0) return null;
  return {
    runId: rows[0].run_id,
    features: rows.length,
    drifted: rows.filter((row) => row.is_drifted).map((row) => row.feature),
  };
}

async function readJudges(store: Store, { model, version }: ModelVersion): Promise<SeenJudge[]> {
  // A prediction that was judged again counts once, by the last score.
  const rows = await store.query<
    Pick<SeenJudge, "judge" | "status" | "scored"> & { readonly total: number }
  >(
    `select s.judge, s.scored, s.total, coalesce(c.status, 'advisory') as status from (
     select judge, count(*) as scored, sum(score) as total,
       arg_max(judge_version, created_at) as judge_version from (
       select j.judge, j.score, j.judge_version, j.created_at from core.judgements j
       join core.inferences i on i.request_id = j.request_id and i.row = j.row
       where i.model = ? and i.version = ? and j.status = 'scored'
       qualify row_number() over (
         partition by j.judge, j.request_id, j.row order by j.created_at desc) = 1)
     group by judge) s
     left join judge_cards c on c.judge = s.judge and c.judge_version = s.judge_version
       and c.model = ? and c.version = ?
     order by s.judge`,
    [model, version, model, version],
  );
  return rows.map(({ judge, status, scored, total }) => {
    // Sums of scores round: neither tally may fall below 0.
    const successes = Math.min(scored, Math.max(0, total));
    const score = computeRateInterval({ successes, failures: scored - successes })!;
    return { judge, status, scored, score };
  });
}
