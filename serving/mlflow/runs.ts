/** Runs in the MLflow protocol: what they log, and how they are found. */
import { z } from "zod";
import {
  createRun,
  deleteRunTag,
  getRun,
  logBatch,
  logInputs,
  metricHistory,
  moveRun,
  runStatuses,
  toRuns,
  type TrackedRun,
  updateRun,
} from "../../runtime/tracking/runs.ts";
import { invalid } from "../../runtime/tracking/error.ts";
import { limits } from "../../runtime/tracking/limits.ts";
import { readPageToken, runTarget, search, toPage } from "../../runtime/tracking/search.ts";
import { ofView, viewType } from "./experiments.ts";
import { type Call, type MlflowRoute, route } from "./route.ts";
import {
  int64,
  list,
  metricFields,
  page,
  pairs,
  text,
  time,
  toMetric,
  writeMetric,
} from "./wire.ts";

/** Old clients say `run_uuid`; new ones say both. */
const runFields = { run_id: text.optional(), run_uuid: text.optional() };

function idOf(
  fields: { readonly run_id?: string | undefined; readonly run_uuid?: string | undefined },
) {
  const id = fields.run_id || fields.run_uuid;
  if (!id) throw invalid('Cannot read the request: "run_id" is missing');
  return id;
}

const PATH = "/2.0/mlflow/runs";

const datasetInput = z.object({
  tags: pairs.optional(),
  dataset: z.object({
    name: z.string().min(1),
    digest: z.string().min(1),
    source_type: z.string().optional(),
    source: z.string().optional(),
    schema: z.string().optional(),
    profile: z.string().optional(),
  }),
});

const status = z.enum(runStatuses);

/** Routes of runs. */
export const runRoutes: readonly MlflowRoute[] = [
  route(
    "POST",
    `${PATH}/create`,
    {
      experiment_id: text.default("0"),
      user_id: text.optional(),
      run_name: text.optional(),
      start_time: time.optional(),
      tags: pairs.optional(),
    },
    async (fields, { store, by }) => ({
      run: writeRun(
        await createRun(store, {
          experimentId: fields.experiment_id,
          ...(fields.run_name ? { name: fields.run_name } : {}),
          ...(fields.user_id ? { userId: fields.user_id } : {}),
          ...(fields.start_time ? { startTime: fields.start_time } : {}),
          tags: fields.tags ?? [],
        }, { by }),
      ),
    }),
  ),
  route("GET", `${PATH}/get`, runFields, async (fields, { store }) => ({
    run: writeRun(await getRun(store, idOf(fields))),
  })),
  route(
    "POST",
    `${PATH}/update`,
    {
      ...runFields,
      status: status.optional(),
      end_time: time.optional(),
      run_name: text.optional(),
    },
    async (fields, { store, by }) => ({
      run_info: writeRun(
        await updateRun(store, idOf(fields), {
          ...(fields.status ? { status: fields.status } : {}),
          ...(fields.end_time ? { endTime: fields.end_time } : {}),
          ...(fields.run_name ? { name: fields.run_name } : {}),
        }, { by }),
      ).info,
    }),
  ),
  route("POST", `${PATH}/delete`, runFields, async (fields, { store }) => {
    await moveRun(store, idOf(fields), "deleted");
    return {};
  }),
  route("POST", `${PATH}/restore`, runFields, async (fields, { store }) => {
    await moveRun(store, idOf(fields), "active");
    return {};
  }),
  route(
    "POST",
    `${PATH}/search`,
    {
      experiment_ids: list(text),
      filter: text.optional(),
      run_view_type: viewType,
      order_by: list(text),
      ...page(1_000, 50_000),
    },
    async (fields, { store }) => {
      const view = ofView(fields.run_view_type);
      const { rows, nextPageToken } = await search(store, runTarget, {
        filter: fields.filter ?? "",
        orderBy: fields.order_by,
        maxResults: fields.max_results,
        pageToken: fields.page_token ?? "",
        condition: {
          sql: `(${view.sql}) and t.experiment_id in (select unnest(?::json::varchar[]))`,
          params: [...view.params, JSON.stringify(fields.experiment_ids)],
        },
      });
      const runs = await toRuns(store, rows);
      return { runs: runs.map(writeRun), next_page_token: nextPageToken };
    },
    { role: "viewer" },
  ),
  route(
    "POST",
    `${PATH}/log-metric`,
    { ...runFields, ...metricFields },
    (fields, call) => log(idOf(fields), { metrics: [toMetric(fields)] }, call),
  ),
  route(
    "POST",
    `${PATH}/log-parameter`,
    { ...runFields, key: text, value: text.default("") },
    ({ key, value, ...fields }, call) => log(idOf(fields), { params: [{ key, value }] }, call),
  ),
  route(
    "POST",
    `${PATH}/set-tag`,
    { ...runFields, key: text, value: text.default("") },
    ({ key, value, ...fields }, call) => log(idOf(fields), { tags: [{ key, value }] }, call),
  ),
  route(
    "POST",
    `${PATH}/delete-tag`,
    { ...runFields, key: text },
    async ({ key, ...fields }, { store, by }) => {
      await deleteRunTag(store, idOf(fields), key, { by });
      return {};
    },
  ),
  route(
    "POST",
    `${PATH}/log-batch`,
    {
      ...runFields,
      metrics: list(z.object(metricFields)),
      params: pairs.optional(),
      tags: pairs.optional(),
    },
    ({ metrics, params, tags, ...fields }, call) =>
      log(
        idOf(fields),
        { metrics: metrics.map(toMetric), params: params ?? [], tags: tags ?? [] },
        call,
      ),
    { maxBodyBytes: limits.batchBytes },
  ),
  route(
    "POST",
    `${PATH}/log-model`,
    { ...runFields, model_json: text },
    ({ model_json, ...fields }, call) => logModel(idOf(fields), model_json, call),
  ),
  route(
    "POST",
    `${PATH}/log-inputs`,
    { ...runFields, datasets: list(datasetInput), models: list(z.object({ model_id: text })) },
    async ({ datasets, models, ...fields }, { store }) => {
      await logInputs(store, idOf(fields), {
        inputs: datasets.map(({ dataset, tags }) => ({
          name: dataset.name,
          digest: dataset.digest,
          sourceType: dataset.source_type ?? null,
          source: dataset.source ?? null,
          schema: dataset.schema ?? null,
          profile: dataset.profile ?? null,
          tags: tags ?? [],
        })),
        models: models.map(({ model_id }) => ({
          modelId: model_id,
          direction: "input",
          step: null,
        })),
      });
      return {};
    },
    { maxBodyBytes: 32 * 2 ** 20 },
  ),
  route(
    "POST",
    `${PATH}/outputs`,
    { ...runFields, models: list(z.object({ model_id: text, step: int64.default(0) })) },
    async ({ models, ...fields }, { store }) => {
      await logInputs(store, idOf(fields), {
        models: models.map(({ model_id, step }) => ({
          modelId: model_id,
          direction: "output",
          step,
        })),
      });
      return {};
    },
  ),
  route(
    "GET",
    "/2.0/mlflow/metrics/get-history",
    { ...runFields, metric_key: text, ...page(25_000, 25_000) },
    async (fields, { store }) => {
      const offset = readPageToken(fields.page_token);
      const points = await metricHistory(
        store,
        { runId: idOf(fields), key: fields.metric_key },
        { offset, limit: fields.max_results + 1 },
      );
      const { rows, nextPageToken } = toPage(points, fields.max_results, offset);
      return { metrics: rows.map(writeMetric), next_page_token: nextPageToken };
    },
  ),
];

