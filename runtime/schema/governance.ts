/**
 * Version 4 of the schema: who changed what, as a chain of hashes, and the webhooks that are told. The
 * log, the attempts and the replays are append-only; a webhook and the state of a delivery are
 * updated.
 *
 * @module
 */

/** Statements that bring a store from version 3 to version 4. */
export const governanceSchema: readonly string[] = [
  "insert into core.schema_version values (4)",

  // Entries of one change share `change_id`. No keys: only the chain says what belongs where.
  `create table core.audit_log (
    number bigint not null, time timestamp not null, change_id varchar not null, actor varchar,
    action varchar not null, subject varchar not null, details json not null,
    previous_hash varchar not null, hash varchar not null)`,

  `create table core.webhooks (
    webhook_id varchar not null, name varchar not null, description varchar, url varchar not null,
    events varchar[] not null, status varchar not null, sealed_secret varchar,
    allows_local boolean not null, created_at timestamp not null, created_by varchar,
    updated_at timestamp not null, deleted_at timestamp)`,
  // `series` counts replays. While it is pending, the next attempt is due at `next_at`.
  `create table core.webhook_outbox (
    delivery_id varchar not null, webhook_id varchar not null, event varchar not null,
    payload varchar not null, created_at timestamp not null, state varchar not null,
    series integer not null, attempts integer not null, next_at timestamp)`,
  `create table core.webhook_attempts (
    delivery_id varchar not null, series integer not null, attempt integer not null,
    status_code integer, error varchar, ms double not null, attempted_at timestamp not null)`,

  "create view audit as select * from core.audit_log",
  // A URL often carries a secret in its path: only where it leads is shown.
  `create view webhooks as
    select webhook_id, name, description, regexp_extract(url, '^https?://[^/?#]+') as origin, events,
      status, sealed_secret is not null as is_signed, allows_local, created_at, created_by, updated_at
    from core.webhooks where deleted_at is null`,
  `create view webhook_deliveries as
    select o.delivery_id, o.webhook_id, w.name as webhook, o.event, o.payload, o.created_at, o.state,
      o.series, o.attempts, o.next_at, a.status_code, a.error, a.attempted_at
    from core.webhook_outbox o
    join core.webhooks w using (webhook_id)
    left join core.webhook_attempts a
      on a.delivery_id = o.delivery_id and a.series = o.series and a.attempt = o.attempts`,
  "create view webhook_attempts as select * from core.webhook_attempts",
];
