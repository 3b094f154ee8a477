/**
 * Version 16 of the schema: what probes found of the versions of judges. One of which a probe failed is
 * quarantined.
 *
 * @module
 */

/** Statements that bring a store from version 15 to version 16. */
export const judgeProbesSchema: readonly string[] = [
  "insert into core.schema_version values (16)",

  // Null: the probe has nothing to say of such a judge.
  `create table core.judge_probes (
    judge varchar not null, judge_version varchar not null, batch varchar not null,
    probe varchar not null, is_passed boolean, value double, threshold double,
    detail varchar not null, created_at timestamp not null)`,
  `create view judge_probes as
    select * from core.judge_probes qualify rank() over (
      partition by judge, judge_version order by created_at desc, batch) = 1`,

  `create or replace view judge_cards as
    select c.*, case
      when exists (select 1 from judge_probes p where p.judge = c.judge
        and p.judge_version = c.judge_version and p.is_passed = false) then 'quarantined'
      when c.kappa_low > 0 then 'trusted' else 'advisory' end as status
    from (select * from core.judge_cards qualify row_number() over (
      partition by judge, judge_version, model, version order by created_at desc) = 1) c`,
];
