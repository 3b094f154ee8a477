/**
 * The tables and documented views of a store. Tables live in schema `core`; the views in `main` are
 * what people and alerts query. What was measured, logged, predicted or decided is append-only; rows
 * that describe a thing's state now (runs, experiments, descriptions, artifact paths) are updated.
 *
 * A store is brought forward by the {@linkcode migrations} it has not had yet, in one transaction.
 * A migration that a release has shipped is never edited: what changes is a new one.
 *
 * @module
 */
import { accessSchema } from "./access.ts";
import { alertsSchema } from "./alerts.ts";
import { callJudgementsSchema } from "./call_judgements.ts";
import { estimateMethodsSchema } from "./estimate_methods.ts";
import { estimatesSchema } from "./estimates.ts";
import { generatedTextsSchema } from "./generated_texts.ts";
import { governanceSchema } from "./governance.ts";
import { inferenceSchema } from "./inference.ts";
import { judgementVersionsSchema } from "./judgement_versions.ts";
import { judgePromptsSchema } from "./judge_prompts.ts";
import { judgeProbesSchema } from "./judge_probes.ts";
import { judgesSchema } from "./judges.ts";
import { judgingSchema } from "./judging.ts";
import { monitoringSchema } from "./monitoring.ts";
import { monitorCostsSchema } from "./monitor_costs.ts";
import { monitorsSchema } from "./monitors.ts";
import { onlineSchema } from "./online.ts";
import { promotionSchema } from "./promotion.ts";
import { quotaSchema } from "./quota.ts";
import { trackingSchema } from "./tracking.ts";
import { tracesSchema } from "./traces.ts";
import { trafficSchema } from "./traffic.ts";

/** Statements that bring a store of the version before to `version`. */
export interface Migration {
  readonly version: number;
  readonly statements: readonly string[];
}

