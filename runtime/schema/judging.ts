/**
 * Version 13 of the schema: what a verdict rests on, beside its score. Rows of before have none of it.
 *
 * @module
 */

/** Statements that bring a store from version 12 to version 13. */
export const judgingSchema: readonly string[] = [
  "insert into core.schema_version values (13)",

  ...["raw varchar", "label varchar", "mass double", "server varchar", "model_digest varchar"]
    .map((column) => `alter table core.judgements add column ${column}`),
  ...["seed bigint", "trace_id varchar", "is_retryable boolean"]
    .map((column) => `alter table core.judgements add column ${column}`),
  "create or replace view judgements as select * from core.judgements",
];
