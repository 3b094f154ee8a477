/**
 * Version 8 of the schema: what a key may use in a day.
 *
 * @module
 */

/** Statements that bring a store from version 7 to version 8. */
export const quotaSchema: readonly string[] = [
  "insert into core.schema_version values (8)",

  "alter table core.api_keys add column requests_per_day integer",
  "alter table core.api_keys add column rows_per_day integer",

  `create or replace view api_keys as
    select key_id, name, role,
      case when revoked_at is not null then 'revoked'
        when expires_at <= now() at time zone 'UTC' then 'expired'
        when rotated_at is not null then 'rotated' else 'active' end as state,
      requests_per_minute, rows_per_minute, requests_per_day, rows_per_day, created_at, created_by,
      expires_at, rotated_at, revoked_at
    from (select k.* exclude (secret_hash, expires_at), least(k.expires_at, l.ends_at) as expires_at,
        l.rotated_at, l.revoked_at
      from core.api_keys k
      left join (select key_id, min(ends_at) as ends_at,
          min(changed_at) filter (action = 'rotated') as rotated_at,
          min(changed_at) filter (action = 'revoked') as revoked_at
        from core.api_key_log group by key_id) l using (key_id))`,
];