/** What a store of version 1 has: runs, artifacts, the model registry, inferences, alerts. */
const firstSchema: readonly string[] = [
  "create schema if not exists core",
  "create schema if not exists bronze",
  "create schema if not exists silver",
  "create schema if not exists gold",
  "create table core.schema_version (version integer not null)",
  "insert into core.schema_version values (1)",

  `create table core.runs (
    run_id varchar not null, name varchar not null, environment varchar not null, seed bigint not null,
    status varchar not null, config json not null, code_hash varchar not null, user_name varchar,
    started_at timestamp not null, ended_at timestamp, error varchar)`,
  `create table core.stage_runs (
    run_id varchar not null, name varchar not null, stage varchar not null, status varchar not null,
    reason varchar not null, cache_key varchar not null, key_parts json not null, output json,
    started_at timestamp not null, seconds double, error varchar)`,
  `create table core.metrics (
    run_id varchar not null, stage varchar not null, metric varchar not null, value double,
    step bigint not null, created_at timestamp not null)`,
  `create table core.findings (
    run_id varchar not null, stage varchar not null, check_name varchar not null, severity varchar not null,
    subject varchar, message varchar not null, rows json, created_at timestamp not null)`,
  `create table core.artifacts (
    sha256 varchar primary key, media_type varchar not null, size bigint not null, content blob not null,
    created_at timestamp not null)`,
  `create table core.model_versions (
    model varchar not null, version integer not null, artifact varchar not null, run_id varchar not null,
    input_names varchar[] not null, class_names varchar[] not null, signature json not null,
    report json not null, evidence_hash varchar not null, created_at timestamp not null,
    created_by varchar, primary key (model, version))`,
  "create sequence core.alias_change",
  `create table core.alias_log (
    change bigint primary key default nextval('core.alias_change'), model varchar not null,
    alias varchar not null, from_version integer, to_version integer,
    kind varchar not null default 'moved', reason varchar not null,
    changed_by varchar, changed_at timestamp not null)`,
  `create table core.requests (
    request_id varchar not null, client_request_id varchar, trace_id varchar, request_time timestamp not null,
    method varchar not null, endpoint varchar not null, status_code integer not null, model varchar,
    version integer, alias varchar, requester varchar, row_count integer not null,
    duration_ms double not null, queue_ms double, model_ms double, request_bytes bigint,
    response_bytes bigint, error varchar)`,
  `create table core.inferences (
    request_id varchar not null, row integer not null, request_time timestamp not null, model varchar not null,
    version integer not null, features double[] not null, order_value double, label varchar not null,
    confidence double not null, probabilities float[] not null, slice varchar)`,
  "create sequence core.label_change",
  `create table core.labels (
    change bigint primary key default nextval('core.label_change'), request_id varchar not null,
    row integer not null, label varchar not null, source varchar, created_at timestamp not null)`,
  `create table core.judgements (
    request_id varchar not null, row integer not null, judge varchar not null,
    judge_version varchar not null, status varchar not null, kind varchar, score double,
    rationale varchar, inclusion_probability double not null, tokens_in integer, tokens_out integer,
    ms double not null, created_at timestamp not null)`,
  `create table core.drift (
    run_id varchar not null, model varchar not null, version integer not null, slice varchar not null,
    feature varchar not null, method varchar not null, statistic double, p_value double,
    is_drifted boolean, reference_count bigint not null, current_count bigint not null,
    created_at timestamp not null)`,
  "create sequence core.alert_evaluation",
  `create table core.alert_log (
    evaluation bigint primary key default nextval('core.alert_evaluation'), alert varchar not null,
    model varchar not null, version integer not null,
    severity varchar not null, state varchar not null, previous_state varchar, findings json not null,
    finding_count integer not null, error varchar, ms double not null, created_at timestamp not null)`,

  `create view requests as select * from core.requests`,
  `create view inferences as
    select i.request_id, i.row, i.request_time, i.model, i.version, i.slice, i.order_value,
      map(v.input_names, i.features) as features, i.label, i.confidence,
      map(v.class_names, i.probabilities) as probabilities, r.client_request_id, r.alias, r.requester
    from core.inferences i
    join core.model_versions v using (model, version)
    left join core.requests r using (request_id)`,
  `create view inference_features as
    select i.request_id, i.row, i.request_time, i.model, i.version, i.slice,
      unnest(v.input_names) as feature, unnest(i.features) as value
    from core.inferences i join core.model_versions v using (model, version)`,
  `create view runs as
    select run_id, name, environment, seed, status, started_at, ended_at,
      date_diff('millisecond', started_at, ended_at) / 1000.0 as seconds, user_name, error, config
    from core.runs`,
  "create view stage_runs as select * exclude (output, key_parts) from core.stage_runs",
  "create view metrics as select * from core.metrics",
  "create view findings as select * from core.findings",
  `create view aliases as
    select model, alias, to_version as version, changed_at, changed_by, reason from core.alias_log
    qualify row_number() over (partition by model, alias order by change desc) = 1`,
  "create view alias_history as select * from core.alias_log",
  `create view models as
    select v.model, v.version, list(a.alias order by a.alias) filter (a.alias is not null) as aliases,
      v.artifact, v.run_id, v.created_at, v.created_by, v.class_names, v.input_names, v.report
    from core.model_versions v left join aliases a using (model, version)
    group by all`,
  `create view labels as select * exclude (change) from core.labels
    qualify row_number() over (partition by request_id, row order by change desc) = 1`,
  "create view label_history as select * from core.labels",
  "create view judgements as select * from core.judgements",
  "create view drift as select * from core.drift",
  `create view alerts as
    select * exclude (evaluation) from core.alert_log
    qualify row_number() over (partition by model, alert order by evaluation desc) = 1`,
  "create view alert_history as select * from core.alert_log",
];

/** Every migration, the oldest first. */
export const migrations: readonly Migration[] = [
  { version: 1, statements: firstSchema },
  { version: 2, statements: trackingSchema },
  { version: 3, statements: accessSchema },
  { version: 4, statements: governanceSchema },
  { version: 5, statements: trafficSchema },
  { version: 6, statements: inferenceSchema },
  { version: 7, statements: promotionSchema },
  { version: 8, statements: quotaSchema },
  { version: 9, statements: monitoringSchema },
  { version: 10, statements: alertsSchema },
  { version: 11, statements: monitorsSchema },
  { version: 12, statements: estimatesSchema },
  { version: 13, statements: judgingSchema },
  { version: 14, statements: judgesSchema },
  { version: 15, statements: tracesSchema },
  { version: 16, statements: judgeProbesSchema },
  { version: 17, statements: onlineSchema },
  { version: 18, statements: monitorCostsSchema },
  { version: 19, statements: judgePromptsSchema },
  { version: 20, statements: judgementVersionsSchema },
  { version: 21, statements: callJudgementsSchema },
  { version: 22, statements: generatedTextsSchema },
  { version: 23, statements: estimateMethodsSchema },
];

/** Number of the newest schema this code knows; a store of a higher number is refused. */
export const SCHEMA_VERSION = migrations[migrations.length - 1].version;

/** Views with the columns `model` and `version` of which an alert sees the rows of its version alone. */
export const versionViews: readonly string[] = [
  "inferences",
  "inference_features",
  "drift",
  "profile",
  "drift_metrics",
  "estimates",
  "online_alarms",
  "judgements",
  "judge_cases",
];
