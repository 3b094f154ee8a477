/**
 * The models a server holds. They follow the aliases of the model registry: a new version is loaded
 * and warmed first, then takes over between two requests.
 *
 * @module
 */
import { describeError, UsageError } from "../runtime/errors.ts";
import { resolveVersion } from "../runtime/registry/model_registry.ts";
import type { Store } from "../runtime/store/store.ts";
import { Follower } from "./follower.ts";
import { HttpError } from "./http_error.ts";
import type { QueuedModel } from "./metrics/inference.ts";
import { ServedModel, type ServedOptions } from "./served_model.ts";
import { Unloaded } from "./unloaded.ts";

/** Which version a request asks for; neither alias nor version: the default. */
export interface ModelReference {
  /** Name of the model; left out: the one that the server is for. */
  readonly model?: string;
  readonly alias?: string;
  readonly version?: number;
}

/** A model that a request holds until it calls `model.release()`. */
export interface Held {
  readonly model: ServedModel;
  /** The alias it was found by; `null` when it was asked for by number. */
  readonly alias: string | null;
}

/** What and how a server serves. */
export interface ModelsOptions extends ServedOptions {
  readonly model: string;
  /** Aliases that may be the default, the most wanted first. */
  readonly preference: readonly string[];
  /** Hears of what changes. */
  readonly onEvent?: (event: ModelEvent) => void;
}

/** Something that became of a model in memory. */
export interface ModelEvent {
  readonly kind: "model_loaded" | "model_load_failed" | "alias_moved";
  readonly model: string;
  readonly version: number;
  /** In one sentence. */
  readonly message: string;
}

/** An alias whose version could not be loaded; what it served before is served on. */
export interface LoadFailure {
  readonly alias: string;
  readonly version: number;
  readonly message: string;
  readonly at: number;
}

/** A version that could not be loaded is tried again after this long. */
const RETRY_MS = 30_000;

/** Versions kept in memory beside the default. */
const MAX_EXTRA_MODELS = 4;

/** Holds the versions of one model that requests ask for. */
export class Models {
  readonly #store: Store;
  readonly #options: ModelsOptions;
  /** Loaded versions, the least recently used first. */
  readonly #loaded = new Map<number, ServedModel>();
  readonly #loading = new Map<number, Promise<ServedModel>>();
  readonly #retired = new Set<ServedModel>();
  readonly #failures = new Map<string, LoadFailure>();
  #aliases = new Map<string, number>();
  #default: Held | null = null;
  readonly #unloaded: Unloaded;
  #storeError: string | null = null;
  readonly #follower = new Follower(() => this.#look());
  #isClosed = false;

  private constructor(store: Store, options: ModelsOptions) {
    this.#store = store;
    this.#options = options;
    this.#unloaded = new Unloaded(options.model);
  }

  /** Loads the default, if there is one yet, and follows the aliases from then on. */
  static async open(store: Store, options: ModelsOptions): Promise<Models> {
    const models = new Models(store, options);
    await models.refresh();
    models.#follower.start(store);
    return models;
  }

  /** Name of the model. */
  get model(): string {
    return this.#options.model;
  }

  /** The version that requests get which ask for none. */
  get default(): Held | null {
    return this.#default;
  }

  /** Served aliases with their versions. */
  get aliases(): ReadonlyMap<string, number> {
    return this.#aliases;
  }

