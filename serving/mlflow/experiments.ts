/** Experiments in the MLflow protocol. */
import { z } from "zod";
import {
  createExperiment,
  type Experiment,
  getExperiment,
  getExperimentByName,
  moveExperiment,
  renameExperiment,
  tagExperiment,
  toExperiments,
} from "../../runtime/tracking/runs.ts";
import { experimentTarget, search } from "../../runtime/tracking/search.ts";
import { type MlflowRoute, route } from "./route.ts";
import { list, page, pairs, text } from "./wire.ts";

/** Which lifecycle stages are wanted. */
export const viewType = z.enum(["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]).default("ACTIVE_ONLY");

/** Condition of a {@linkcode viewType} over rows `t`. */
export function ofView(view: z.output<typeof viewType>) {
  return {
    sql: "t.lifecycle_stage = ? or ? = 'ALL'",
    params: [view === "DELETED_ONLY" ? "deleted" : "active", view],
  };
}

const id = { experiment_id: text };
const PATH = "/2.0/mlflow/experiments";

const searchFields = {
  filter: text.optional(),
  order_by: list(text),
  view_type: viewType,
  ...page(1_000, 50_000),
};

const searching = (["GET", "POST"] as const).map((method) =>
  route(method, `${PATH}/search`, searchFields, async (fields, { store }) => {
    const { rows, nextPageToken } = await search(store, experimentTarget, {
      filter: fields.filter ?? "",
      orderBy: fields.order_by,
      maxResults: fields.max_results,
      pageToken: fields.page_token ?? "",
      condition: ofView(fields.view_type),
    });
    const experiments = await toExperiments(store, rows);
    return { experiments: experiments.map(writeExperiment), next_page_token: nextPageToken };
  }, { role: "viewer" })
);

/** Routes of experiments. */
export const experimentRoutes: readonly MlflowRoute[] = [
  ...searching,
  route(
    "POST",
    `${PATH}/create`,
    { name: text, artifact_location: text.optional(), tags: pairs.optional() },
    async ({ name, artifact_location: artifactLocation, tags }, { store, by }) => ({
      experiment_id: await createExperiment(store, {
        name,
        ...(artifactLocation ? { artifactLocation } : {}),
        tags: tags ?? [],
      }, { by }),
    }),
  ),
  route("GET", `${PATH}/get`, id, async ({ experiment_id }, { store }) => ({
    experiment: writeExperiment(await getExperiment(store, experiment_id)),
  })),
  route("GET", `${PATH}/get-by-name`, { experiment_name: text }, async (fields, { store }) => ({
    experiment: writeExperiment(await getExperimentByName(store, fields.experiment_name)),
  })),
  route("POST", `${PATH}/delete`, id, async ({ experiment_id }, { store }) => {
    await moveExperiment(store, experiment_id, "deleted");
    return {};
  }),
  route("POST", `${PATH}/restore`, id, async ({ experiment_id }, { store }) => {
    await moveExperiment(store, experiment_id, "active");
    return {};
  }),
  route("POST", `${PATH}/update`, { ...id, new_name: text }, async (fields, { store }) => {
    await renameExperiment(store, fields.experiment_id, fields.new_name);
    return {};
  }),
  route(
    "POST",
    `${PATH}/set-experiment-tag`,
    { ...id, key: text, value: text },
    async ({ experiment_id, key, value }, { store, by }) => {
      await tagExperiment(store, experiment_id, { key, value }, { by });
      return {};
    },
  ),
  route(
    "POST",
    `${PATH}/delete-experiment-tag`,
    { ...id, key: text },
    async ({ experiment_id, key }, { store, by }) => {
      await tagExperiment(store, experiment_id, { key, value: null }, { by });
      return {};
    },
  ),
];

function writeExperiment(experiment: Experiment) {
  return {
    experiment_id: experiment.id,
    name: experiment.name,
    artifact_location: experiment.artifactLocation,
    lifecycle_stage: experiment.lifecycle,
    creation_time: experiment.createdAt.getTime(),
    last_update_time: experiment.updatedAt.getTime(),
    tags: experiment.tags,
  };
}
