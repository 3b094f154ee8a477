/**
 * Version 22 of the schema: texts that language models wrote about alerts and models, for people to read.
 * No gate, alert or judge reads them.
 *
 * @module
 */

/** Statements that bring a store from version 21 to version 22. */
export const generatedTextsSchema: readonly string[] = [
  "insert into core.schema_version values (22)",

  // What a check left of a reply; null where it left nothing. `model` is the one that wrote.
  `create table core.generated_texts (
    kind varchar not null, subject varchar not null, text varchar, model varchar not null,
    model_digest varchar, prompt_hash varchar not null, dropped integer not null, tokens_in integer,
    tokens_out integer, trace_id varchar, created_at timestamp not null, created_by varchar)`,
  "create view generated_texts as select * from core.generated_texts",
];