  /** Aliases that could not follow, newest state. */
  get failures(): LoadFailure[] {
    return [...this.#failures.values()];
  }

  /** Why the store could not be asked for aliases, `null` when it could. */
  get storeError(): string | null {
    return this.#storeError;
  }

  /** Versions in memory. */
  get loadedVersions(): number[] {
    return [...this.#loaded.keys()];
  }

  /** What waits for each version in memory. */
  get queued(): QueuedModel[] {
    return [...this.#loaded.values()].map((model) => model.queued);
  }

  /** Whether a version, or the default when none is given, was unloaded by request. */
  isUnloaded(version = this.#wantedDefault()): boolean {
    return this.#unloaded.has(version);
  }

  /**
   * Takes a version out of memory, after its last request, and refuses it from then on: an alias does
   * not bring it back. Without alias and version, all versions.
   * @throws {HttpError} 404 when there is no such alias or version.
   */
  async unload(reference: ModelReference = {}): Promise<void> {
    this.#unloaded.add(await this.#findVersion(reference));
    for (const version of this.#loaded.keys()) {
      if (this.#unloaded.has(version)) this.#retire(version);
    }
    if (this.isUnloaded(this.#default?.model.version.version)) this.#default = null;
  }

  /**
   * Brings a version into memory and back into use; without alias and version, all that was unloaded.
   * @throws {HttpError} as {@linkcode acquire}.
   */
  async load(reference: ModelReference = {}): Promise<Held> {
    this.#unloaded.remove(await this.#findVersion(reference));
    await this.refresh();
    return await this.acquire(reference);
  }

  /** The version that a reference names, `null` when it names none. */
  async #findVersion({ alias, version }: ModelReference): Promise<number | null> {
    if (alias === undefined && version === undefined) return null;
    const text = alias === undefined ? String(version) : `@${alias}`;
    try {
      return (await resolveVersion(this.#store, this.#options.model, text)).version;
    } catch (error) {
      if (error instanceof UsageError) throw new HttpError(error.message, "not_found");
      throw error;
    }
  }

  /** The version of the alias that would be the default now. */
  #wantedDefault(): number | undefined {
    const alias = this.#options.preference.find((alias) => this.#aliases.has(alias));
    return alias === undefined ? undefined : this.#aliases.get(alias);
  }

  /**
   * Gives the model for a request, which must release it.
   * @throws {HttpError} 503 when no model is loaded, 404 when there is no such alias or version.
   */
  acquire(reference?: ModelReference): Held | Promise<Held> {
    if (reference?.alias === undefined && reference?.version === undefined) {
      if (this.#default === null) throw this.#noModel();
      this.#default.model.retain();
      return this.#default;
    }
    const alias = reference.alias ?? null;
    const version = alias === null ? reference.version! : this.#aliases.get(alias);
    if (this.#unloaded.has(version)) throw this.#unloaded.refuse(version);
    const model = version === undefined ? undefined : this.#loaded.get(version);
    if (model === undefined) return this.#acquireOther(reference);
    this.#touch(model);
    return { model: model.retain(), alias };
  }

  async #acquireOther(reference: ModelReference): Promise<Held> {
    const { model } = this.#options;
    const alias = reference.alias ?? null;
    let version = alias === null ? reference.version! : this.#aliases.get(alias);
    try {
      // An alias set a moment ago may not have been noticed yet.
      version ??= (await this.#findVersion(reference))!;
      if (this.#unloaded.has(version)) throw this.#unloaded.refuse(version);
      let served = this.#loaded.get(version) ?? await this.#load(version);
      // Others may have asked for so many versions that this one has had to go already.
      while (served.isClosed) served = await this.#load(version);
      return { model: served.retain(), alias };
    } catch (error) {
      if (error instanceof HttpError) throw error;
      if (error instanceof UsageError) throw new HttpError(error.message, "not_found");
      throw new HttpError(
        `Cannot load model "${model}" ${alias ? `alias "${alias}"` : `version ${version}`}: ${
          describeError(error)
        }`,
        "model_failed",
        { cause: error },
      );
    }
  }

  #noModel(): HttpError {
    if (this.isUnloaded()) return this.#unloaded.refuse(this.#wantedDefault());
    const [failure] = this.#failures.values();
    const aliases = this.#options.preference.map((alias) => `@${alias}`).join(" nor ");
    return new HttpError(
      `Cannot predict with model "${this.#options.model}": ` +
        (this.#storeError ?? failure?.message ??
          `no version has the alias ${aliases}; run "deno task pipeline"`),
      "no_model",
      { headers: { "retry-after": "5" } },
    );
  }

  /** Looks at the aliases now and follows them. Never rejects: what went wrong is in the state. */
  refresh(): Promise<void> {
    return this.#follower.refresh();
  }

  async #look(): Promise<void> {
    try {
      const rows = await this.#store.query<{ alias: string; version: number | null }>(
        "select alias, version from aliases where model = ?",
        [this.#options.model],
      );
      this.#storeError = null;
      await this.#follow(
        new Map(
          rows.flatMap(({ alias, version }) => version === null ? [] : [[alias, version]]),
        ),
      );
    } catch (error) {
      this.#storeError = describeError(error);
    }
  }

  /** Moves to `wanted`, alias by alias; one whose version cannot be loaded stays where it is. */
  async #follow(wanted: ReadonlyMap<string, number>): Promise<void> {
    const before = this.#aliases;
    const next = new Map(wanted);
    for (const alias of this.#failures.keys()) if (!wanted.has(alias)) this.#failures.delete(alias);
    let chosen: Held | null = null;
    for (const alias of this.#options.preference) {
      // A default that was unloaded is missed: no other alias takes its place.
      if (chosen !== null || this.#unloaded.has(next.get(alias))) break;
      chosen = await this.#settle(alias, next);
    }
    for (const alias of wanted.keys()) {
      // An alias that nobody has asked for is loaded when somebody does.
      const isServed = this.#loaded.has(before.get(alias) ?? 0);
      if (isServed && alias !== chosen?.alias) await this.#settle(alias, next);
    }
    this.#aliases = next;
    for (const [alias, version] of next) {
      if (before.get(alias) === version) continue;
      const message = `Alias "${alias}" of model "${this.model}" is at version ${version}`;
      this.#tell("alias_moved", version, message);
    }
    this.#default = chosen && !this.#unloaded.has(chosen.model.version.version) ? chosen : null;
    const named = new Set(next.values());
    for (const version of before.values()) if (!named.has(version)) this.#retire(version);
  }

  /** Loads what `alias` wants; when that fails, sets it back in `next` to what it serves now. */
  async #settle(alias: string, next: Map<string, number>): Promise<Held | null> {
    const version = next.get(alias);
    if (version === undefined || this.#unloaded.has(version)) return null;
    if (this.#loaded.has(version) || await this.#tryLoad(alias, version)) {
      this.#failures.delete(alias);
      return { model: this.#loaded.get(version)!, alias };
    }
    const current = this.#aliases.get(alias);
    const model = this.#loaded.get(current ?? 0);
    if (model) next.set(alias, current!);
    else next.delete(alias);
    return model ? { model, alias } : null;
  }

  async #tryLoad(alias: string, version: number): Promise<boolean> {
    const failure = this.#failures.get(alias);
    if (failure?.version === version && Date.now() - failure.at < RETRY_MS) return false;
    try {
      await this.#load(version);
      this.#failures.delete(alias);
      return true;
    } catch (error) {
      const message = describeError(error);
      this.#failures.set(alias, { alias, version, message, at: Date.now() });
      this.#tell("model_load_failed", version, message);
      return false;
    }
  }

  /** Loads a version, once however many ask. */
  #load(version: number): Promise<ServedModel> {
    let loading = this.#loading.get(version);
    if (!loading) {
      loading = this.#open(version).finally(() => this.#loading.delete(version));
      this.#loading.set(version, loading);
    }
    return loading;
  }

  async #open(version: number): Promise<ServedModel> {
    const found = await resolveVersion(this.#store, this.#options.model, String(version));
    const model = await ServedModel.open(this.#store, found, this.#options);
    if (this.#isClosed || this.#unloaded.has(version)) {
      model.retire();
      if (!this.#isClosed) throw this.#unloaded.refuse(version);
      throw new Error(`Cannot load model ${model.name}: the server is closing`);
    }
    this.#loaded.set(version, model);
    this.#tell("model_loaded", version, `Model ${model.name} is loaded`);
    this.#retireExtra(version);
    return model;
  }

  #tell(kind: ModelEvent["kind"], version: number, message: string): void {
    this.#options.onEvent?.({ kind, model: this.model, version, message });
  }

  #touch(model: ServedModel): void {
    const { version } = model.version;
    this.#loaded.delete(version);
    this.#loaded.set(version, model);
  }

  /** Keeps, of the versions beside the default and the newest, the few used last. */
  #retireExtra(newest: number): void {
    const extra = [...this.#loaded.keys()].filter((version) =>
      version !== newest && version !== this.#default?.model.version.version
    );
    for (const version of extra.slice(0, Math.max(0, extra.length - MAX_EXTRA_MODELS))) {
      this.#retire(version);
    }
  }

  #retire(version: number): void {
    const model = this.#loaded.get(version);
    if (!model) return;
    this.#loaded.delete(version);
    for (const retired of this.#retired) if (retired.isClosed) this.#retired.delete(retired);
    this.#retired.add(model);
    model.retire();
  }

  /** Stops following and closes every session after its last request. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#follower.close();
    await Promise.allSettled(this.#loading.values());
    this.#default = null;
    for (const version of this.#loaded.keys()) this.#retire(version);
    await Promise.all([...this.#retired].map((model) => model.closed()));
  }
}
