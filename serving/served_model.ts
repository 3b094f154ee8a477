/** One model version that a server holds: its session, its queue, and how its answers are written. */
import { type Matrix, matrix } from "../numeric/matrix.ts";
import { readEvidence } from "../runtime/registry/evidence.ts";
import { checkGolden } from "../runtime/registry/golden.ts";
import { loadModel, type ModelVersion } from "../runtime/registry/model_registry.ts";
import { Predictor } from "../runtime/predict/predictor.ts";
import type { Signature } from "../runtime/registry/signature.ts";
import type { Store } from "../runtime/store/store.ts";
import { Batcher, type BatcherOptions, type ModelRun, type TimedPrediction } from "./batcher.ts";
import { Explainer } from "./explain.ts";
import { HttpError } from "./http_error.ts";
import type { QueuedModel } from "./metrics/inference.ts";
import { makeLayout, type RecordLayout, type Records } from "./records.ts";
import type { PredictionCache } from "./traffic/cache.ts";
import type { Urgency } from "./traffic/urgency.ts";

/** What served models share. */
export interface ServedOptions extends Omit<BatcherOptions, "onRun"> {
  /** Hears of every run of every version. */
  readonly onRun?: (run: ModelRun, version: ModelVersion) => void;
  /** Left out: every prediction is a run of the model. */
  readonly cache?: PredictionCache | undefined;
}

/** A prediction, by a run of the model or from the cache. */
export interface ServedPrediction extends Omit<TimedPrediction, "batchId"> {
  /** `null` when no run was needed. */
  readonly batchId: string | null;
  /** Whether the cache had it, and the milliseconds of looking; `null` without a cache. */
  readonly cache: { readonly isHit: boolean; readonly ms: number } | null;
}

/** A loaded and warmed model version. Close it by {@linkcode ServedModel.retire}. */
export class ServedModel {
  readonly version: ModelVersion;
  readonly layout: RecordLayout;
  /** `"class":` of each class, as it stands in an answer. */
  readonly classKeys: readonly string[];
  readonly classTexts: readonly string[];
  readonly #predictor: Predictor;
  readonly #batcher: Batcher;
  readonly #cache: PredictionCache | undefined;
  readonly #load: () => Promise<Uint8Array>;
  #explainer: Promise<Explainer> | undefined;
  #users = 0;
  #isRetired = false;
  #closing: Promise<void> | undefined;

