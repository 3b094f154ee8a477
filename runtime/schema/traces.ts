/**
 * Version 15 of the schema: spans, what language models were asked and said, and what of them was
 * moved to archives. Times are UTC, exact to a microsecond. All of it is append-only; rows go to an
 * archive, or with retention.
 *
 * @module
 */

/** Statements that bring a store from version 14 to version 15. */
export const tracesSchema: readonly string[] = [
  "insert into core.schema_version values (15)",

  // The order in which rows came, so that an archive can say which ones it took.
  "create sequence core.span_sequence",
  `create table core.spans (
    sequence bigint not null default nextval('core.span_sequence'), trace_id varchar not null,
    span_id varchar not null, parent_id varchar, name varchar not null, kind varchar not null,
    started_at timestamp not null, ended_at timestamp not null, status varchar not null,
    status_message varchar, attributes json not null, events json not null, links json not null,
    resource json not null, scope varchar, scope_version varchar)`,
  "create sequence core.llm_call_sequence",
  `create table core.llm_calls (
    sequence bigint not null default nextval('core.llm_call_sequence'), trace_id varchar not null,
    span_id varchar not null, started_at timestamp not null, ms double not null, request_id varchar,
    row integer, judge varchar, judge_version varchar, operation varchar not null, provider varchar,
    server varchar, model varchar, response_model varchar, status varchar not null, kind varchar,
    finish_reason varchar, tokens_in bigint, tokens_out bigint, cost double, temperature double,
    seed bigint, prompt varchar, reply varchar)`,
  `create table core.trace_archives (
    archive_id varchar not null, folder varchar not null, before timestamp not null,
    last_span bigint not null, last_call bigint not null, started_at timestamp not null,
    ended_at timestamp, spans bigint, calls bigint)`,

  `create view spans as
    select * exclude (sequence), date_diff('microsecond', started_at, ended_at) / 1000.0 as duration_ms
    from core.spans`,
  "create view llm_calls as select * exclude (sequence) from core.llm_calls",
  `create view traces as
    select s.*, c.request_id, c.judge, c.model, coalesce(c.llm_calls, 0) as llm_calls, c.tokens_in,
      c.tokens_out, c.cost
    from (
      select trace_id, first(name order by parent_id is not null, started_at, sequence) as name,
        min(started_at) as started_at, max(ended_at) as ended_at,
        date_diff('microsecond', min(started_at), max(ended_at)) / 1000.0 as duration_ms,
        count(*) as spans, count(*) filter (status = 'error') as errors,
        case when count(*) filter (status = 'error') > 0 then 'error' else 'ok' end as status,
        first(resource ->> '$."service.name"' order by parent_id is not null, started_at, sequence)
          as service
      from core.spans group by trace_id) s
    left join (
      select trace_id, any_value(request_id) as request_id, any_value(judge) as judge,
        any_value(model) as model, count(*) as llm_calls, sum(tokens_in)::bigint as tokens_in,
        sum(tokens_out)::bigint as tokens_out, sum(cost) as cost
      from core.llm_calls group by trace_id) c using (trace_id)`,
  // A sum that leaves calls out says how many.
  `create view llm_costs as
    select started_at::date as day, judge, model, count(*) as calls,
      sum(tokens_in)::bigint as tokens_in, sum(tokens_out)::bigint as tokens_out, sum(cost) as cost,
      count(*) filter (cost is null) as unpriced, count(*) filter (status = 'error') as errors
    from core.llm_calls group by all`,
  "create view trace_archives as select * from core.trace_archives",
];
