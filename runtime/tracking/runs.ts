/**
 * Experiments and their runs: params that never change, a history of every metric, tags, inputs and
 * outputs. Runs of the project's own pipelines are seen through the same functions, and only read.
 *
 * @module
 */
import type { Row, Step, Store } from "../store/store.ts";
import { commit, invalid, missing, refusalSql, refuseIf, taken } from "./error.ts";
import { checkCount, checkKey, checkLength, limits } from "./limits.ts";
import { checkTag, deleteTagStep, type Pair, pairRows, readTags, setTagSteps } from "./tags.ts";

/** Whether a thing is in use or was deleted; nothing deleted is ever erased. */
export type Lifecycle = "active" | "deleted";

/** One experiment. */
export interface Experiment {
  readonly id: string;
  readonly name: string;
  readonly artifactLocation: string;
  readonly lifecycle: Lifecycle;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly tags: readonly Pair[];
}

/** States of a run. */
export const runStatuses = ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"] as const;

/** One of {@linkcode runStatuses}. */
export type RunStatus = typeof runStatuses[number];

/** One value of a metric; `value` may be NaN or infinite. */
export interface MetricPoint {
  readonly key: string;
  readonly value: number;
  readonly time: Date;
  readonly step: number;
  readonly modelId?: string | null;
  readonly datasetName?: string | null;
  readonly datasetDigest?: string | null;
}

/** A dataset that a run took, with what it took it for among its tags. */
export interface RunInput {
  readonly name: string;
  readonly digest: string;
  readonly sourceType: string | null;
  readonly source: string | null;
  readonly schema: string | null;
  readonly profile: string | null;
  readonly tags: readonly Pair[];
}

/** A logged model that a run took or made. */
export interface ModelLink {
  readonly modelId: string;
  readonly direction: "input" | "output";
  readonly step: number | null;
}

/** One run with everything it logged; of each metric the latest value. */
export interface TrackedRun {
  readonly id: string;
  readonly experimentId: string;
  readonly name: string;
  readonly userId: string | null;
  readonly status: RunStatus;
  readonly lifecycle: Lifecycle;
  readonly startTime: Date;
  readonly endTime: Date | null;
  readonly artifactUri: string;
  readonly origin: "mlflow" | "pipeline";
  readonly params: readonly Pair[];
  readonly metrics: readonly MetricPoint[];
  readonly tags: readonly Pair[];
  readonly inputs: readonly RunInput[];
  readonly models: readonly ModelLink[];
}

/** What one request logs to a run; all of it or nothing. */
export interface Batch {
  readonly params?: readonly Pair[];
  readonly metrics?: readonly MetricPoint[];
  readonly tags?: readonly Pair[];
}

/** Who asks, for the logs. */
export interface By {
  readonly by: string | null;
}

/** Key of the tag that holds a run's name, too. */
export const NAME_TAG = "mlflow.runName";

/** Key of the tag of an input that says what it was taken for. */
const CONTEXT_TAG = "mlflow.data.context";

/** Gives an experiment, deleted ones too. @throws {TrackingError} when there is none. */
export async function getExperiment(store: Store, id: string): Promise<Experiment> {
  const [found] = await readExperiments(store, "experiment_id = ?", [id]);
  if (!found) throw missing(`Cannot find experiment "${id}": there is none of this id`);
  return found;
}

/** Gives an experiment by name. @throws {TrackingError} when there is none. */
export async function getExperimentByName(store: Store, name: string): Promise<Experiment> {
  const [found] = await readExperiments(store, "name = ?", [name]);
  if (!found) throw missing(`Cannot find experiment "${name}": there is none of this name`);
  return found;
}

async function readExperiments(
  store: Store,
  condition: string,
  params: readonly string[],
): Promise<Experiment[]> {
  const rows = await store.query(`select * from mlflow_experiments where ${condition}`, params);
  return await toExperiments(store, rows);
}

/** Gives rows of the view `mlflow_experiments` with their tags. */
export async function toExperiments(store: Store, rows: readonly Row[]): Promise<Experiment[]> {
  const tags = await readTags(store, "experiment", rows.map((row) => row.experiment_id as string));
  return rows.map((row) => ({
    id: row.experiment_id as string,
    name: row.name as string,
    artifactLocation: row.artifact_location as string,
    lifecycle: row.lifecycle_stage as Lifecycle,
    createdAt: new Date(row.created_at as string),
    updatedAt: new Date(row.updated_at as string),
    tags: tags.get(row.experiment_id as string) ?? [],
  }));
}

