/**
 * Version 14 of the schema: how far judging is, what people say of predictions, and what every version
 * of a judge is worth.
 *
 * @module
 */

/** The last word of each judge version on each prediction. */
const lastWords = `(select * from core.judgements qualify row_number() over (
      partition by judge, judge_version, request_id, row order by created_at desc) = 1)`;

/** Statements that bring a store from version 13 to version 14. */
export const judgesSchema: readonly string[] = [
  "insert into core.schema_version values (14)",

  // Probability with which the row would be drawn if all were alike, and what it is alike to.
  "alter table core.judgements add column sampling_rate double",
  "alter table core.judgements add column stratum varchar",
  "create or replace view judgements as select * from core.judgements",

  // All drawn rows of days before \`day\` are judged, if these days still hold these very rows.
  `create table core.judge_cursors (
    judge varchar not null, judge_version varchar not null, model varchar not null,
    version integer not null, plan varchar not null, day date not null, rows bigint not null,
    fingerprint varchar not null, updated_at timestamp not null,
    primary key (judge, judge_version, model, version))`,

  // Label good or bad; null takes the one before back. Judge '' is the truth of the prediction.
  "create sequence core.judge_label_change",
  `create table core.judge_labels (
    change bigint primary key default nextval('core.judge_label_change'),
    request_id varchar not null, row integer not null, judge varchar not null default '',
    label varchar, labeled_by varchar, created_at timestamp not null)`,
  `create view judge_labels as
    select * exclude (change) from (
      select * from core.judge_labels
      qualify row_number() over (partition by request_id, row, judge order by change desc) = 1)
    where label is not null`,

  // A label of a class is truth, too; what a person says of the prediction itself counts before it.
  `create view judge_truth as
    select request_id, row, judge, label = 'good' as is_good, 'person' as source from judge_labels
    union all
    select i.request_id, i.row, '', l.label = i.label, 'class label'
    from labels l join core.inferences i using (request_id, row)
    where not exists (select 1 from judge_labels j
      where j.request_id = i.request_id and j.row = i.row and j.judge = '')`,

  // Rows of training with the true label or a swapped one: of kind card, or a canary of a batch.
  `create table core.judge_cases (
    kind varchar not null, batch varchar not null, model varchar not null, version integer not null,
    judge varchar not null, judge_version varchar not null, request_id varchar not null,
    shown varchar not null, is_good boolean not null, status varchar not null, reason varchar,
    score double, tokens_in integer, tokens_out integer, ms double not null,
    created_at timestamp not null)`,
  "create view judge_cases as select * from core.judge_cases",
  `create view judge_canaries as
    with batches as (
      select model, version, judge, judge_version, batch, count(*) as asked,
        count(*) filter (status = 'scored') as scored, max(created_at) as created_at
      from core.judge_cases where kind = 'canary' group by all),
    areas as (
      select g.model, g.version, g.judge, g.judge_version, g.batch,
        avg(case when g.score > b.score then 1.0 when g.score = b.score then 0.5 else 0 end) as auc
      from core.judge_cases g join core.judge_cases b
        using (model, version, judge, judge_version, batch, kind)
      where kind = 'canary' and g.is_good and not b.is_good
        and g.status = 'scored' and b.status = 'scored'
      group by all)
    select b.*, a.auc from batches b
    left join areas a using (model, version, judge, judge_version, batch)`,

  `create table core.judge_cards (
    judge varchar not null, judge_version varchar not null, model varchar not null,
    version integer not null, source varchar not null, n bigint not null, good bigint not null,
    coverage double, auc double, auc_low double, auc_high double, kappa double, kappa_low double,
    kappa_high double, tpr double, tnr double, ece double, brier double, threshold double,
    calibrator json, rule_lift double, rule_lift_low double, rule_lift_high double,
    own_lift double, own_lift_low double, own_lift_high double, summary varchar not null,
    tokens bigint not null, ms double not null, created_at timestamp not null)`,
  // What may fire an alert or block a promotion: trusted, and nothing else.
  `create view judge_cards as
    select c.*, case when c.kappa_low > 0 then 'trusted' else 'advisory' end as status
    from (select * from core.judge_cards qualify row_number() over (
      partition by judge, judge_version, model, version order by created_at desc) = 1) c`,

  // Hájek's mean of the scores with its design-based 95 % interval. A rate that was raised later
  // has raised the probability of the rows drawn before, too.
  `create view judge_means as
    with words as (
      select j.*, i.model, i.version,
        least(1, j.inclusion_probability * coalesce(
          max(j.sampling_rate) over (partition by j.judge, j.judge_version, i.model, i.version)
            / nullif(j.sampling_rate, 0), 1)) as probability
      from ${lastWords} j join core.inferences i using (request_id, row)),
    sums as (
      select judge, judge_version, model, version, count(*) as judged,
        count(*) filter (status = 'scored') as scored,
        sum(1 / probability) filter (status = 'scored') / sum(1 / probability) as coverage,
        sum(score / probability) filter (status = 'scored')
          / sum(1 / probability) filter (status = 'scored') as mean,
        max(created_at) as last_judged_at
      from words group by all),
    errors as (
      select w.judge, w.judge_version, w.model, w.version,
        sqrt(sum((1 - w.probability) * ((w.score - s.mean) / w.probability) ** 2)
          * count(*) / nullif(count(*) - 1, 0)) / sum(1 / w.probability) as standard_error
      from words w join sums s using (judge, judge_version, model, version)
      where w.status = 'scored' group by all)
    select s.judge, s.judge_version, s.model, s.version, s.judged, s.scored, s.coverage, s.mean,
      greatest(0, s.mean - 1.959964 * e.standard_error) as low,
      least(1, s.mean + 1.959964 * e.standard_error) as high, e.standard_error, s.last_judged_at
    from sums s left join errors e using (judge, judge_version, model, version)`,
];
