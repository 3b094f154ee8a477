/** The model registry in the MLflow protocol. */
import { invalid } from "../../runtime/tracking/error.ts";
import { modelTarget, search, versionTarget } from "../../runtime/tracking/search.ts";
import {
  createModel,
  createVersion,
  deleteModel,
  deleteVersion,
  describeModel,
  describeVersion,
  getModel,
  getVersion,
  latestVersions,
  type ListedModel,
  type ListedVersion,
  moveAlias,
  moveToStage,
  parseStage,
  tagModel,
  toModels,
  toVersions,
  versionByAlias,
  versionMetrics,
} from "../../runtime/tracking/registry.ts";
import { type MlflowRoute, route } from "./route.ts";
import { flag, list, page, pairs, text, versionNumber } from "./wire.ts";

const MODELS = "/2.0/mlflow/registered-models";
const VERSIONS = "/2.0/mlflow/model-versions";

const name = { name: text };
const version = { name: text, version: versionNumber };
const alias = { name: text, alias: text };

const latest = (["GET", "POST"] as const).map((method) =>
  route(
    method,
    `${MODELS}/get-latest-versions`,
    { name: text, stages: list(text) },
    async ({ name, stages }, { store }) => ({
      model_versions: (await latestVersions(store, name, stages)).map(writeVersion),
    }),
    { role: "viewer" },
  )
);

const modelRoutes: readonly MlflowRoute[] = [
  ...latest,
  route(
    "POST",
    `${MODELS}/create`,
    { name: text, description: text.optional(), tags: pairs.optional() },
    async ({ name, description, tags }, { store, by }) => ({
      registered_model: writeModel(
        await createModel(store, { name, description: description ?? "", tags: tags ?? [] }, {
          by,
        }),
      ),
    }),
  ),
  route("GET", `${MODELS}/get`, name, async ({ name }, { store }) => ({
    registered_model: writeModel(await getModel(store, name)),
  })),
  route(
    "GET",
    `${MODELS}/search`,
    { filter: text.optional(), order_by: list(text), ...page(100, 1_000) },
    async (fields, { store }) => {
      const { rows, nextPageToken } = await search(store, modelTarget, {
        filter: fields.filter ?? "",
        orderBy: fields.order_by,
        maxResults: fields.max_results,
        pageToken: fields.page_token ?? "",
      });
      const models = await toModels(store, rows);
      return { registered_models: models.map(writeModel), next_page_token: nextPageToken };
    },
  ),
  route(
    "PATCH",
    `${MODELS}/update`,
    { name: text, description: text.default("") },
    async ({ name, description }, { store, by }) => ({
      registered_model: writeModel(await describeModel(store, name, description, { by })),
    }),
  ),
  route("POST", `${MODELS}/rename`, { name: text, new_name: text }, async (fields, { store }) => {
    await getModel(store, fields.name);
    throw invalid(
      `Cannot rename model "${fields.name}": its name stands in every prediction and alias change ` +
        `on record; register its versions under "${fields.new_name}" instead`,
    );
  }),
  route("DELETE", `${MODELS}/delete`, name, async ({ name }, { store, by }) => {
    await deleteModel(store, name, { by });
    return {};
  }),
  route(
    "POST",
    `${MODELS}/set-tag`,
    { name: text, key: text, value: text.default("") },
    async ({ name, key, value }, { store, by }) => {
      await tagModel(store, { name }, { key, value }, { by });
      return {};
    },
  ),
  route(
    "DELETE",
    `${MODELS}/delete-tag`,
    { name: text, key: text },
    async ({ name, key }, { store, by }) => {
      await tagModel(store, { name }, { key, value: null }, { by });
      return {};
    },
  ),
  route(
    "POST",
    `${MODELS}/alias`,
    { ...alias, version: versionNumber },
    async ({ name, alias, version }, { store, by, moveGuarded }) => {
      const reason = "set by an MLflow client";
      if (!await moveGuarded({ name, alias, version })) {
        await moveAlias(store, { name, alias, version }, { by, reason });
      }
      return {};
    },
  ),
  route("DELETE", `${MODELS}/alias`, alias, async ({ name, alias }, { store, by, moveGuarded }) => {
    const reason = "deleted by an MLflow client";
    await moveGuarded({ name, alias, version: null });
    await moveAlias(store, { name, alias, version: null }, { by, reason });
    return {};
  }),
  route("GET", `${MODELS}/alias`, alias, async ({ name, alias }, { store }) => ({
    model_version: writeVersion(await versionByAlias(store, name, alias)),
  })),
];