/**
 * Creates an experiment and gives its id.
 * @throws {TrackingError} when the name is taken, also by a deleted experiment or a use case.
 */
export async function createExperiment(
  store: Store,
  entry: {
    readonly name: string;
    readonly artifactLocation?: string;
    readonly tags?: readonly Pair[];
  },
  { by }: By,
): Promise<string> {
  checkExperimentName(entry.name);
  const [{ number }] = await store.query<{ number: number }>(
    "with x as (select nextval('core.experiment_number') as number) select number from x",
  );
  const id = String(number);
  await commit(store, [
    refuseTakenName(entry.name),
    {
      sql: "insert into core.experiments values (?, ?, ?, 'active', ?, ?)",
      params: [
        id,
        entry.name,
        entry.artifactLocation || `mlflow-artifacts:/${id}`,
        new Date(),
        new Date(),
      ],
    },
    ...setTagSteps({ kind: "experiment", subject: id }, entry.tags ?? [], by),
  ]);
  return id;
}

function checkExperimentName(name: string): void {
  if (name.trim() === "") throw invalid("Cannot name an experiment: the name is empty");
  checkLength("the experiment name", name, limits.experimentName);
}

function refuseTakenName(name: string): Step {
  return refuseIf(
    taken(`Cannot name an experiment "${name}": there is one of this name, maybe a deleted one`),
    "exists (select 1 from mlflow_experiments where name = ?)",
    [name],
  );
}

/** Refuses to change an experiment that is only a view of a pipeline's runs. */
function refuseUnlessOwn(id: string): Step[] {
  return [
    refuseIf(
      missing(`Cannot find experiment "${id}": there is none of this id`),
      "not exists (select 1 from mlflow_experiments where experiment_id = ?)",
      [id],
    ),
    refuseIf(
      invalid(
        `Cannot change experiment "${id}": it shows the runs of a pipeline, which names and keeps them`,
      ),
      `exists (select 1 from mlflow_runs where experiment_id = ? and origin = 'pipeline')`,
      [id],
    ),
  ];
}

/** Renames an experiment. @throws {TrackingError} when the new name is taken. */
export async function renameExperiment(store: Store, id: string, name: string): Promise<void> {
  checkExperimentName(name);
  await commit(store, [
    ...refuseUnlessOwn(id),
    refuseIf(
      taken(`Cannot rename experiment "${id}" to "${name}": there is one of this name`),
      "exists (select 1 from mlflow_experiments where name = ? and experiment_id <> ?)",
      [name, id],
    ),
    {
      sql: "update core.experiments set name = ?, updated_at = ? where experiment_id = ?",
      params: [name, new Date(), id],
    },
  ]);
}

/** Deletes or restores an experiment with its runs. @throws {TrackingError} when it may not be. */
export async function moveExperiment(store: Store, id: string, to: Lifecycle): Promise<void> {
  if (id === "0" && to === "deleted") {
    throw invalid('Cannot delete experiment "0": runs without an experiment are kept there');
  }
  await commit(store, [
    ...refuseUnlessOwn(id),
    {
      sql:
        "update core.experiments set lifecycle_stage = ?, updated_at = ? where experiment_id = ?",
      params: [to, new Date(), id],
    },
    {
      sql: "update core.tracked_runs set lifecycle_stage = ? where experiment_id = ?",
      params: [to, id],
    },
  ]);
}

/** Sets or, with `null`, deletes a tag of an experiment. */
export async function tagExperiment(
  store: Store,
  id: string,
  tag: { readonly key: string; readonly value: string | null },
  { by }: By,
): Promise<void> {
  await getExperiment(store, id);
  const subject = { kind: "experiment" as const, subject: id };
  if (tag.value === null) await checkTag(store, subject, tag.key);
  await commit(
    store,
    tag.value === null
      ? [deleteTagStep(subject, tag.key, by)]
      : setTagSteps(subject, [{ key: tag.key, value: tag.value }], by),
  );
}

