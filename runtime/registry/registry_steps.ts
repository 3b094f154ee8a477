/**
 * Steps of transactions that change the model registry, each with what the audit log and the webhooks
 * are told: pipelines, commands and MLflow clients make the same changes in the same way.
 *
 * @module
 */
import { recordSteps } from "../audit.ts";
import type { SqlValue, Step } from "../store/store.ts";

/** Gives the steps that record a new version, whose number and source are SQL expressions over `from`. */
export function recordVersion(
  { model, ...details }: { readonly model: string } & Readonly<Record<string, unknown>>,
  { by, number, source, from, params }: {
    readonly by: string | null;
    readonly number: string;
    readonly source: string;
    readonly from: string;
    /** Values of the `?` in `source` and then `from`. */
    readonly params: readonly SqlValue[];
  },
): Step[] {
  return recordSteps({
    action: "model_version.created",
    by,
    rows: `select ?::varchar || '/' || (${number}) as subject,
      json_merge_patch(?::json, json_object('version', (${number})::varchar, 'source', ${source}))
        as details ${from}`,
    params: [model, JSON.stringify({ name: model, ...details }), ...params],
  });
}

/** How an alias is moved. */
export interface AliasMove {
  readonly model: string;
  readonly alias: string;
  /** Where it points to then; `null` is to no version. */
  readonly version: number | null;
  readonly reason: string;
  /** `rolled back` takes an earlier move back; default `moved`. */
  readonly kind?: "moved" | "rolled back";
}

/** Gives the steps that move an alias and record it; they write nothing when nothing changes. */
export function aliasSteps(move: AliasMove, by: string | null): Step[] {
  const { model, alias, version } = move;
  return aliasLogSteps(
    `(select ?::varchar as model, ?::varchar as alias,
        (select version from aliases where model = ? and alias = ?) as version)
      where version is distinct from ?::integer`,
    [model, alias, model, alias, version],
    { ...move, by },
  );
}

/** Gives the steps that point every alias of a version, or of the whole model, at nothing. */
export function removeAliasSteps(
  { model, version }: { readonly model: string; readonly version: number | null },
  { by, reason }: { readonly by: string | null; readonly reason: string },
): Step[] {
  return aliasLogSteps(
    "aliases where model = ? and version is not null and version = coalesce(?::integer, version)",
    [model, version],
    { version: null, reason, by },
  );
}

/** `source` has the columns `model`, `alias` and `version` of what is moved, as it was before. */
function aliasLogSteps(
  source: string,
  params: readonly SqlValue[],
  { version, kind = "moved", reason, by }: Pick<AliasMove, "version" | "kind" | "reason"> & {
    readonly by: string | null;
  },
): Step[] {
  return [
    ...recordSteps({
      action: version === null ? "model_version_alias.deleted" : "model_version_alias.created",
      by,
      rows: `select model || '@' || alias as subject, json_object('name', model, 'alias', alias,
          'version', ?::integer::varchar, 'from_version', version::varchar, 'kind', ?::varchar,
          'reason', ?::varchar) as details
        from ${source}`,
      params: [version, kind, reason, ...params],
    }),
    {
      sql: `insert into core.alias_log
          (model, alias, from_version, to_version, kind, reason, changed_by, changed_at)
        select model, alias, version, ?::integer, ?, ?, ?, ?::timestamp from ${source}`,
      params: [version, kind, reason, by, new Date(), ...params],
    },
  ];
}
