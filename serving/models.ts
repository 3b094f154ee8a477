/**
 * The models a server holds. They follow the aliases of the model registry: a new version is loaded
 * and warmed first, then takes over between two requests.
 *
 * @module
 */
import { describeError, UsageError } from "../runtime/errors.ts";
import { resolveVersion } from "../runtime/model_registry.ts";
import type { Store } from "../runtime/store.ts";
import type { BatcherOptions } from "./batcher.ts";
import { HttpError } from "./http_error.ts";
import { ServedModel } from "./served_model.ts";

/** Which version a request asks for; neither: the default. */
export interface ModelReference {
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
export interface ModelsOptions extends BatcherOptions {
  readonly model: string;
  /** Aliases that may be the default, the most wanted first. */
  readonly preference: readonly string[];
}

/** An alias whose version could not be loaded; what it served before is served on. */
export interface LoadFailure {
  readonly alias: string;
  readonly version: number;
  readonly message: string;
  readonly at: number;
}

/** How often changes that another process made are looked for. */
const POLL_MS = 1_000;

/** Own commits are many, and each could hold an alias change: look at most this often. */
const CHECK_MS = 500;

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
  #storeError: string | null = null;
  #refreshing: Promise<void> | undefined;
  #isRefreshWanted = false;
  #checkTimer: ReturnType<typeof setTimeout> | undefined;
  #checkedAt = 0;
  #pollTimer: ReturnType<typeof setTimeout> | undefined;
  #stopListening: () => void = () => {};
  #isClosed = false;

  private constructor(store: Store, options: ModelsOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** Loads the default, if there is one yet, and follows the aliases from then on. */
  static async open(store: Store, options: ModelsOptions): Promise<Models> {
    const models = new Models(store, options);
    await models.refresh();
    models.#stopListening = store.onCommit(() => models.#check());
    models.#pollTimer = setInterval(() => void models.refresh(), POLL_MS);
    return models;
  }

  /** The model that requests get which ask for none. */
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
      version ??= (await resolveVersion(this.#store, model, `@${alias}`)).version;
      let served = this.#loaded.get(version) ?? await this.#load(version);
      // Others may have asked for so many versions that this one has had to go already.
      while (served.isClosed) served = await this.#load(version);
      return { model: served.retain(), alias };
    } catch (error) {
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
  async refresh(): Promise<void> {
    if (this.#isClosed) return;
    this.#isRefreshWanted = true;
    await (this.#refreshing ??= Promise.resolve().then(() => this.#refreshAll()));
  }

  async #refreshAll(): Promise<void> {
    while (this.#isRefreshWanted && !this.#isClosed) {
      this.#isRefreshWanted = false;
      this.#checkedAt = performance.now();
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
    // In the same tick as the check, so that no wish is left behind.
    this.#refreshing = undefined;
  }

  /** Moves to `wanted`, alias by alias; one whose version cannot be loaded stays where it is. */
  async #follow(wanted: ReadonlyMap<string, number>): Promise<void> {
    const before = this.#aliases;
    const next = new Map(wanted);
    for (const alias of this.#failures.keys()) if (!wanted.has(alias)) this.#failures.delete(alias);
    let chosen: Held | null = null;
    for (const alias of this.#options.preference) {
      if (chosen === null) chosen = await this.#settle(alias, next);
    }
    for (const alias of wanted.keys()) {
      // An alias that nobody has asked for is loaded when somebody does.
      const isServed = this.#loaded.has(before.get(alias) ?? 0);
      if (isServed && alias !== chosen?.alias) await this.#settle(alias, next);
    }
    this.#aliases = next;
    this.#default = chosen;
    const named = new Set(next.values());
    for (const version of before.values()) if (!named.has(version)) this.#retire(version);
  }

  /** Loads what `alias` wants; when that fails, sets it back in `next` to what it serves now. */
  async #settle(alias: string, next: Map<string, number>): Promise<Held | null> {
    const version = next.get(alias);
    if (version === undefined) return null;
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
    if (this.#isClosed) {
      model.retire();
      throw new Error(`Cannot load model ${model.name}: the server is closing`);
    }
    this.#loaded.set(version, model);
    this.#retireExtra(version);
    return model;
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

  #check(): void {
    if (this.#checkTimer !== undefined || this.#isClosed) return;
    const wait = Math.max(0, this.#checkedAt + CHECK_MS - performance.now());
    this.#checkTimer = setTimeout(() => {
      this.#checkTimer = undefined;
      void this.refresh();
    }, wait);
  }

  /** Stops following and closes every session after its last request. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopListening();
    clearInterval(this.#pollTimer);
    clearTimeout(this.#checkTimer);
    await this.#refreshing;
    await Promise.allSettled(this.#loading.values());
    this.#default = null;
    for (const version of this.#loaded.keys()) this.#retire(version);
    await Promise.all([...this.#retired].map((model) => model.closed()));
  }
}
