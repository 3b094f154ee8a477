/**
 * Version 20 of the schema: a judgement says of what version of a model it is, also when retention has
 * taken the prediction.
 *
 * @module
 */

/** Statements that bring a store from version 19 to version 20. */
export const judgementVersionsSchema: readonly string[] = [
  "insert into core.schema_version values (20)",

  // Null where the prediction had gone before.
  "alter table core.judgements add column model varchar",
  "alter table core.judgements add column version integer",
  `update core.judgements j set model = i.model, version = i.version from core.inferences i
   where i.request_id = j.request_id and i.row = j.row`,
  "create or replace view judgements as select * from core.judgements",

  // The last word of each judge version on each prediction. A rate that was raised later has raised
  // the probability of the rows drawn before, too.
  `create view judge_verdicts as
    select *,
      least(1, inclusion_probability * coalesce(
        max(sampling_rate) over (partition by judge, judge_version, model, version)
          / nullif(sampling_rate, 0), 1)) as probability
    from (
      select * from core.judgements where model is not null
      qualify row_number() over (
        partition by judge, judge_version, request_id, row order by created_at desc) = 1)`,

  // Hájek's mean of the scores with its design-based 95 % interval.
  `create or replace view judge_means as
    with sums as (
      select judge, judge_version, model, version, count(*) as judged,
        count(*) filter (status = 'scored') as scored,
        coalesce(sum(1 / probability) filter (status = 'scored'), 0) / sum(1 / probability)
          as coverage,
        sum(score / probability) filter (status = 'scored')
          / sum(1 / probability) filter (status = 'scored') as mean,
        max(created_at) as last_judged_at
      from judge_verdicts group by all),
    errors as (
      select w.judge, w.judge_version, w.model, w.version,
        sqrt(sum((1 - w.probability) * ((w.score - s.mean) / w.probability) ** 2)
          * count(*) / nullif(count(*) - 1, 0)) / sum(1 / w.probability) as standard_error
      from judge_verdicts w join sums s using (judge, judge_version, model, version)
      where w.status = 'scored' group by all)
    select s.judge, s.judge_version, s.model, s.version, s.judged, s.scored, s.coverage, s.mean,
      -- greatest() and least() leave nulls out.
      case when e.standard_error is not null
        then greatest(0, s.mean - 1.959964 * e.standard_error) end as low,
      case when e.standard_error is not null
        then least(1, s.mean + 1.959964 * e.standard_error) end as high,
      e.standard_error, s.last_judged_at
    from sums s left join errors e using (judge, judge_version, model, version)`,
];
