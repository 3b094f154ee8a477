/** Rows of the store that a report is made of. */
import type { Store } from "../../runtime/store/store.ts";
import { isMeasured } from "../cases/cases.ts";
import type { JudgeVersion } from "../rows.ts";
import { querySample, type SamplingPlan } from "../sampling/plan.ts";
import type { JudgedRow, ReportedRate } from "./rates.ts";

/** A verdict as the report reads it. */
export interface VerdictRow extends JudgedRow {
  /** The prediction, by request and row. */
  readonly key: string;
  /** Of an ensemble, JSON of what its members said. */
  readonly members: string | null;
}

/** A card, as far as the report needs it; `null` where the card does not know. */
export interface ReportCard {
  readonly status: "trusted" | "advisory" | "quarantined";
  readonly source: string;
  readonly n: number;
  readonly good: number;
  readonly threshold: number | null;
  readonly tpr: number | null;
  readonly tnr: number | null;
  readonly lifts: Readonly<Record<"rule" | "own", Omit<ReportedRate, "reason">>>;
}

/** What a judge version was asked, and what that took, every call counted. */
export interface JudgeCost {
  readonly calls: number;
  readonly tokensIn: number;
  readonly tokensOut: number;
  /** Milliseconds of one call. */
  readonly ms: number;
  /** Calls without an opinion, and those that failed, by kind. */
  readonly abstentions: Readonly<Record<string, number>>;
  readonly errors: Readonly<Record<string, number>>;
}

/** What of a version of a model is read. */
export interface RowsOptions {
  readonly model: string;
  readonly version: number;
  /** Names of judges; left out: all. */
  readonly judges?: readonly string[] | undefined;
}

/** Judge versions that judged, by name, the one that judged last first, and what their calls took. */
export async function readJudges(
  store: Store,
  { model, version, judges }: RowsOptions,
): Promise<(JudgeVersion & JudgeCost)[]> {
  const rows = await store.query<{
    judge: string;
    judge_version: string;
    calls: number;
    tokens_in: number;
    tokens_out: number;
    ms: number;
    kinds: string;
  }>(
    `with kinds as (
       select judge, judge_version, status, kind, count(*) as calls, sum(tokens_in) as tokens_in,
         sum(tokens_out) as tokens_out, sum(ms) as ms, max(created_at) as last
       from core.judgements
       where model = ? and version = ? and list_contains(coalesce(from_json(?::json, '["VARCHAR"]'), [judge]), judge)
       group by all)
     select judge, judge_version, sum(calls)::bigint as calls,
       coalesce(sum(tokens_in), 0)::bigint as tokens_in,
       coalesce(sum(tokens_out), 0)::bigint as tokens_out, sum(ms) / sum(calls) as ms,
       to_json(list({status: status, kind: kind, calls: calls} order by calls desc, kind))::varchar as kinds
     from kinds group by all order by judge, max(last) desc, judge_version`,
    [model, version, judges === undefined ? null : JSON.stringify(judges)],
  );
  return rows.map((row) => {
    const kinds: { status: string; kind: string | null; calls: number }[] = JSON.parse(row.kinds);
    const countOf = (wanted: string) =>
      Object.fromEntries(
        kinds.filter(({ status }) => status === wanted).map((k) => [k.kind ?? "unknown", k.calls]),
      );
    return {
      judge: row.judge,
      judgeVersion: row.judge_version,
      calls: row.calls,
      tokensIn: row.tokens_in,
      tokensOut: row.tokens_out,
      ms: row.ms,
      abstentions: countOf("abstained"),
      errors: countOf("error"),
    };
  });
}

/**
 * Gives the last word of a judge version on each prediction, with what is known of its truth; an answer
 * to the judge's own question counts before that to whether the prediction is right.
 */
export async function readVerdicts(
  store: Store,
  { judge, judgeVersion, model, version, plan, isLearning }: JudgeVersion & RowsOptions & {
    /** How strata are drawn; `null`: there are none. */
    readonly plan: SamplingPlan | null;
    /** Whether it has learned from labels: predictions that teach are left out. */
    readonly isLearning: boolean;
  },
): Promise<VerdictRow[]> {
  const strata = plan === null ? null : queryStrata(plan);
  const rows = await store.query<{
    key: string;
    score: number | null;
    probability: number;
    stratum: string | null;
    is_good: boolean | null;
    members: string | null;
  }>(
    `with truth as (
       select * from judge_truth where judge in ('', ?)
       qualify row_number() over (partition by request_id, row order by judge desc) = 1)
     select v.request_id || ':' || v.row as key, v.score, v.probability, t.is_good,
       ${strata === null ? "null" : "s.stratum"} as stratum,
       case when starts_with(v.raw, '{"members":') and json_valid(v.raw) then v.raw end as members
     from judge_verdicts v left join truth t using (request_id, row)
     ${strata === null ? "" : `left join (${strata.sql}) s using (request_id, row)`}
     where v.judge = ? and v.judge_version = ? and v.model = ? and v.version = ?
       ${
      isLearning ? `and (t.is_good is null or ${isMeasured("v.request_id || ':' || v.row")})` : ""
    }
     order by v.request_id, v.row`,
    [judge, ...(strata?.params ?? []), judge, judgeVersion, model, version],
  );
  return rows.map(({ is_good, ...row }) => ({ ...row, isGood: is_good }));
}

/** Predictions of each stratum, judged or not. */
export async function readSizes(store: Store, plan: SamplingPlan): Promise<Map<string, number>> {
  const { sql, params } = queryStrata(plan);
  const rows = await store.query<{ stratum: string; size: number }>(
    `select stratum, count(*) as size from (${sql}) group by all`,
    params,
  );
  return new Map(rows.map(({ stratum, size }) => [stratum, size]));
}

/** Every prediction that could have been drawn, each with its stratum. */
function queryStrata(plan: SamplingPlan) {
  return querySample(
    { ...plan, mode: "uniform", rate: 1, minPerStratum: 0, maxPerRequester: null },
    null,
  );
}

/** Gives the newest card of a judge version, `null` when nobody made one. */
export async function readCard(
  store: Store,
  { judge, judgeVersion, model, version }: JudgeVersion & RowsOptions,
): Promise<ReportCard | null> {
  const [row] = await store.query<
    & Omit<ReportCard, "lifts">
    & Record<`${"rule" | "own"}_lift${"" | "_low" | "_high"}`, number | null>
  >(
    `select status, source, n, good, threshold, tpr, tnr, rule_lift, rule_lift_low, rule_lift_high,
       own_lift, own_lift_low, own_lift_high
     from judge_cards where judge = ? and judge_version = ? and model = ? and version = ?`,
    [judge, judgeVersion, model, version],
  );
  if (row === undefined) return null;
  const { status, source, n, good, threshold, tpr, tnr } = row;
  const lift = (of: "rule" | "own") => ({
    value: row[`${of}_lift`],
    low: row[`${of}_lift_low`],
    high: row[`${of}_lift_high`],
  });
  return {
    ...{ status, source, n, good, threshold, tpr, tnr },
    lifts: { rule: lift("rule"), own: lift("own") },
  };
}
