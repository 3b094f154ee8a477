/** Every registered model that a server answers for. */
import type { Store } from "../runtime/store/store.ts";
import { HttpError } from "./http_error.ts";
import type { QueuedModel } from "./metrics/inference.ts";
import { type Held, type ModelReference, Models, type ModelsOptions } from "./models.ts";

/** Which models a server answers for, and how. */
export interface CatalogOptions extends Omit<ModelsOptions, "model"> {
  /** Names, the one that the server is for first. */
  readonly models: readonly string[];
}

/** The {@linkcode Models} of every name, asked as one. */
export class ModelCatalog {
  /** The model that requests get which name none. */
  readonly main: Models;
  readonly #models: ReadonlyMap<string, Models>;

  private constructor(models: readonly Models[]) {
    this.#models = new Map(models.map((each) => [each.model, each]));
    [this.main] = models;
  }

  /** Loads the default of each model, where there is one yet, and follows the aliases from then on. */
  static async open(
    store: Store,
    { models, ...options }: CatalogOptions,
  ): Promise<ModelCatalog> {
    const names = [...new Set(models)];
    return new ModelCatalog(
      await Promise.all(names.map((model) => Models.open(store, { ...options, model }))),
    );
  }

  get names(): string[] {
    return [...this.#models.keys()];
  }

  /** What waits for each version in memory. */
  get queued(): QueuedModel[] {
    return [...this.#models.values()].flatMap((models) => models.queued);
  }

  /**
   * Gives the versions of one model.
   * @throws {HttpError} 404 when the server answers for no such model.
   */
  of(name: string = this.main.model): Models {
    const models = this.#models.get(name);
    if (models) return models;
    throw new HttpError(
      `Cannot find model "${name.slice(0, 100)}": this server serves ${
        this.names.map((known) => `"${known}"`).join(", ")
      }`,
      "not_found",
    );
  }

  /**
   * Gives the model for a request, which must release it.
   * @throws {HttpError} as {@linkcode Models.acquire} and {@linkcode of}.
   */
  acquire(reference?: ModelReference): Held | Promise<Held> {
    return this.of(reference?.model).acquire(reference);
  }

  /** Looks at the aliases of every model now and follows them. */
  async refresh(): Promise<void> {
    await Promise.all([...this.#models.values()].map((models) => models.refresh()));
  }

  /** Stops following and closes every session after its last request. */
  async close(): Promise<void> {
    await Promise.all([...this.#models.values()].map((models) => models.close()));
  }
}