const versionRoutes: readonly MlflowRoute[] = [
  route(
    "POST",
    `${VERSIONS}/create`,
    {
      name: text,
      source: text,
      run_id: text.optional(),
      run_link: text.optional(),
      description: text.optional(),
      model_id: text.optional(),
      tags: pairs.optional(),
    },
    async (fields, { store, by }) => ({
      model_version: writeVersion(
        await createVersion(store, {
          name: fields.name,
          source: fields.source,
          runId: fields.run_id ?? "",
          runLink: fields.run_link ?? "",
          description: fields.description ?? "",
          loggedModelId: fields.model_id ?? "",
          tags: fields.tags ?? [],
        }, { by }),
      ),
    }),
  ),
  route("GET", `${VERSIONS}/get`, version, async ({ name, version }, { store }) => ({
    model_version: {
      ...writeVersion(await getVersion(store, name, version)),
      model_metrics: await versionMetrics(store, name, version),
    },
  })),
  route(
    "GET",
    `${VERSIONS}/search`,
    { filter: text.optional(), order_by: list(text), ...page(10_000, 200_000) },
    async (fields, { store }) => {
      const { rows, nextPageToken } = await search(store, versionTarget, {
        filter: fields.filter ?? "",
        orderBy: fields.order_by,
        maxResults: fields.max_results,
        pageToken: fields.page_token ?? "",
      });
      const versions = await toVersions(store, rows);
      return { model_versions: versions.map(writeVersion), next_page_token: nextPageToken };
    },
  ),
  route(
    "PATCH",
    `${VERSIONS}/update`,
    { ...version, description: text.default("") },
    async ({ description, ...of }, { store, by }) => ({
      model_version: writeVersion(await describeVersion(store, of, description, { by })),
    }),
  ),
  route("DELETE", `${VERSIONS}/delete`, version, async (of, { store, by }) => {
    await deleteVersion(store, of, { by });
    return {};
  }),
  route(
    "POST",
    `${VERSIONS}/set-tag`,
    { ...version, key: text, value: text.default("") },
    async ({ key, value, ...of }, { store, by }) => {
      await tagModel(store, of, { key, value }, { by });
      return {};
    },
  ),
  route(
    "DELETE",
    `${VERSIONS}/delete-tag`,
    { ...version, key: text },
    async ({ key, ...of }, { store, by }) => {
      await tagModel(store, of, { key, value: null }, { by });
      return {};
    },
  ),
  route(
    "POST",
    `${VERSIONS}/transition-stage`,
    { ...version, stage: text, archive_existing_versions: flag.default(false) },
    async (
      { name, version, stage: text, archive_existing_versions: isArchiving },
      { store, by, moveGuarded },
    ) => {
      const stage = parseStage(text);
      const current = await getVersion(store, name, version);
      // The aliases of stages: one of them comes, others go.
      for (const alias of ["production", "staging"]) {
        if (alias === stage.toLowerCase()) await moveGuarded({ name, alias, version });
        else if (current.aliases.includes(alias)) {
          await moveGuarded({ name, alias, version: null });
        }
      }
      return {
        model_version: writeVersion(
          await moveToStage(store, { name, version, stage }, { by, isArchiving }),
        ),
      };
    },
  ),
  route("GET", `${VERSIONS}/get-download-uri`, version, async ({ name, version }, { store }) => ({
    artifact_uri: (await getVersion(store, name, version)).storage,
  })),
];

/** Routes of registered models and their versions. */
export const registryRoutes: readonly MlflowRoute[] = [...modelRoutes, ...versionRoutes];

function writeModel(model: ListedModel) {
  return {
    name: model.name,
    description: model.description ?? undefined,
    creation_timestamp: model.createdAt.getTime(),
    last_updated_timestamp: model.updatedAt.getTime(),
    user_id: model.createdBy ?? undefined,
    tags: model.tags,
    aliases: model.aliases.map(({ alias, version }) => ({ alias, version: String(version) })),
    latest_versions: model.latestVersions.map(writeVersion),
  };
}

function writeVersion(version: ListedVersion) {
  return {
    name: version.model,
    version: String(version.version),
    creation_timestamp: version.createdAt.getTime(),
    last_updated_timestamp: version.updatedAt.getTime(),
    user_id: version.createdBy ?? undefined,
    description: version.description ?? undefined,
    current_stage: version.stage,
    source: version.source,
    run_id: version.runId || undefined,
    run_link: version.runLink ?? undefined,
    model_id: version.loggedModelId ?? undefined,
    status: "READY",
    status_message: version.isServable
      ? undefined
      : "Listed and not servable: none of its files is an ONNX model of Geophone",
    aliases: version.aliases,
    tags: version.tags,
  };
}
