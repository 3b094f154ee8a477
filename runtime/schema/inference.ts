/**
 * Version 6 of the schema: journals, what is kept of a request, model runs, and the inference table in
 * the shapes of a lakehouse.
 *
 * @module
 */

/** Records and answers of each request, as JSON from its rows. */
const bodies = `(select i.request_id,
      json_object('dataframe_records', list(map(v.input_names, i.features) order by i.row)) as request,
      json_object('predictions', list({
        label: i.label, confidence: i.confidence, probabilities: map(v.class_names, i.probabilities)
      } order by i.row)) as response
    from core.inferences i join core.model_versions v using (model, version)
    group by i.request_id)`;

/** Why a part of a request is missing, as a list of codes. */
const errorCodes = `coalesce(p.errors::json::varchar[], [])
    || case when r.redacted is null then [] else ['FIELDS_REDACTED'] end`;

/** Statements that bring a store from version 5 to version 6. */
export const inferenceSchema: readonly string[] = [
  "insert into core.schema_version values (6)",

  // How far the tables have followed each journal.
  "create table core.journals (journal varchar primary key, sequence bigint not null)",

  "alter table core.requests add column sampling_fraction double default 1",
  // Names of inputs, as a list in JSON.
  "alter table core.requests add column redacted varchar",
  "alter table core.inferences add column batch_id varchar",
  `create table core.payloads (
    request_id varchar not null, request_time timestamp not null, request varchar, response varchar,
    errors varchar not null, fraction double not null)`,

  "create or replace view requests as select * from core.requests",
  `create or replace view inferences as
    select i.request_id, i.row, i.request_time, i.model, i.version, i.slice, i.order_value,
      map(v.input_names, i.features) as features, i.label, i.confidence,
      map(v.class_names, i.probabilities) as probabilities, r.client_request_id, r.alias, r.requester,
      r.trace_id, v.artifact as model_hash, i.batch_id, r.sampling_fraction
    from core.inferences i
    join core.model_versions v using (model, version)
    left join core.requests r using (request_id)`,
  `create view payloads as
    select * replace (errors::json::varchar[] as errors) from core.payloads`,

  // Where a body was not kept, it is written from the rows.
  `create view inference_gateway as
    select r.request_time::date as request_date, r.request_id as databricks_request_id,
      r.client_request_id, r.request_time, r.status_code, r.sampling_fraction,
      r.duration_ms::bigint as execution_duration_ms,
      coalesce(p.request, b.request::varchar) as request,
      coalesce(p.response, b.response::varchar) as response,
      ${errorCodes} as logging_error_codes,
      r.model || '-' || r.version as served_entity_id, r.requester
    from core.requests r
    left join core.payloads p using (request_id)
    left join ${bodies} b using (request_id)
    where r.row_count > 0 or r.version is not null`,
  `create view inference_legacy as
    select databricks_request_id, client_request_id, request_date as date,
      epoch_ms(request_time) as timestamp_ms, status_code, sampling_fraction,
      execution_duration_ms as execution_time_ms, request, response,
      map {
        'model_name': regexp_extract(served_entity_id, '^(.*)-', 1),
        'model_version': regexp_extract(served_entity_id, '-([0-9]+)$', 1)
      } as request_metadata
    from inference_gateway`,
];
