/**
 * Sends what an outbox holds, at least once: an attempt that ended without a trace is made again, and
 * its receiver knows it by the delivery id. The order of deliveries is not promised, not even to one
 * receiver: a later one does not wait for one that is retried.
 *
 * A delivery is claimed for the length of an attempt before it is sent, so that of two processes on a
 * store only one sends it, and what a killed process had claimed is sent by the next.
 *
 * @module
 */
import { describeError } from "../errors.ts";
import type { Store } from "../store/store.ts";
import {
  type AttemptResult,
  claimDue,
  type ClaimedDelivery,
  type DueDelivery,
  type Outbox,
  readDue,
  releaseClaim,
  settleClaim,
} from "./outbox.ts";

/** Attempts of a delivery before it is a dead letter. */
export const MAX_ATTEMPTS = 8;

/** Attempts at one receiver at once: one that hangs holds up itself alone. */
export const ATTEMPTS_AT_ONCE = 4;

/** Milliseconds that a receiver may take for one attempt, all in all. */
export const ATTEMPT_TIMEOUT_MS = 10_000;

/** Longest wait before the second attempt; each further one may be four times as long. */
const FIRST_WAIT_MS = 5_000;
const WAIT_FACTOR = 4;

/** What a receiver may ask for with Retry-After at most: a day. */
const LONGEST_WAIT_MS = 86_400_000;

/** A claim outlives the attempt by this. */
const CLAIM_MARGIN_MS = 5_000;

/** The outbox is looked at this often, and sooner after a commit of this process. */
const LOOK_EVERY_MS = 2_000;
const LOOK_AFTER_COMMIT_MS = 250;

/**
 * Gives the milliseconds to wait after the `attempt`-th failed one: any up to `5 s · 4^(attempt − 1)`
 * (exponential backoff with full jitter), or longer when the receiver asks for it.
 *
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { backoffMs } from "./dispatcher.ts";
 *
 * assertEquals(backoffMs(1, { random: () => 0.5 }), 2_500);
 * assertEquals(backoffMs(3, { random: () => 0.5 }), 40_000);
 * assertEquals(backoffMs(1, { random: () => 0, retryAfterMs: 9_000 }), 9_000);
 * ```
 */
export function backoffMs(
  attempt: number,
  { random = Math.random, retryAfterMs = null }: {
    readonly random?: () => number;
    readonly retryAfterMs?: number | null;
  } = {},
): number {
  const jittered = random() * FIRST_WAIT_MS * WAIT_FACTOR ** (attempt - 1);
  return Math.min(LONGEST_WAIT_MS, Math.max(jittered, retryAfterMs ?? 0));
}

/** One who receives deliveries, as this process can serve it now. */
export interface Recipient {
  /** Attempts that may be at work now, at most {@linkcode ATTEMPTS_AT_ONCE}, which is the default. */
  readonly room?: number;
  /**
   * Makes one attempt. A failure is a result.
   * @throws when `signal` was aborted.
   */
  send(delivery: ClaimedDelivery, signal: AbortSignal): Promise<AttemptResult>;
}

/** Who the deliveries of an outbox go to. */
export interface Recipients {
  readonly outbox: Outbox;
  /** How a message calls one of them, such as `webhook`. */
  readonly noun: string;
  /** Gives each receiver, or why this process cannot serve it, with the name that a person knows. */
  open(receivers: readonly string[]): Promise<ReadonlyMap<string, Recipient | Obstacle>>;
}

/** Why a process leaves a receiver alone; what is for it waits for one that does not. */
export interface Obstacle {
  readonly name: string;
  readonly reason: string;
}

/** How to dispatch. */
export interface DispatchOptions {
  /** Milliseconds of one attempt; default {@linkcode ATTEMPT_TIMEOUT_MS}. */
  readonly timeoutMs?: number;
  /** Milliseconds of Unix time; default `Date.now`. */
  readonly now?: () => number;
  /** In `[0, 1)`; default `Math.random`. */
  readonly random?: () => number;
  /** Hears of receivers that this process cannot serve, and of a store that does not answer. */
  readonly onError?: (message: string) => void;
}

/** What came of the attempts so far. */
export interface DispatchCounts {
  delivered: number;
  /** Failed attempts that are made again later. */
  retried: number;
  /** Deliveries whose last attempt failed. */
  dead: number;
}

/** Sends the deliveries of an outbox until it is closed. */
export class OutboxDispatcher implements AsyncDisposable {
  readonly counts: DispatchCounts = { delivered: 0, retried: 0, dead: 0 };
  readonly #store: Store;
  readonly #recipients: Recipients;
  readonly #options: DispatchOptions;
  readonly #now: () => number;
  readonly #abort = new AbortController();
  /** Attempts at work, by delivery. */
  readonly #attempts = new Map<
    string,
    { readonly receiver: string; readonly end: Promise<void> }
  >();
  /** Why this process cannot serve a receiver; said once. */
  readonly #obstacles = new Map<string, string>();
  #looking: Promise<void> | undefined;
  #isStarted = false;
  #failure: string | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAt = Infinity;
  #stopListening: () => void = () => {};

