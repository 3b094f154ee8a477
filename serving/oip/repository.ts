/** The model repository of the protocol: which versions there are, and those in memory. */
import { z } from "zod";
import type { Store } from "../../runtime/store.ts";
import { jsonAnswer } from "../answers.ts";
import type { Handler } from "../exchange.ts";
import { HttpError } from "../http_error.ts";
import { parseJson } from "../json.ts";
import type { ModelReference, Models } from "../models.ts";
import { readTarget, readVersion } from "./target.ts";

/** What the repository routes read. */
export interface RepositoryDeps {
  readonly store: Store;
  readonly models: Models;
  /** Name of the model that is served. */
  readonly model: string;
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
export function repositoryIndex({ store, models, model }: RepositoryDeps): Handler {
  return async (exchange) => {
    const { ready } = readBody(await exchange.readText(MAX_BODY_BYTES), IndexBody);
    const rows = await store.query<{ model: string; version: number }>(
      "select model, version from models order by model, version",
    );
    const loaded = new Set(models.loadedVersions);
    const failures = new Map(models.failures.map((failure) => [failure.version, failure.message]));
    const entries = rows.map(({ model: name, version }) => {
      const isReady = name === model && loaded.has(version);
      const reason = name !== model
        ? `this server serves "${model}"`
        : failures.get(version) ?? "it is loaded when a request asks for it";
      return {
        name,
        version: String(version),
        state: isReady ? "READY" : "UNAVAILABLE",
        reason: isReady ? "" : reason,
      };
    });
    return jsonAnswer(ready ? entries.filter(({ state }) => state === "READY") : entries);
  };
}

/**
 * Gives the handler of `POST v2/repository/models/{m}/load`: looks at the aliases and brings the
 * version that is asked for, by `m@alias` or by the parameter `version`, into memory.
 */
export function loadVersion(deps: RepositoryDeps): Handler {
  return async (exchange) => {
    const { name, reference, parameters } = await readControl(exchange, deps.model);
    const unknown = Object.keys(parameters).find((key) => key !== "version");
    if (unknown !== undefined) {
      throw new HttpError(
        `Cannot load model "${name}": parameter "${unknown.slice(0, 40)}" is not supported; ` +
          "register a version and load it by its number",
        "invalid_input",
      );
    }
    await deps.models.refresh();
    const held = await deps.models.acquire(reference);
    held.model.release();
    exchange.held = held;
    return jsonAnswer({});
  };
}

/**
 * Gives the handler of `POST v2/repository/models/{m}/unload`. Versions leave memory by themselves,
 * so it says what would have to change; a version that is not in memory is unloaded already.
 */
export function unloadVersion(deps: RepositoryDeps): Handler {
  return async (exchange) => {
    const { name, reference } = await readControl(exchange, deps.model);
    const held = deps.models.default;
    const version = reference?.alias === undefined
      ? reference?.version ?? held?.model.version.version
      : deps.models.aliases.get(reference.alias);
    if (version === undefined || !deps.models.loadedVersions.includes(version)) {
      return jsonAnswer({});
    }
    throw new HttpError(
      `Cannot unload model "${name}" version ${version}: ` +
        (version === held?.model.version.version
          ? `requests that name no version get it; point alias "${held.alias}" at another version`
          : "requests may be using it; it leaves memory when others are used more"),
      "invalid_input",
    );
  };
}

async function readControl(
  exchange: Parameters<Handler>[0],
  model: string,
): Promise<
  { name: string; reference: ModelReference | undefined; parameters: Record<string, unknown> }
> {
  const { name, reference } = readTarget(exchange.request.url);
  checkName(name, model);
  const { parameters } = readBody(await exchange.readText(MAX_BODY_BYTES), ControlBody);
  const version = parameters?.version;
  if (version !== undefined && typeof version !== "string" && typeof version !== "number") {
    throw new HttpError(
      `Cannot read the body: "parameters.version" is no version; give a number or an alias`,
      "invalid_input",
    );
  }
  return {
    name,
    reference: reference ?? readVersion(version === undefined ? undefined : String(version)),
    parameters: parameters ?? {},
  };
}

/**
 * Checks that a model is the one that is served.
 * @throws {HttpError} 404 when it is another.
 */
export function checkName(name: string, model: string): void {
  if (name === model) return;
  throw new HttpError(
    `Cannot find model "${name.slice(0, 100)}": this server serves "${model}"`,
    "not_found",
  );
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
