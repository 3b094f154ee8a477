/**
 * Version 7 of the schema: who approved which bytes, what the gates said of each promotion, and where
 * a version came from. All tables are append-only.
 *
 * @module
 */

/** Statements that bring a store from version 6 to version 7. */
export const promotionSchema: readonly string[] = [
  "insert into core.schema_version values (7)",

  // `evidence_hash` says what was approved: other bytes of the same number have another.
  "create sequence core.approval_change",
  `create table core.approvals (
    change bigint primary key default nextval('core.approval_change'), model varchar not null,
    version integer not null, evidence_hash varchar not null, decision varchar not null,
    approver varchar not null, role varchar not null, reason varchar, decided_at timestamp not null)`,
  // `evidence` is the artifact with all that the decision was made on.
  "create sequence core.promotion_number",
  `create table core.promotions (
    promotion bigint primary key default nextval('core.promotion_number'), model varchar not null,
    version integer not null, alias varchar not null, from_version integer,
    environment varchar not null, decided_by varchar, role varchar, reason varchar not null,
    is_passed boolean not null, is_forced boolean not null, is_promoted boolean not null,
    checks json not null, evidence_hash varchar not null, evidence varchar not null,
    decided_at timestamp not null)`,
  `create table core.version_origins (
    model varchar not null, version integer not null, from_environment varchar not null,
    from_store varchar not null, from_version integer not null, evidence_hash varchar not null,
    pushed_by varchar, pushed_at timestamp not null)`,
  // Registered when the evidence was a hash and no document. A client's hash was over a random
  // number, too: it names the version and cannot be computed again.
  `create table core.undocumented_versions as
    select v.model, v.version, d.source is null as is_bound
    from core.model_versions v left join core.version_details d using (model, version)`,

  "create view approvals as select * exclude (change) from core.approvals",
  "create view promotions as select * from core.promotions",
  "create view version_origins as select * from core.version_origins",
];