/** Starts a run and gives it. @throws {TrackingError} when its experiment is none or deleted. */
export async function createRun(
  store: Store,
  entry: {
    readonly experimentId: string;
    readonly name?: string;
    readonly userId?: string;
    readonly startTime?: Date;
    readonly tags?: readonly Pair[];
  },
  { by }: By,
): Promise<TrackedRun> {
  const experiment = await getExperiment(store, entry.experimentId);
  const id = crypto.randomUUID().replaceAll("-", "");
  const given = entry.tags ?? [];
  const name = entry.name || given.find((tag) => tag.key === NAME_TAG)?.value || makeName(id);
  const tags = [...given.filter((tag) => tag.key !== NAME_TAG), { key: NAME_TAG, value: name }];
  await commit(store, [
    refuseIf(
      invalid(`Cannot start a run: experiment "${experiment.id}" is deleted; restore it first`),
      `exists (select 1 from core.experiments where experiment_id = ? and lifecycle_stage = 'deleted')`,
      [experiment.id],
    ),
    {
      sql: "insert into core.tracked_runs values (?, ?, ?, ?, 'RUNNING', 'active', ?, null, ?)",
      params: [
        id,
        experiment.id,
        name,
        entry.userId ?? by,
        entry.startTime ?? new Date(),
        `${experiment.artifactLocation}/${id}/artifacts`,
      ],
    },
    ...setTagSteps({ kind: "run", subject: id }, tags, by),
  ]);
  return await getRun(store, id);
}

const firstWords = ["basal", "clean", "deep", "fine", "graded", "laminar", "massive", "porous"];
const lastWords = ["anticline", "basin", "core", "delta", "fan", "horizon", "marl", "reef"];

/** A name that people can say, from a run's id. */
function makeName(id: string): string {
  const number = Number.parseInt(id.slice(0, 6), 16);
  return `${firstWords[number % 8]}-${lastWords[(number >> 3) % 8]}-${(number >> 6) % 1000}`;
}

/** Gives a run, deleted ones too. @throws {TrackingError} when there is none. */
export async function getRun(store: Store, id: string): Promise<TrackedRun> {
  const [run] = await toRuns(store, await store.query("from mlflow_runs where run_id = ?", [id]));
  if (!run) throw noRun(id);
  return run;
}

function noRun(id: string) {
  return missing(`Cannot find run "${id}": there is none of this id`);
}

/** Rows whose column `run_id` is among the ids of a JSON list that is bound to the `?`. */
const ofRuns = "run_id in (select unnest(?::json::varchar[]))";

/** Gives rows of the view `mlflow_runs` with what the runs logged, in the same order. */
export async function toRuns(store: Store, rows: readonly Row[]): Promise<TrackedRun[]> {
  if (rows.length === 0) return [];
  const ids = rows.map((row) => row.run_id as string);
  const list = [JSON.stringify(ids)];
  const [tags, params, metrics, inputs, models] = await Promise.all([
    readTags(store, "run", ids),
    store.query<{ run_id: string; key: string; value: string }>(
      `select run_id, key, value from mlflow_params where ${ofRuns} order by key`,
      list,
    ),
    // The view's own aggregate, over the rows of these runs alone.
    store.query(
      `select run_id, key, latest.value as value, latest.step as step, latest.time as time from (
        select run_id, key, max({'step': step, 'time': time,
          'rank': case when isnan(value) then '-Infinity'::double else value end, 'value': value}) as latest
        from mlflow_metrics where ${ofRuns} group by run_id, key) order by key`,
      list,
    ),
    store.query(`from core.tracked_inputs where ${ofRuns} order by created_at, name`, list),
    store.query(`from core.tracked_model_links where ${ofRuns} order by created_at`, list),
  ]);
  const groups = {
    params: Map.groupBy(params, (row) => row.run_id),
    metrics: Map.groupBy(metrics, (row) => row.run_id as string),
    inputs: Map.groupBy(inputs, (row) => row.run_id as string),
    models: Map.groupBy(models, (row) => row.run_id as string),
  };
  return rows.map((row) => {
    const id = row.run_id as string;
    return {
      id,
      experimentId: row.experiment_id as string,
      name: row.name as string,
      userId: row.user_id as string | null,
      status: row.status as RunStatus,
      lifecycle: row.lifecycle_stage as Lifecycle,
      startTime: new Date(row.start_time as string),
      endTime: row.end_time === null ? null : new Date(row.end_time as string),
      artifactUri: row.artifact_uri as string,
      origin: row.origin as TrackedRun["origin"],
      params: (groups.params.get(id) ?? []).map(({ key, value }) => ({ key, value })),
      metrics: (groups.metrics.get(id) ?? []).map(toPoint),
      tags: tags.get(id) ?? [],
      inputs: (groups.inputs.get(id) ?? []).map(toInput),
      models: (groups.models.get(id) ?? []).map((link) => ({
        modelId: link.model_id as string,
        direction: link.direction as ModelLink["direction"],
        step: link.step as number | null,
      })),
    };
  });
}

