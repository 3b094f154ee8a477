/** Logged models: what a run made, before it is a version of a registered model. */
import type { Row, Store } from "../store/store.ts";
import { type By, getExperiment, type MetricPoint, toPoint } from "./runs.ts";
import { commit, invalid, missing } from "./error.ts";
import { checkCount, checkKey, checkLength, limits } from "./limits.ts";
import { checkTag, deleteTagStep, type Pair, pairRows, readTags, setTagSteps } from "./tags.ts";

/** How far a logged model is; the artifacts of one that is ready are all there. */
export const loggedModelStatuses = ["PENDING", "READY", "UPLOAD_FAILED"] as const;

/** One of {@linkcode loggedModelStatuses}. */
export type LoggedModelStatus = typeof loggedModelStatuses[number];

/** One logged model. */
export interface LoggedModel {
  readonly id: string;
  readonly experimentId: string;
  readonly name: string;
  readonly modelType: string | null;
  readonly sourceRunId: string | null;
  readonly status: LoggedModelStatus;
  readonly artifactUri: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly params: readonly Pair[];
  readonly metrics: readonly (MetricPoint & { readonly runId: string })[];
  readonly tags: readonly Pair[];
  readonly registrations: readonly { readonly name: string; readonly version: number }[];
}

/** Creates a logged model that waits for its artifacts. */
export async function createLoggedModel(
  store: Store,
  entry: {
    readonly experimentId: string;
    readonly name?: string;
    readonly modelType?: string;
    readonly sourceRunId?: string;
    readonly params?: readonly Pair[];
    readonly tags?: readonly Pair[];
  },
  { by }: By,
): Promise<LoggedModel> {
  const experiment = await getExperiment(store, entry.experimentId);
  const id = `m-${crypto.randomUUID().replaceAll("-", "")}`;
  const name = entry.name || id;
  if (/[/:.%"']/.test(name)) {
    throw invalid(`Cannot name a logged model "${name}": a name has none of / : . % and quotes`);
  }
  checkLength("the logged model's name", name, limits.modelName);
  const now = new Date();
  await commit(store, [
    {
      sql: "insert into core.logged_models values (?, ?, ?, ?, ?, 'PENDING', ?, 'active', ?, ?)",
      params: [
        id,
        experiment.id,
        name,
        entry.modelType || null,
        entry.sourceRunId || null,
        `${experiment.artifactLocation}/models/${id}/artifacts`,
        now,
        now,
      ],
    },
    ...paramSteps(id, entry.params ?? []),
    ...setTagSteps({ kind: "logged_model", subject: id }, entry.tags ?? [], by),
  ]);
  return await getLoggedModel(store, id);
}

function paramSteps(id: string, params: readonly Pair[]) {
  checkCount("params", params.length, limits.entitiesPerBatch);
  for (const { key, value } of params) {
    checkKey("param", key);
    checkLength(`param "${key}"`, value, limits.paramValue);
  }
  if (params.length === 0) return [];
  return [{
    sql: `insert into core.logged_model_params select ?, n.key, n.value from ${pairRows} n
      where n.key not in (select key from core.logged_model_params where model_id = ?)`,
    params: [id, JSON.stringify(params), id],
  }];
}

/** Gives a logged model. @throws {TrackingError} when there is none or it is deleted. */
export async function getLoggedModel(
  store: Store,
  id: string,
  { isDeletedAllowed = false }: { readonly isDeletedAllowed?: boolean } = {},
): Promise<LoggedModel> {
  const [found] = await toLoggedModels(
    store,
    await store.query(
      `from core.logged_models where model_id = ? and (lifecycle_stage = 'active' or ?)`,
      [id, isDeletedAllowed],
    ),
  );
  if (!found) throw missing(`Cannot find logged model "${id}": there is none of this id`);
  return found;
}

/** Gives rows of `core.logged_models` with params, metrics, tags and registrations. */
export async function toLoggedModels(store: Store, rows: readonly Row[]): Promise<LoggedModel[]> {
  if (rows.length === 0) return [];
  const ids = rows.map((row) => row.model_id as string);
  const list = [JSON.stringify(ids)];
  const ofModels = "model_id in (select unnest(?::json::varchar[]))";
  const [tags, params, metrics, registrations] = await Promise.all([
    readTags(store, "logged_model", ids),
    store.query(`from core.logged_model_params where ${ofModels} order by key`, list),
    store.query(
      `from core.tracked_metrics where ${ofModels}
       qualify row_number() over (partition by model_id, run_id, key, dataset_name, dataset_digest
         order by step desc, time desc, isnan(value), value desc) = 1 order by key`,
      list,
    ),
    store.query(
      `select model_id, model, version from mlflow_model_versions where ${ofModels} order by model, version`,
      list,
    ),
  ]);
  const of = (all: readonly Row[], id: string) => all.filter((row) => row.model_id === id);
  return rows.map((row) => {
    const id = row.model_id as string;
    return {
      id,
      experimentId: row.experiment_id as string,
      name: row.name as string,
      modelType: row.model_type as string | null,
      sourceRunId: row.source_run_id as string | null,
      status: row.status as LoggedModelStatus,
      artifactUri: row.artifact_uri as string,
      createdAt: new Date(row.created_at as string),
      updatedAt: new Date(row.updated_at as string),
      params: of(params, id).map(({ key, value }) => ({ key, value }) as Pair),
      metrics: of(metrics, id).map((metric) => ({
        ...toPoint(metric),
        runId: metric.run_id as string,
      })),
      tags: tags.get(id) ?? [],
      registrations: of(registrations, id).map(({ model, version }) => ({
        name: model as string,
        version: version as number,
      })),
    };
  });
}

/** What changes of a logged model. */
export interface LoggedModelChange {
  readonly status?: LoggedModelStatus;
  readonly params?: readonly Pair[];
  readonly tags?: readonly Pair[];
  readonly isDeleted?: true;
}

/** Changes a logged model and gives it. */
export async function updateLoggedModel(
  store: Store,
  id: string,
  change: LoggedModelChange,
  { by }: By,
): Promise<LoggedModel> {
  await getLoggedModel(store, id);
  await commit(store, [
    {
      sql: `update core.logged_models set status = coalesce(?, status), updated_at = ?,
        lifecycle_stage = coalesce(?, lifecycle_stage) where model_id = ?`,
      params: [change.status ?? null, new Date(), change.isDeleted ? "deleted" : null, id],
    },
    ...paramSteps(id, change.params ?? []),
    ...setTagSteps({ kind: "logged_model", subject: id }, change.tags ?? [], by),
  ]);
  return await getLoggedModel(store, id, { isDeletedAllowed: true });
}

/** Deletes a tag of a logged model. @throws {TrackingError} when there is none. */
export async function deleteLoggedModelTag(
  store: Store,
  id: string,
  key: string,
  { by }: By,
): Promise<void> {
  await getLoggedModel(store, id);
  const subject = { kind: "logged_model" as const, subject: id };
  await checkTag(store, subject, key);
  await commit(store, [deleteTagStep(subject, key, by)]);
}
