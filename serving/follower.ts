/** Looks at the store again when it may have changed. */
import type { Store } from "../runtime/store/store.ts";

/** How often changes that another process made are looked for. */
const POLL_MS = 1_000;

/** Own commits are many, and each could hold a change: look at most this often. */
const CHECK_MS = 500;

/** Calls `look` soon after every commit and every second, never twice at a time. */
export class Follower {
  readonly #look: () => Promise<void>;
  #looking: Promise<void> | undefined;
  #isWanted = false;
  #checkTimer: ReturnType<typeof setTimeout> | undefined;
  #checkedAt = 0;
  #pollTimer: ReturnType<typeof setTimeout> | undefined;
  #stopListening: () => void = () => {};
  #isClosed = false;

  /** `look` must not reject. */
  constructor(look: () => Promise<void>) {
    this.#look = look;
  }

  /** Begins to follow the store. */
  start(store: Store): void {
    this.#stopListening = store.onCommit(() => this.#check());
    this.#pollTimer = setInterval(() => void this.refresh(), POLL_MS);
  }

  /** Looks now; resolves when a look that began after the call has ended. */
  async refresh(): Promise<void> {
    if (this.#isClosed) return;
    this.#isWanted = true;
    await (this.#looking ??= Promise.resolve().then(() => this.#lookAll()));
  }

  async #lookAll(): Promise<void> {
    while (this.#isWanted && !this.#isClosed) {
      this.#isWanted = false;
      this.#checkedAt = performance.now();
      await this.#look();
    }
    // In the same tick as the check, so that no wish is left behind.
    this.#looking = undefined;
  }

  #check(): void {
    if (this.#checkTimer !== undefined || this.#isClosed) return;
    const wait = Math.max(0, this.#checkedAt + CHECK_MS - performance.now());
    this.#checkTimer = setTimeout(() => {
      this.#checkTimer = undefined;
      void this.refresh();
    }, wait);
  }

  /** Looks no more; resolves when the last look has ended. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopListening();
    clearInterval(this.#pollTimer);
    clearTimeout(this.#checkTimer);
    await this.#looking;
  }
}