/** Gives one row of the view `mlflow_metrics`. */
export function toPoint(row: Row): MetricPoint {
  return {
    key: row.key as string,
    value: row.value as number,
    time: new Date(row.time as string),
    step: row.step as number,
    modelId: row.model_id as string | null ?? null,
    datasetName: row.dataset_name as string | null ?? null,
    datasetDigest: row.dataset_digest as string | null ?? null,
  };
}

function toInput(row: Row): RunInput {
  return {
    name: row.name as string,
    digest: row.digest as string,
    sourceType: row.source_type as string | null,
    source: row.source as string | null,
    schema: row.schema as string | null,
    profile: row.profile as string | null,
    tags: JSON.parse(row.tags as string),
  };
}

/** What may change of a run itself. */
export interface RunChange {
  readonly status?: RunStatus;
  readonly endTime?: Date;
  readonly name?: string;
}

/** Changes status, end or name of a run. @throws {TrackingError} when it is not there to change. */
export async function updateRun(
  store: Store,
  id: string,
  change: RunChange,
  { by }: By,
): Promise<TrackedRun> {
  await commit(store, [
    ...refuseUnlessWritable(id),
    {
      sql: `update core.tracked_runs set status = coalesce(?, status), name = coalesce(?, name),
        end_time = coalesce(?, end_time) where run_id = ?`,
      params: [change.status ?? null, change.name || null, change.endTime ?? null, id],
    },
    ...setTagSteps(
      { kind: "run", subject: id },
      change.name ? [{ key: NAME_TAG, value: change.name }] : [],
      by,
    ),
  ]);
  return await getRun(store, id);
}

/** Deletes or restores a run. @throws {TrackingError} when there is none, or a pipeline wrote it. */
export async function moveRun(store: Store, id: string, to: Lifecycle): Promise<void> {
  const [own] = refuseUnlessWritable(id);
  await commit(store, [
    own,
    refuseIf(noRun(id), "not exists (select 1 from core.tracked_runs where run_id = ?)", [id]),
    {
      sql: "update core.tracked_runs set lifecycle_stage = ? where run_id = ?",
      params: [to, id],
    },
  ]);
}

/** Steps that refuse to write to a run that is not there, is deleted, or is a pipeline's. */
function refuseUnlessWritable(id: string): Step[] {
  return [
    refuseIf(
      invalid(`Cannot change run "${id}": a pipeline wrote it, and its record is only read`),
      "exists (select 1 from core.runs where run_id = ?)",
      [id],
    ),
    refuseIf(noRun(id), "not exists (select 1 from core.tracked_runs where run_id = ?)", [id]),
    refuseIf(
      invalid(`Cannot change run "${id}": it is deleted; restore it first`),
      `exists (select 1 from core.tracked_runs where run_id = ? and lifecycle_stage = 'deleted')`,
      [id],
    ),
  ];
}

/**
 * Logs params, metrics and tags to a run, all in one transaction.
 *
 * @throws {TrackingError} when a limit is passed, a param has another value already, or the run is
 * not there to write to; then nothing was logged.
 */
export async function logBatch(
  store: Store,
  id: string,
  batch: Batch,
  { by }: By,
): Promise<void> {
  const { params = [], metrics = [], tags = [] } = batch;
  checkCount("metrics", metrics.length, limits.metricsPerBatch);
  checkCount("params", params.length, limits.paramsPerBatch);
  checkCount("tags", tags.length, limits.tagsPerBatch);
  checkCount(
    "metrics, params and tags",
    metrics.length + params.length + tags.length,
    limits.entitiesPerBatch,
  );
  const name = tags.findLast((tag) => tag.key === NAME_TAG)?.value;
  await commit(store, [
    ...refuseUnlessWritable(id),
    ...paramSteps(id, params),
    ...metricSteps(id, metrics),
    ...setTagSteps({ kind: "run", subject: id }, tags, by),
    ...(name
      ? [{ sql: "update core.tracked_runs set name = ? where run_id = ?", params: [name, id] }]
      : []),
  ]);
}

/** A param is written once: the same value again is no change, another value ends the transaction. */
function paramSteps(id: string, params: readonly Pair[]): Step[] {
  if (params.length === 0) return [];
  const seen = new Set<string>();
  for (const { key, value } of params) {
    checkKey("param", key);
    checkLength(`param "${key}"`, value, limits.paramValue);
    if (seen.has(key)) throw invalid(`Cannot log param "${key}": it stands twice in the request`);
    seen.add(key);
  }
  const list = JSON.stringify(params);
  const message = `'Cannot log param "' || n.key || '" of run "' || o.run_id || '": it is "' ||
    left(o.value, 80) || '", and a param never changes; log "' || left(n.value, 80) || '" to a new run'`;
  return [
    {
      sql: `select ${refusalSql("INVALID_PARAMETER_VALUE", message)}
        from ${pairRows} n join core.tracked_params o on o.key = n.key
        where o.run_id = ? and o.value <> n.value limit 1`,
      params: [list, id],
    },
    {
      sql: `insert into core.tracked_params select ?, n.key, n.value from ${pairRows} n
        where n.key not in (select key from core.tracked_params where run_id = ?)`,
      params: [id, list, id],
    },
  ];
}