  private constructor(
    version: ModelVersion,
    { predictor, load }: { predictor: Predictor; load: () => Promise<Uint8Array> },
    { onRun, cache, ...options }: ServedOptions,
  ) {
    this.version = version;
    this.#cache = cache;
    this.#load = load;
    this.layout = makeLayout(predictor.signature);
    this.classTexts = predictor.signature.classes.map((name) => JSON.stringify(name));
    this.classKeys = this.classTexts.map((text, i) => `${i === 0 ? "" : ","}${text}:`);
    this.#predictor = predictor;
    this.#batcher = new Batcher((X) => predictor.classify(X), {
      ...options,
      ...(onRun ? { onRun: (run) => onRun(run, version) } : {}),
    });
  }

  /**
   * Loads a version and predicts its golden batch, so that it answers as it should from then on.
   * @throws {Error} when its bytes have changed, cannot be loaded, or answer otherwise than in training.
   */
  static async open(
    store: Store,
    version: ModelVersion,
    options: ServedOptions,
  ): Promise<ServedModel> {
    const load = () => loadModel(store, version);
    const { bytes, evidence: { golden } } = await readEvidence(store, version);
    const predictor = await Predictor.open(bytes);
    try {
      await warmUp(predictor, version);
      const name = `model "${version.model}" version ${version.version}`;
      await checkGolden(store, predictor, { golden, name });
    } catch (error) {
      await predictor.close();
      throw error;
    }
    return new ServedModel(version, { predictor, load }, options);
  }

  get signature(): Signature {
    return this.#predictor.signature;
  }

  /** Keeps the session open until {@linkcode release}. */
  retain(): this {
    this.#users++;
    return this;
  }

  release(): void {
    this.#users--;
    if (this.#isRetired && this.#users === 0) this.#close();
  }

  /** Closes the session as soon as its last user has released it. */
  retire(): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    if (this.#users === 0) this.#close();
  }

  /** Resolves when the session of a retired model is closed, at once when it has not begun to. */
  async closed(): Promise<void> {
    await this.#closing;
  }

  get isClosed(): boolean {
    return this.#closing !== undefined;
  }

  /**
   * Predicts the records of one request: from the cache, or in one model run with those of others.
   * @throws {HttpError} 503 when too many wait, 504 when the deadline passes before its turn, 500 when
   * the model fails or gives no probability.
   */
  async predict(records: Records, urgency?: Urgency): Promise<ServedPrediction> {
    const X = this.#predictor.expand(records.rows);
    if (this.#cache === undefined) return { ...await this.#run(X, urgency), cache: null };
    const { artifact } = this.version;
    const lookedAt = performance.now();
    const known = this.#cache.get(artifact, X);
    const cache = { isHit: known !== null, ms: performance.now() - lookedAt };
    if (known) return { ...known, queueMs: 0, modelMs: 0, batchId: null, batchRows: 0, cache };
    const prediction = await this.#run(X, urgency);
    this.#cache.set(artifact, X, prediction);
    return { ...prediction, cache };
  }

  async #run(X: Matrix, urgency?: Urgency): Promise<TimedPrediction> {
    let prediction: TimedPrediction;
    try {
      prediction = await this.#batcher.run(X, urgency);
    } catch (cause) {
      if (cause instanceof HttpError || urgency?.signal?.aborted) throw cause;
      throw new HttpError(`Cannot predict: model ${this.name} failed`, "model_failed", { cause });
    }
    const { data } = prediction.probabilities;
    for (let i = 0; i < data.length; i++) {
      if (data[i] !== data[i]) {
        throw new HttpError(
          `Cannot predict: model ${this.name} gives no number for record ${
            Math.floor(i / prediction.probabilities.cols)
          }; was it trained on missing values?`,
          "model_failed",
        );
      }
    }
    return prediction;
  }

  /**
   * Gives what explains the predictions of this version, loaded when first asked for; it is closed
   * with the session.
   * @throws {HttpError} 422 when the model cannot be explained.
   */
  async explainer(): Promise<Explainer> {
    const opening = this.#explainer ??= this.#load()
      .then((bytes) => Explainer.open(bytes, this.signature));
    try {
      return await opening;
    } catch (error) {
      // What the file lacks, it lacks for ever; what went wrong in loading may go well next time.
      if (!(error instanceof HttpError) && this.#explainer === opening) this.#explainer = undefined;
      throw error;
    }
  }

  /** What waits for a run of this version. */
  get queued(): QueuedModel {
    const { queuedRequests, queuedRows } = this.#batcher;
    const { model, version } = this.version;
    return { model, version, queuedRequests, queuedRows };
  }

  /** Model and version as a person reads them. */
  get name(): string {
    return `"${this.version.model}" version ${this.version.version}`;
  }

  #close(): void {
    const explainer = this.#explainer?.then((explainer) => explainer.close(), () => {});
    this.#closing = Promise.all([this.#predictor.close(), explainer]).then(() => {});
  }
}

async function warmUp(predictor: Predictor, version: ModelVersion): Promise<void> {
  const { inputs, classes } = predictor.signature;
  const X = matrix(1, inputs.length, Float32Array.from(inputs, ({ range }) => middle(range)));
  const { labels, probabilities } = await predictor.predict({ X, order: new Float64Array(1) });
  if (
    probabilities.cols !== classes.length || !(labels[0] >= 0 && labels[0] < classes.length) ||
    probabilities.data.some(Number.isNaN)
  ) {
    throw new Error(
      `Cannot serve model "${version.model}" version ${version.version}: its first answer is no ` +
        `prediction of ${classes.length} classes; register a version that passes "deno task pipeline"`,
    );
  }
}

function middle(range: readonly [number, number] | undefined): number {
  return range ? (range[0] + range[1]) / 2 : 0;
}
