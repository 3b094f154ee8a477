/** The model repository of the protocol: which versions there are, and those in memory. */
import { z } from "zod";
import type { Store } from "../../runtime/store/store.ts";
import { jsonAnswer } from "../answers.ts";
import type { Handler } from "../exchange.ts";
import { HttpError } from "../http_error.ts";
import { parseJson } from "../json.ts";
import type { ModelCatalog } from "../model_catalog.ts";
import type { ModelReference, Models } from "../models.ts";
import { readTarget, readVersion } from "./target.ts";

/** What the repository routes read. */
export interface RepositoryDeps {
  readonly store: Store;
  readonly models: ModelCatalog;
}

/** A body larger than this holds more than options. */
const MAX_BODY_BYTES = 1 << 20;

const IndexBody = z.looseObject({
  ready: z.boolean().nullish().describe("Whether to list only what is in memory"),
});

const ControlBody = z.looseObject({
  parameters: z.record(z.string(), z.unknown()).nullish(),
});

/** Gives the handler of `POST v2/repository/index`: every version of the store, and its state. */
export function repositoryIndex({ store, models }: RepositoryDeps): Handler {
  return async (exchange) => {
    const { ready } = readBody(await exchange.readText(MAX_BODY_BYTES), IndexBody);
    const rows = await store.query<{ model: string; version: number }>(
      "select model, version from models order by model, version",
    );
    const reasons = new Map(models.names.map((name) => [name, whyNotReady(models.of(name))]));
    const served = models.names.map((name) => `"${name}"`).join(", ");
    const entries = rows.map(({ model, version }) => {
      const ofModel = reasons.get(model);
      const reason = ofModel === undefined ? `this server serves ${served}` : ofModel(version);
      return {
        name: model,
        version: String(version),
        state: reason === null ? "READY" : "UNAVAILABLE",
        reason: reason ?? "",
      };
    });
    return jsonAnswer(ready ? entries.filter(({ state }) => state === "READY") : entries);
  };
}

/** Gives the function that says why a version would not answer at once, `null` when it would. */
function whyNotReady(models: Models): (version: number) => string | null {
  const loaded = new Set(models.loadedVersions);
  const failures = new Map(models.failures.map((failure) => [failure.version, failure.message]));
  return (version) => {
    if (models.isUnloaded(version)) return "it was unloaded by request; load it to use it again";
    if (loaded.has(version)) return null;
    return failures.get(version) ?? "it is loaded when a request asks for it";
  };
}

/**
 * Gives the handler of `POST v2/repository/models/{m}/load`: looks at the aliases and brings the
 * version that is asked for, by `m@alias` or by the parameter `version`, into memory. What was
 * unloaded is in use again.
 */
export function loadVersion(deps: RepositoryDeps): Handler {
  return async (exchange) => {
    const { reference, parameters } = await readControl(exchange);
    const models = deps.models.of(reference.model);
    const unknown = Object.keys(parameters).find((key) => key !== "version");
    if (unknown !== undefined) {
      throw new HttpError(
        `Cannot load model "${models.model}": parameter "${
          unknown.slice(0, 40)
        }" is not supported; ` +
          "register a version and load it by its number",
        "invalid_input",
      );
    }
    const held = await models.load(reference);
    held.model.release();
    exchange.held = held;
    return jsonAnswer({});
  };
}

/**
 * Gives the handler of `POST v2/repository/models/{m}/unload`: takes the version that is asked for, or
 * every version, out of memory as soon as its last request is answered. Requests for it are refused,
 * and no alias brings it back, until it is loaded again; a server that starts knows nothing of it.
 */
export function unloadVersion({ models }: RepositoryDeps): Handler {
  return async (exchange) => {
    const { reference } = await readControl(exchange);
    await models.of(reference.model).unload(reference);
    return jsonAnswer({});
  };
}

async function readControl(
  exchange: Parameters<Handler>[0],
): Promise<{ reference: ModelReference; parameters: Record<string, unknown> }> {
  const reference = readTarget(exchange.request.url);
  const { parameters } = readBody(await exchange.readText(MAX_BODY_BYTES), ControlBody);
  const version = parameters?.version;
  if (version !== undefined && typeof version !== "string" && typeof version !== "number") {
    throw new HttpError(
      `Cannot read the body: "parameters.version" is no version; give a number or an alias`,
      "invalid_input",
    );
  }
  const isNamed = reference.alias !== undefined || reference.version !== undefined;
  return {
    reference: isNamed || version === undefined
      ? reference
      : { ...reference, ...readVersion(String(version)) },
    parameters: parameters ?? {},
  };
}

function readBody<S extends z.ZodType>(text: string, schema: S): z.infer<S> {
  const parsed = schema.safeParse(text.trim() === "" ? {} : parseJson(text));
  if (parsed.success) return parsed.data;
  const [{ path, message }] = parsed.error.issues;
  throw new HttpError(
    `Cannot read the body: ${path.length ? `"${path.join(".")}": ` : ""}${message}`,
    "invalid_input",
  );
}
