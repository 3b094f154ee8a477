/** Logged models in the MLflow protocol. */
import { z } from "zod";
import {
  createLoggedModel,
  deleteLoggedModelTag,
  getLoggedModel,
  type LoggedModel,
  loggedModelStatuses,
  toLoggedModels,
  updateLoggedModel,
} from "../../runtime/tracking/logged_models.ts";
import { loggedModelTarget, search } from "../../runtime/tracking/search.ts";
import { listBelow } from "./artifacts.ts";
import { type MlflowRoute, route } from "./route.ts";
import { flag, list, page, pairs, text, writeMetric } from "./wire.ts";

const PATH = "/2.0/mlflow/logged-models";
const id = { model_id: text };

const status = z.preprocess(
  (value) => typeof value === "string" ? value.replace(/^LOGGED_MODEL_/, "") : value,
  z.enum(loggedModelStatuses),
);

/** Routes of logged models. */
export const loggedModelRoutes: readonly MlflowRoute[] = [
  route(
    "POST",
    PATH,
    {
      experiment_id: text,
      name: text.optional(),
      model_type: text.optional(),
      source_run_id: text.optional(),
      params: pairs.optional(),
      tags: pairs.optional(),
    },
    async (fields, { store, by }) => ({
      model: writeLoggedModel(
        await createLoggedModel(store, {
          experimentId: fields.experiment_id,
          name: fields.name ?? "",
          modelType: fields.model_type ?? "",
          sourceRunId: fields.source_run_id ?? "",
          params: fields.params ?? [],
          tags: fields.tags ?? [],
        }, { by }),
      ),
    }),
  ),
  route(
    "POST",
    `${PATH}/search`,
    {
      experiment_ids: list(text),
      filter: text.optional(),
      order_by: list(z.object({ field_name: text, ascending: flag.default(true) })),
      ...page(100, 1_000),
    },
    async (fields, { store }) => {
      const { rows, nextPageToken } = await search(store, loggedModelTarget, {
        filter: fields.filter ?? "",
        orderBy: fields.order_by.map(({ field_name, ascending }) =>
          `${field_name} ${ascending ? "ASC" : "DESC"}`
        ),
        maxResults: fields.max_results,
        pageToken: fields.page_token ?? "",
        condition: {
          sql:
            "t.lifecycle_stage = 'active' and t.experiment_id in (select unnest(?::json::varchar[]))",
          params: [JSON.stringify(fields.experiment_ids)],
        },
      });
      const models = await toLoggedModels(store, rows);
      return { models: models.map(writeLoggedModel), next_page_token: nextPageToken };
    },
    { role: "viewer" },
  ),
  route(
    "GET",
    `${PATH}/:model_id`,
    { ...id, allow_deleted: flag.default(false) },
    async ({ model_id, allow_deleted: isDeletedAllowed }, { store }) => ({
      model: writeLoggedModel(await getLoggedModel(store, model_id, { isDeletedAllowed })),
    }),
  ),
  route("PATCH", `${PATH}/:model_id`, { ...id, status }, async (fields, { store, by }) => ({
    model: writeLoggedModel(
      await updateLoggedModel(store, fields.model_id, { status: fields.status }, { by }),
    ),
  })),
  route("DELETE", `${PATH}/:model_id`, id, async ({ model_id }, { store, by }) => {
    await updateLoggedModel(store, model_id, { isDeleted: true }, { by });
    return {};
  }),
  route("PATCH", `${PATH}/:model_id/tags`, { ...id, tags: pairs }, async (fields, call) => ({
    model: writeLoggedModel(
      await updateLoggedModel(call.store, fields.model_id, { tags: fields.tags }, { by: call.by }),
    ),
  })),
  route(
    "DELETE",
    `${PATH}/:model_id/tags/:tag_key`,
    { ...id, tag_key: text },
    async ({ model_id, tag_key }, { store, by }) => {
      await deleteLoggedModelTag(store, model_id, tag_key, { by });
      return {};
    },
  ),
  route("POST", `${PATH}/:model_id/params`, { ...id, params: pairs }, async (fields, call) => {
    await updateLoggedModel(
      call.store,
      fields.model_id,
      { params: fields.params },
      { by: call.by },
    );
    return {};
  }),
  route(
    "GET",
    `${PATH}/:model_id/artifacts/directories`,
    { ...id, artifact_directory_path: text.default("") },
    async ({ model_id, artifact_directory_path: path }, { store }) =>
      await listBelow(store, (await getLoggedModel(store, model_id)).artifactUri, path),
  ),
];

function writeLoggedModel(model: LoggedModel) {
  return {
    info: {
      model_id: model.id,
      experiment_id: model.experimentId,
      name: model.name,
      model_type: model.modelType ?? undefined,
      source_run_id: model.sourceRunId ?? undefined,
      status: `LOGGED_MODEL_${model.status}`,
      artifact_uri: model.artifactUri,
      creation_timestamp_ms: model.createdAt.getTime(),
      last_updated_timestamp_ms: model.updatedAt.getTime(),
      tags: model.tags,
      registrations: model.registrations.map(({ name, version }) => ({
        name,
        version: String(version),
      })),
    },
    data: {
      params: model.params,
      metrics: model.metrics.map((metric) => ({ ...writeMetric(metric), run_id: metric.runId })),
    },
  };
}
