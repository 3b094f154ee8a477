/** Tags of experiments, runs, models, versions and logged models: one append-only log. */
import type { Step, Store } from "../store/store.ts";
import { missing } from "./error.ts";
import { checkKey, checkLength, limits } from "./limits.ts";

/** What can carry tags; the subject is its id, of a version `model/3`. */
export type TagKind = "experiment" | "run" | "model" | "version" | "logged_model";

/** A key with its text. */
export interface Pair {
  readonly key: string;
  readonly value: string;
}

const longest: Readonly<Record<TagKind, number>> = {
  experiment: limits.experimentTagValue,
  run: limits.tagValue,
  model: limits.registryTagValue,
  version: limits.registryTagValue,
  logged_model: limits.tagValue,
};

/** SQL rows `key, value` of a JSON list that is bound to its `?`. */
export const pairRows =
  `(select unnest(from_json(?::json, '[{"key":"VARCHAR","value":"VARCHAR"}]'), recursive := true))`;

/**
 * Gives the steps that set tags; of a key that comes twice the last one counts.
 * @throws {TrackingError} when a key or value is not allowed.
 */
export function setTagSteps(
  { kind, subject }: { readonly kind: TagKind; readonly subject: string },
  tags: readonly Pair[],
  changedBy: string | null,
): Step[] {
  for (const { key, value } of tags) {
    checkKey("tag", key);
    checkLength(`tag "${key}"`, value, longest[kind]);
  }
  const last = [...new Map(tags.map((tag) => [tag.key, tag.value]))];
  if (last.length === 0) return [];
  return [{
    sql: `insert into core.tag_log (kind, subject, key, value, changed_by, changed_at)
      select ?, ?, key, value, ?, ? from ${pairRows}`,
    params: [
      kind,
      subject,
      changedBy,
      new Date(),
      JSON.stringify(last.map(([key, value]) => ({ key, value }))),
    ],
  }];
}

/** Gives the step that deletes a tag; the log keeps what it was. */
export function deleteTagStep(
  { kind, subject }: { readonly kind: TagKind; readonly subject: string },
  key: string,
  changedBy: string | null,
): Step {
  return {
    sql: `insert into core.tag_log (kind, subject, key, value, changed_by, changed_at)
      values (?, ?, ?, null, ?, ?)`,
    params: [kind, subject, key, changedBy, new Date()],
  };
}

/** @throws {TrackingError} when there is no such tag. */
export async function checkTag(
  store: Store,
  { kind, subject }: { readonly kind: TagKind; readonly subject: string },
  key: string,
): Promise<void> {
  const rows = await store.query(
    "select 1 from mlflow_tags where kind = ? and subject = ? and key = ?",
    [kind, subject, key],
  );
  if (rows.length > 0) return;
  throw missing(`Cannot delete tag "${key}": ${kind.replace("_", " ")} "${subject}" has none`);
}

/** Gives the tags of many subjects, by subject and in the order of their keys. */
export async function readTags(
  store: Store,
  kind: TagKind,
  subjects: readonly string[],
): Promise<Map<string, Pair[]>> {
  const found = new Map<string, Pair[]>(subjects.map((subject) => [subject, []]));
  if (subjects.length === 0) return found;
  const rows = await store.query<{ subject: string; key: string; value: string }>(
    `select subject, key, value from mlflow_tags
     where kind = ? and subject in (select unnest(?::json::varchar[])) order by key`,
    [kind, JSON.stringify(subjects)],
  );
  for (const { subject, key, value } of rows) found.get(subject)?.push({ key, value });
  return found;
}
