/**
 * Version 19 of the schema: the texts that judges ask, as versions that never change with aliases that
 * move, and what every version of a judge is made of.
 *
 * @module
 */

/** Statements that bring a store from version 18 to version 19. */
export const judgePromptsSchema: readonly string[] = [
  "insert into core.schema_version values (19)",

  `create table core.judge_prompts (
    name varchar not null, version integer not null, hash varchar not null, text varchar not null,
    message varchar, created_at timestamp not null, created_by varchar, primary key (name, version))`,
  "create sequence core.judge_prompt_change",
  `create table core.judge_prompt_aliases (
    change bigint primary key default nextval('core.judge_prompt_change'), name varchar not null,
    alias varchar not null, version integer, changed_at timestamp not null, changed_by varchar)`,
  `create view judge_prompt_aliases as
    select name, alias, version, changed_at, changed_by from (
      select * from core.judge_prompt_aliases
      qualify row_number() over (partition by name, alias order by change desc) = 1)
    where version is not null`,
  `create view judge_prompts as
    select p.name, p.version, list(a.alias order by a.alias) filter (a.alias is not null) as aliases,
      p.message, p.created_at, p.created_by, p.hash, p.text
    from core.judge_prompts p left join judge_prompt_aliases a using (name, version)
    group by all`,

  // The version of a judge is a hash: this is of what.
  `create table core.judge_versions (
    judge varchar not null, judge_version varchar not null, prompt varchar, definition json not null,
    created_at timestamp not null, primary key (judge, judge_version))`,
  "create view judge_versions as select * from core.judge_versions",
];