  constructor(store: Store, recipients: Recipients, options: DispatchOptions = {}) {
    this.#store = store;
    this.#recipients = recipients;
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** Sends from now on whatever is due: soon after a commit of this process, else every two seconds. */
  start(): this {
    if (this.#isStarted) return this;
    this.#isStarted = true;
    this.#stopListening = this.#store.onCommit(() => this.#lookIn(LOOK_AFTER_COMMIT_MS));
    this.#lookIn(0);
    return this;
  }

  /** Why this process leaves receivers alone: a host or a secret that it may not or cannot use. */
  get obstacles(): ReadonlyMap<string, string> {
    return this.#obstacles;
  }

  /** Sends what is due now, and ends when no more is. */
  async drain(): Promise<DispatchCounts> {
    for (;;) {
      // A look while others are at work may leave something for when they have ended.
      const wasIdle = this.#attempts.size === 0;
      await this.#look();
      if (this.#attempts.size > 0) {
        await Promise.race([...this.#attempts.values()].map(({ end }) => end));
      } else if (wasIdle) return this.counts;
    }
  }

  /** Stops; attempts at work are given up and will be made again. */
  async close(): Promise<void> {
    this.#stopListening();
    this.#abort.abort();
    clearTimeout(this.#timer);
    await this.#looking?.catch(() => {});
    await Promise.all([...this.#attempts.values()].map(({ end }) => end));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #lookIn(ms: number): void {
    const at = performance.now() + ms;
    if (!this.#isStarted || this.#abort.signal.aborted || at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(async () => {
      this.#timerAt = Infinity;
      await this.#look().then(() => this.#failure = null, (error) => this.#fail(error));
      this.#lookIn(LOOK_EVERY_MS);
    }, ms);
  }

  /** Says once that the store does not answer, until it does again; claims run out meanwhile. */
  #fail(error: unknown): void {
    const message = `Cannot use the outbox of ${this.#recipients.noun}s: ${describeError(error)}`;
    if (this.#failure !== message) this.#options.onError?.(message);
    this.#failure = message;
  }

  /** Begins the attempts that are due and have room; calls at once share one look. */
  #look(): Promise<void> {
    return this.#looking ??= this.#begin().finally(() => this.#looking = undefined);
  }

  async #begin(): Promise<void> {
    const { outbox } = this.#recipients;
    const now = new Date(this.#now());
    // Before anything is read: an attempt that ends meanwhile counts twice rather than never.
    const atWork = [...this.#attempts.values()].map(({ receiver }) => receiver);
    const due = await readDue(this.#store, outbox, { now, perReceiver: ATTEMPTS_AT_ONCE });
    if (due.length === 0) return;
    const recipients = await this.#open(due);
    const ids = chooseIds(due, recipients, atWork);
    if (ids.length === 0 || this.#abort.signal.aborted) return;
    const { timeoutMs = ATTEMPT_TIMEOUT_MS } = this.#options;
    const until = new Date(now.getTime() + timeoutMs + CLAIM_MARGIN_MS);
    for (const delivery of await claimDue(this.#store, outbox, { ids, now, until })) {
      const { delivery_id: id, receiver } = delivery;
      const end = this.#attempt(delivery, recipients.get(receiver)!).finally(() => {
        this.#attempts.delete(id);
        this.#lookIn(0);
      });
      this.#attempts.set(id, { receiver, end });
    }
  }

  /** Gives the receivers of some deliveries that this process can serve. */
  async #open(due: readonly DueDelivery[]): Promise<Map<string, Recipient>> {
    const ids = [...new Set(due.map(({ receiver }) => receiver))];
    const recipients = new Map<string, Recipient>();
    for (const [id, opened] of await this.#recipients.open(ids)) {
      if ("reason" in opened) {
        this.#meet(id, opened);
        continue;
      }
      recipients.set(id, opened);
      this.#obstacles.delete(id);
    }
    return recipients;
  }

  /** Deliveries wait for a process that can send them: nothing is lost by one that cannot. */
  #meet(id: string, { name, reason }: Obstacle): void {
    const message = `Cannot serve ${this.#recipients.noun} "${name}": ${reason}`;
    if (this.#obstacles.get(id) === message) return;
    this.#obstacles.set(id, message);
    this.#options.onError?.(message);
  }

  async #attempt(delivery: ClaimedDelivery, recipient: Recipient): Promise<void> {
    const { signal } = this.#abort;
    try {
      const result = await recipient.send(delivery, signal);
      const at = this.#now();
      const attempt = delivery.attempts + 1;
      const state = result.isDelivered ? "delivered" : attempt >= MAX_ATTEMPTS ? "dead" : "pending";
      const wait = backoffMs(attempt, { ...this.#options, retryAfterMs: result.retryAfterMs });
      const nextAt = state === "pending" ? new Date(at + wait) : null;
      const settlement = { delivery, result, at: new Date(at), state, nextAt } as const;
      await settleClaim(this.#store, this.#recipients.outbox, settlement);
      this.counts[state === "pending" ? "retried" : state]++;
    } catch (error) {
      if (signal.aborted) return await this.#release(delivery);
      this.#fail(error);
    }
  }

  /** Best effort: when it fails, the claim runs out. */
  async #release(delivery: ClaimedDelivery): Promise<void> {
    const now = new Date(this.#now());
    await releaseClaim(this.#store, this.#recipients.outbox, { delivery, now })
      .catch((error) => this.#fail(error));
  }
}

/** Gives the ids of those deliveries whose receivers have room for another attempt. */
function chooseIds(
  due: readonly DueDelivery[],
  recipients: ReadonlyMap<string, Recipient>,
  atWork: readonly string[],
): string[] {
  const rooms = new Map(
    [...recipients].map(([id, { room = Infinity }]) => [id, Math.min(ATTEMPTS_AT_ONCE, room)]),
  );
  for (const receiver of atWork) rooms.set(receiver, (rooms.get(receiver) ?? 0) - 1);
  return due.filter(({ receiver }) => {
    const left = rooms.get(receiver) ?? 0;
    rooms.set(receiver, left - 1);
    return left > 0;
  }).map((delivery) => delivery.delivery_id);
}
