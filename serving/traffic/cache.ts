/** Predictions that were made already, by model and exact input. */
import type { Matrix } from "../../numeric/matrix.ts";
import type { Prediction } from "../../runtime/onnx_session.ts";
import { mix } from "../../numeric/hash.ts";
import type { CacheParams } from "./params.ts";

/** How a cache is doing. */
export interface CacheStats {
  readonly entries: number;
  readonly bytes: number;
}

interface Entry {
  readonly artifact: string;
  readonly cols: number;
  /** Bits of the input, so that a NaN equals itself and -0 does not equal 0. */
  readonly input: Uint32Array;
  readonly prediction: Prediction;
  readonly bytes: number;
  readonly expiresAt: number;
}

/** What an entry costs beside its numbers. */
const ENTRY_BYTES = 400;

/**
 * Keeps predictions by the hash of the model's bytes and the bits of the graph's input `[n, f]`, which
 * are all that a prediction depends on: ranges, windows and order are in the input already. Entries are
 * compared as a whole, so that two inputs of one hash are never taken for each other. What was used
 * least recently makes room.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { matrix } from "../../numeric/matrix.ts";
 * import { PredictionCache } from "./cache.ts";
 *
 * const cache = new PredictionCache({ maxBytes: 10_000, maxEntries: 10, ttlSeconds: 60 });
 * const X = matrix(1, 2, Float32Array.of(1, NaN));
 * const prediction = { labels: Int32Array.of(0), probabilities: matrix(1, 1, Float32Array.of(1)) };
 * cache.set("f00d", X, prediction);
 * assertEquals(cache.get("f00d", matrix(1, 2, Float32Array.of(1, NaN))), prediction);
 * assertEquals(cache.get("beef", X), null);
 * ```
 */
export class PredictionCache {
  readonly #params: CacheParams;
  readonly #now: () => number;
  /** The least recently used first. */
  readonly #entries = new Map<number, Entry>();
  #bytes = 0;

  /** `now` gives milliseconds of a clock that never goes back. */
  constructor(params: CacheParams, now: () => number = () => performance.now()) {
    this.#params = params;
    this.#now = now;
  }

  get stats(): CacheStats {
    return { entries: this.#entries.size, bytes: this.#bytes };
  }

  /** Gives what was predicted for this input by the model of these bytes, else `null`. */
  get(artifact: string, X: Matrix): Prediction | null {
    const bits = toBits(X);
    const hash = hashInput(artifact, bits);
    const entry = this.#entries.get(hash);
    if (entry === undefined || !isSame(entry, artifact, X, bits)) return null;
    this.#entries.delete(hash);
    if (entry.expiresAt <= this.#now()) {
      this.#bytes -= entry.bytes;
      return null;
    }
    this.#entries.set(hash, entry);
    return entry.prediction;
  }

  /** Keeps a prediction; one that alone is larger than the cache is not kept. */
  set(artifact: string, X: Matrix, { labels, probabilities }: Prediction): void {
    const { maxBytes, maxEntries, ttlSeconds } = this.#params;
    const bytes = ENTRY_BYTES + X.data.byteLength + labels.byteLength +
      probabilities.data.byteLength;
    if (bytes > maxBytes) return;
    const bits = toBits(X);
    const hash = hashInput(artifact, bits);
    this.#remove(hash);
    this.#entries.set(hash, {
      artifact,
      cols: X.cols,
      // Both may be parts of larger memory, which copies do not keep alive.
      input: bits.slice(),
      prediction: {
        labels: labels.slice(),
        probabilities: { ...probabilities, data: probabilities.data.slice() },
      },
      bytes,
      expiresAt: this.#now() + ttlSeconds * 1000,
    });
    this.#bytes += bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= maxBytes && this.#entries.size <= maxEntries) break;
      this.#remove(oldest);
    }
  }

  #remove(hash: number): void {
    const entry = this.#entries.get(hash);
    if (entry === undefined) return;
    this.#entries.delete(hash);
    this.#bytes -= entry.bytes;
  }
}

function toBits({ data }: Matrix): Uint32Array {
  return new Uint32Array(data.buffer, data.byteOffset, data.length);
}

function hashInput(artifact: string, bits: Uint32Array): number {
  let hash = parseInt(artifact.slice(0, 8), 16) | 0;
  for (let i = 0; i < bits.length; i++) hash = mix(Math.imul(hash, 31) ^ bits[i]);
  return hash;
}

function isSame(entry: Entry, artifact: string, X: Matrix, bits: Uint32Array): boolean {
  if (entry.artifact !== artifact || entry.cols !== X.cols) return false;
  const { input } = entry;
  if (input.length !== bits.length) return false;
  for (let i = 0; i < bits.length; i++) if (input[i] !== bits[i]) return false;
  return true;
}