function metricSteps(id: string, metrics: readonly MetricPoint[]): Step[] {
  if (metrics.length === 0) return [];
  for (const { key, modelId, datasetName, datasetDigest } of metrics) {
    checkKey("metric", key);
    checkLength("the model id", modelId ?? "", limits.key);
    checkLength("the dataset name", datasetName ?? "", limits.datasetName);
    checkLength("the dataset digest", datasetDigest ?? "", limits.datasetDigest);
  }
  return [{
    append: "core.tracked_metrics",
    columns: {
      run_id: metrics.map(() => id),
      key: metrics.map((metric) => metric.key),
      // A plain array keeps NaN as a value; a Float64Array would store NULL.
      value: metrics.map((metric) => metric.value),
      step: metrics.map((metric) => BigInt(metric.step)),
      time: metrics.map((metric) => metric.time),
      model_id: metrics.map((metric) => metric.modelId || null),
      dataset_name: metrics.map((metric) => metric.datasetName || null),
      dataset_digest: metrics.map((metric) => metric.datasetDigest || null),
    },
  }];
}

/** Deletes a tag of a run. @throws {TrackingError} when there is none. */
export async function deleteRunTag(
  store: Store,
  id: string,
  key: string,
  { by }: By,
): Promise<void> {
  const subject = { kind: "run" as const, subject: id };
  const writable = refuseUnlessWritable(id);
  await commit(store, writable);
  await checkTag(store, subject, key);
  await commit(store, [...writable, deleteTagStep(subject, key, by)]);
}

/** Logs datasets and models that a run takes, or models that it makes; each once. */
export async function logInputs(
  store: Store,
  id: string,
  entry: { readonly inputs?: readonly RunInput[]; readonly models?: readonly ModelLink[] },
): Promise<void> {
  const { inputs = [], models = [] } = entry;
  checkCount("datasets", inputs.length, limits.datasetsPerBatch);
  for (const input of inputs) {
    checkLength("the dataset name", input.name, limits.datasetName);
    checkLength("the dataset digest", input.digest, limits.datasetDigest);
    checkLength("the dataset source", input.source ?? "", limits.datasetSource);
    checkLength("the dataset schema", input.schema ?? "", limits.datasetSchema);
    checkLength("the dataset profile", input.profile ?? "", limits.datasetProfile);
  }
  await commit(store, [
    ...refuseUnlessWritable(id),
    ...inputs.map((input) => ({
      sql: `insert into core.tracked_inputs select ?, ?, ?, ?, ?, ?, ?, ?, ?, ? where not exists (
        select 1 from core.tracked_inputs where run_id = ? and name = ? and digest = ?)`,
      params: [
        id,
        input.name,
        input.digest,
        input.sourceType,
        input.source,
        input.schema,
        input.profile,
        input.tags.find((tag) => tag.key === CONTEXT_TAG)?.value ?? null,
        JSON.stringify(input.tags),
        new Date(),
        id,
        input.name,
        input.digest,
      ],
    })),
    ...models.map((link) => ({
      sql: `insert into core.tracked_model_links select ?, ?, ?, ?, ? where not exists (
        select 1 from core.tracked_model_links where run_id = ? and model_id = ? and direction = ?)`,
      params: [
        id,
        link.modelId,
        link.direction,
        link.step,
        new Date(),
        id,
        link.modelId,
        link.direction,
      ],
    })),
  ]);
}

/** Gives every value of a metric, by time, step and value; `offset` values are left out. */
export async function metricHistory(
  store: Store,
  { runId, key }: { readonly runId: string; readonly key: string },
  { offset, limit }: { readonly offset: number; readonly limit: number },
): Promise<MetricPoint[]> {
  const known = await store.query("select 1 from mlflow_runs where run_id = ?", [runId]);
  if (known.length === 0) throw noRun(runId);
  const rows = await store.query(
    `from mlflow_metrics where run_id = ? and key = ? order by time, step, value limit ? offset ?`,
    [runId, key, limit, offset],
  );
  return rows.map(toPoint);
}
