/**
 * Version 21 of the schema: what judges say of calls of language models. They are a table of their own,
 * so that no mean mixes predictions and calls.
 *
 * @module
 */

/** Statements that bring a store from version 20 to version 21. */
export const callJudgementsSchema: readonly string[] = [
  "insert into core.schema_version values (21)",

  // The call that is judged has its own names; trace_id is the verdict's, as in judgements. Model is
  // the one that was called.
  `create table core.call_judgements (
    call_trace_id varchar not null, call_span_id varchar not null, model varchar,
    judge varchar not null, judge_version varchar not null, status varchar not null, kind varchar,
    score double, rationale varchar, inclusion_probability double not null,
    sampling_rate double not null, tokens_in integer, tokens_out integer, ms double not null,
    created_at timestamp not null, raw varchar, label varchar, mass double, server varchar,
    model_digest varchar, seed bigint, trace_id varchar, is_retryable boolean)`,
  "create view call_judgements as select * from core.call_judgements",

  // As judge_means, by the model that was called, which may be unknown.
  `create view call_judge_means as
    with last_words as (
      select * from core.call_judgements
      qualify row_number() over (
        partition by judge, judge_version, call_trace_id, call_span_id
        order by created_at desc) = 1),
    words as (
      select *,
        least(1, inclusion_probability * coalesce(
          max(sampling_rate) over (partition by judge, judge_version)
            / nullif(sampling_rate, 0), 1)) as probability
      from last_words),
    centered as (
      select *, sum(score / probability) filter (status = 'scored') over of_model
          / sum(1 / probability) filter (status = 'scored') over of_model as mean
      from words window of_model as (partition by judge, judge_version, model)),
    sums as (
      select judge, judge_version, model, count(*) as judged,
        count(*) filter (status = 'scored') as scored,
        coalesce(sum(1 / probability) filter (status = 'scored'), 0) / sum(1 / probability)
          as coverage,
        any_value(mean) as mean,
        sqrt(sum((1 - probability) * ((score - mean) / probability) ** 2)
            filter (status = 'scored')
          * scored / nullif(scored - 1, 0))
          / sum(1 / probability) filter (status = 'scored') as standard_error,
        max(created_at) as last_judged_at
      from centered group by all)
    select judge, judge_version, model, judged, scored, coverage, mean,
      -- greatest() and least() leave nulls out.
      case when standard_error is not null
        then greatest(0, mean - 1.959964 * standard_error) end as low,
      case when standard_error is not null
        then least(1, mean + 1.959964 * standard_error) end as high,
      standard_error, last_judged_at
    from sums`,
];
