/**
 * Request ids: unique over the whole inference table, though callers choose their own.
 *
 * @module
 */
import { mix } from "../numeric/hash.ts";
import type { Store } from "../runtime/store/store.ts";
import { HttpError } from "./http_error.ts";

const ALLOWED = /^[A-Za-z0-9._:-]{1,128}$/;

/** What {@linkcode RequestIds.make} makes. A caller's id may have this form, too. */
const MADE = /^g[0-9a-f]{12}-[0-9a-z]+$/;

/** Bits of the filter over given ids: 2 MB, below one false alarm in 1,000 up to a million ids. */
const FILTER_BITS = 2 ** 24;
const FILTER_HASHES = 4;

/** Given ids of requests that may not be on disk yet; more than the inference log can hold. */
const RECENT_IDS = 100_000;

/**
 * Makes request ids and claims given ones.
 *
 * Whether a given id was used before is answered from a Bloom filter over the table's given ids;
 * only when that says "perhaps" is the store asked. So the answer is exact, and an id costs a
 * microsecond.
 */
export class RequestIds {
  readonly #store: Store;
  readonly #prefix = `g${crypto.randomUUID().replaceAll("-", "").slice(0, 12)}-`;
  readonly #filter = new Uint32Array(FILTER_BITS / 32);
  readonly #recent = new Set<string>();
  #count = 0;
  #seeding: Promise<void> | undefined;
  #isSeeded = false;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Gives a new id. */
  make(): string {
    return this.#prefix + (this.#count++).toString(36);
  }

  /**
   * Gives `given` when no request had it before, else `given` with a suffix after `~`.
   * @throws {HttpError} 400 when it is no id.
   */
  claim(given: string): string | Promise<string> {
    if (!ALLOWED.test(given)) {
      throw new HttpError(
        'Cannot use "X-Request-Id": it must be 1 to 128 characters of A-Z, a-z, 0-9, ".", "_", ":" and "-"',
        "invalid_request_id",
      );
    }
    if (!this.#isSeeded) return this.#claimAfterSeeding(given);
    if (this.#recent.has(given) || given.startsWith(this.#prefix)) return withSuffix(given);
    if (!this.#add(given) && !MADE.test(given)) return given;
    return this.#ask(given);
  }

  async #claimAfterSeeding(given: string): Promise<string> {
    // Only the first given id waits for this; a server whose callers give none never reads the table.
    await (this.#seeding ??= this.#seed().catch((error) => {
      this.#seeding = undefined;
      throw new HttpError(
        "Cannot look up the request id: the store does not answer",
        "log_failed",
        {
          cause: error,
        },
      );
    }));
    return await this.claim(given);
  }

  async #seed(): Promise<void> {
    const { columns } = await this.#store.readColumns(
      "select client_request_id from core.requests where client_request_id is not null",
    );
    for (const id of columns.client_request_id as readonly string[]) this.#mark(id);
    this.#isSeeded = true;
  }

  async #ask(given: string): Promise<string> {
    const [row] = await this.#store.query(
      "select 1 as is_known from core.requests where request_id = ? limit 1",
      [given],
    );
    return row ? withSuffix(given) : given;
  }

  /** Remembers an id; gives whether it may have been there before. */
  #add(id: string): boolean {
    if (this.#recent.size >= RECENT_IDS) {
      for (const oldest of this.#recent) {
        this.#recent.delete(oldest);
        break;
      }
    }
    this.#recent.add(id);
    return this.#mark(id);
  }

  #mark(id: string): boolean {
    let a = 0x811c9dc5;
    let b = 0x9747b28c;
    for (let i = 0; i < id.length; i++) {
      const code = id.charCodeAt(i);
      a = Math.imul(a ^ code, 0x01000193);
      b = Math.imul(b ^ code, 0x5bd1e995);
      b ^= b >>> 15;
    }
    let wasThere = true;
    for (let k = 0; k < FILTER_HASHES; k++) {
      const bit = mix(a + Math.imul(k, b)) % FILTER_BITS;
      const mask = 1 << (bit & 31);
      if ((this.#filter[bit >>> 5] & mask) === 0) {
        wasThere = false;
        this.#filter[bit >>> 5] |= mask;
      }
    }
    return wasThere;
  }
}

/** No given id holds a `~`, so this one cannot collide with another. */
function withSuffix(given: string): string {
  return `${given}~${crypto.randomUUID().slice(0, 8)}`;
}
