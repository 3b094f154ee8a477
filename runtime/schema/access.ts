/**
 * Version 3 of the schema: the keys that may call a server. Both tables are append-only: a key is
 * never changed, and what became of it stands in the log.
 *
 * @module
 */

/** Statements that bring a store from version 2 to version 3. */
export const accessSchema: readonly string[] = [
  "insert into core.schema_version values (3)",

  `create table core.api_keys (
    key_id varchar not null, name varchar not null, role varchar not null, secret_hash varchar not null,
    requests_per_minute integer, rows_per_minute integer, expires_at timestamp,
    created_at timestamp not null, created_by varchar)`,
  "create sequence core.api_key_change",
  // `ends_at` is when the key of the row stops to work because of the row.
  `create table core.api_key_log (
    change bigint primary key default nextval('core.api_key_change'), key_id varchar not null,
    name varchar not null, action varchar not null, ends_at timestamp, reason varchar not null,
    changed_by varchar, changed_at timestamp not null)`,

  `create view api_keys as
    select key_id, name, role,
      case when revoked_at is not null then 'revoked'
        when expires_at <= now() at time zone 'UTC' then 'expired'
        when rotated_at is not null then 'rotated' else 'active' end as state,
      requests_per_minute, rows_per_minute, created_at, created_by, expires_at, rotated_at, revoked_at
    from (select k.* exclude (secret_hash, expires_at), least(k.expires_at, l.ends_at) as expires_at,
        l.rotated_at, l.revoked_at
      from core.api_keys k
      left join (select key_id, min(ends_at) as ends_at,
          min(changed_at) filter (action = 'rotated') as rotated_at,
          min(changed_at) filter (action = 'revoked') as revoked_at
        from core.api_key_log group by key_id) l using (key_id))`,
  "create view api_key_history as select * from core.api_key_log",
];