async function log(id: string, batch: Parameters<typeof logBatch>[2], { store, by }: Call) {
  await logBatch(store, id, batch, { by });
  return {};
}

/** Key under which clients of MLflow 2 look for the models of a run. */
const LOG_MODEL_TAG = "mlflow.log-model.history";

async function logModel(id: string, modelJson: string, call: Call) {
  let model: unknown;
  try {
    model = JSON.parse(modelJson);
  } catch {
    throw invalid('Cannot read the request: "model_json" is no JSON');
  }
  const { tags } = await getRun(call.store, id);
  const before = JSON.parse(tags.find(({ key }) => key === LOG_MODEL_TAG)?.value ?? "[]");
  return await log(
    id,
    { tags: [{ key: LOG_MODEL_TAG, value: JSON.stringify([...before, model]) }] },
    call,
  );
}

/** A run as clients read it. */
function writeRun(run: TrackedRun) {
  return {
    info: {
      run_id: run.id,
      run_uuid: run.id,
      run_name: run.name,
      experiment_id: run.experimentId,
      user_id: run.userId ?? "",
      status: run.status,
      start_time: run.startTime.getTime(),
      end_time: run.endTime?.getTime(),
      artifact_uri: run.artifactUri,
      lifecycle_stage: run.lifecycle,
    },
    data: { metrics: run.metrics.map(writeMetric), params: run.params, tags: run.tags },
    inputs: {
      dataset_inputs: run.inputs.map(({ tags, ...dataset }) => ({
        tags,
        dataset: {
          name: dataset.name,
          digest: dataset.digest,
          source_type: dataset.sourceType ?? undefined,
          source: dataset.source ?? undefined,
          schema: dataset.schema ?? undefined,
          profile: dataset.profile ?? undefined,
        },
      })),
      model_inputs: run.models.filter(({ direction }) => direction === "input")
        .map(({ modelId }) => ({ model_id: modelId })),
    },
    outputs: {
      model_outputs: run.models.filter(({ direction }) => direction === "output")
        .map(({ modelId, step }) => ({ model_id: modelId, step: step ?? 0 })),
    },
  };
}
