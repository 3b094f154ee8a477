/**
 * Version 2 of the schema: experiments, runs and models as the MLflow client writes them, in views
 * together with what pipelines record, so that one question sees both.
 *
 * A pipeline's runs are runs of an experiment named after its use case; its config is their params,
 * its stages' metrics are theirs as `<stage>/<metric>`. Nothing is copied: the views read
 * `core.runs` and `core.metrics`.
 *
 * @module
 */

/** Experiment of a pipeline's runs: one that was created with the use case's name, else one of its own. */
const pipelineExperiment = `coalesce(
  (select e.experiment_id from core.experiments e where e.name = r.name),
  'pipeline-' || left(regexp_replace(r.name, '[^A-Za-z0-9_-]', '-', 'g'), 40) || '-' || left(md5(r.name), 8))`;

/** Statements that bring a store from version 1 to version 2. */
export const trackingSchema: readonly string[] = [
  "insert into core.schema_version values (2)",

  "create sequence core.experiment_number",
  `create table core.experiments (
    experiment_id varchar primary key, name varchar not null, artifact_location varchar not null,
    lifecycle_stage varchar not null, created_at timestamp not null, updated_at timestamp not null)`,
  `insert into core.experiments values
    ('0', 'Default', 'mlflow-artifacts:/0', 'active', now() at time zone 'UTC', now() at time zone 'UTC')`,
  `create table core.tracked_runs (
    run_id varchar primary key, experiment_id varchar not null, name varchar not null, user_id varchar,
    status varchar not null, lifecycle_stage varchar not null, start_time timestamp not null,
    end_time timestamp, artifact_uri varchar not null)`,
  `create table core.tracked_params (
    run_id varchar not null, key varchar not null, value varchar not null)`,
  `create table core.tracked_metrics (
    run_id varchar not null, key varchar not null, value double not null, step bigint not null,
    time timestamp not null, model_id varchar, dataset_name varchar, dataset_digest varchar)`,
  `create table core.tracked_inputs (
    run_id varchar not null, name varchar not null, digest varchar not null, source_type varchar,
    source varchar, schema varchar, profile varchar, context varchar, tags json not null,
    created_at timestamp not null)`,
  `create table core.tracked_model_links (
    run_id varchar not null, model_id varchar not null, direction varchar not null, step bigint,
    created_at timestamp not null)`,
  "create sequence core.tag_change",
  `create table core.tag_log (
    change bigint default nextval('core.tag_change'), kind varchar not null, subject varchar not null,
    key varchar not null, value varchar, changed_by varchar, changed_at timestamp not null)`,
  `create table core.artifact_paths (
    path varchar primary key, artifact varchar not null, size bigint not null, created_at timestamp not null)`,
  `create table core.logged_models (
    model_id varchar primary key, experiment_id varchar not null, name varchar not null,
    model_type varchar, source_run_id varchar, status varchar not null, artifact_uri varchar not null,
    lifecycle_stage varchar not null, created_at timestamp not null, updated_at timestamp not null)`,
  `create table core.logged_model_params (
    model_id varchar not null, key varchar not null, value varchar not null)`,
  `create table core.registered_models (
    name varchar primary key, description varchar, created_at timestamp not null,
    updated_at timestamp not null, created_by varchar, deleted_at timestamp)`,
  `create table core.version_details (
    model varchar not null, version integer not null, description varchar, source varchar,
    storage varchar, run_link varchar, model_id varchar, updated_at timestamp not null,
    deleted_at timestamp, primary key (model, version))`,

  `create view mlflow_experiments as
    select experiment_id, name, artifact_location, lifecycle_stage, created_at, updated_at, 'mlflow' as origin
    from core.experiments
    union all
    select experiment_id, name, 'mlflow-artifacts:/' || experiment_id, 'active', created_at, updated_at, 'pipeline'
    from (select r.name, ${pipelineExperiment} as experiment_id, min(r.started_at) as created_at,
        max(coalesce(r.ended_at, r.started_at)) as updated_at from core.runs r group by r.name)
    where name not in (select name from core.experiments)`,
  `create view mlflow_runs as
    select run_id, experiment_id, name, user_id, status, lifecycle_stage, start_time, end_time,
      artifact_uri, 'mlflow' as origin
    from core.tracked_runs
    union all
    select run_id, experiment_id, name || ' ' || run_id, user_name,
      case status when 'running' then 'RUNNING' when 'done' then 'FINISHED' when 'failed' then 'FAILED'
        else 'KILLED' end,
      'active', started_at, ended_at,
      'mlflow-artifacts:/' || experiment_id || '/' || run_id || '/artifacts', 'pipeline'
    from (select r.*, ${pipelineExperiment} as experiment_id from core.runs r)`,
  `create view mlflow_params as
    select run_id, key, value from core.tracked_params
    union all
    select r.run_id, substr(t.fullkey, 3), coalesce(t.atom ->> '$', 'null')
    from core.runs r, json_tree(r.config) t where t.type not in ('OBJECT', 'ARRAY')
    union all
    select run_id, 'seed', seed::varchar from core.runs`,
  `create view mlflow_metrics as
    select run_id, key, value, step, time, model_id, dataset_name, dataset_digest
    from core.tracked_metrics
    union all
    select run_id, stage || '/' || metric, coalesce(value, 'NaN'::double), step, created_at, null, null, null
    from core.metrics`,
  // The latest value is the one of the highest step, then time, then value; NaN is below every number.
  `create view mlflow_latest_metrics as
    select run_id, key, latest.value as value, latest.step as step, latest.time as time
    from (select run_id, key, max({'step': step, 'time': time,
        'rank': case when isnan(value) then '-Infinity'::double else value end, 'value': value}) as latest
      from mlflow_metrics group by run_id, key)`,
  `create view tag_history as select * from core.tag_log`,
  `create view mlflow_tags as
    select kind, subject, key, latest.value as value
    from (select kind, subject, key, max({'change': change, 'value': value}) as latest
      from core.tag_log group by kind, subject, key)
    where latest.value is not null
    union all
    select 'run', r.run_id, t.key, t.value
    from core.runs r, (select unnest([
      {'key': 'mlflow.runName', 'value': r.name || ' ' || r.run_id},
      {'key': 'mlflow.user', 'value': r.user_name},
      {'key': 'mlflow.source.type', 'value': 'JOB'},
      {'key': 'mlflow.source.name', 'value': 'deno task pipeline'},
      {'key': 'geophone.environment', 'value': r.environment},
      {'key': 'geophone.code_hash', 'value': r.code_hash},
      {'key': 'geophone.error', 'value': r.error}], recursive := true)) t
    where t.value is not null
    union all
    select 'version', v.model || '/' || v.version, t.key, t.value
    from core.model_versions v, (select unnest([
      {'key': 'geophone.artifact', 'value': v.artifact},
      {'key': 'geophone.evidence_hash', 'value': v.evidence_hash},
      {'key': 'geophone.servable', 'value': (v.signature::varchar <> 'null')::varchar}], recursive := true)) t`,
  `create view registered_models as
    select m.name, m.description, m.created_at, m.updated_at, m.created_by from core.registered_models m
    where m.deleted_at is null or exists (
      select 1 from core.model_versions v where v.model = m.name and v.created_at > m.deleted_at)
    union all
    select model, null, min(created_at), max(created_at), arg_min(created_by, version)
    from core.model_versions where model not in (select name from core.registered_models) group by model`,
  `create or replace view models as
    select v.model, v.version, list(a.alias order by a.alias) filter (a.alias is not null) as aliases,
      v.artifact, v.run_id, v.created_at, v.created_by, v.class_names, v.input_names, v.report
    from core.model_versions v
    left join core.version_details d using (model, version)
    left join aliases a using (model, version)
    where d.deleted_at is null
    group by all`,
  `create view mlflow_model_versions as
    select v.model, v.version, v.created_at, coalesce(d.updated_at, v.created_at) as updated_at,
      v.created_by, d.description, v.run_id, d.run_link, d.model_id, v.artifact,
      v.signature::varchar <> 'null' as is_servable,
      coalesce(d.source, 'mlflow-artifacts:/models/' || v.model || '/' || v.version) as source,
      coalesce(d.storage, 'mlflow-artifacts:/models/' || v.model || '/' || v.version) as storage,
      coalesce(a.aliases, []) as aliases,
      case when list_contains(coalesce(a.aliases, []), 'production') then 'Production'
        when list_contains(coalesce(a.aliases, []), 'staging') then 'Staging'
        else coalesce(t.value, 'None') end as stage
    from core.model_versions v
    left join core.version_details d using (model, version)
    left join (select model, version, list(alias order by alias) as aliases from aliases group by all) a
      using (model, version)
    left join mlflow_tags t
      on t.kind = 'version' and t.subject = v.model || '/' || v.version and t.key = 'geophone.stage'
    where d.deleted_at is null`,
  "create view artifact_paths as select * from core.artifact_paths",
];
