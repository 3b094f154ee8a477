/**
 * Sends what the outbox holds, at least once: an attempt that ended without a trace is made again, and
 * its receiver knows it by the delivery id. The order of deliveries is not promised, not even to one
 * receiver: a later one does not wait for one that is retried.
 *
 * A delivery is claimed for the length of an attempt before it is sent, so that of two processes on a
 * store only one sends it, and what a killed process had claimed is sent by the next.
 *
 * @module
 */
import { describeError } from "./errors.ts";
import type { Store } from "./store.ts";
import { hostOf, parseEndpoint } from "./webhook_address.ts";
import {
  claimDeliveries,
  type ClaimedDelivery,
  type DueDelivery,
  readDue,
  releaseDelivery,
  settleDelivery,
} from "./webhook_outbox.ts";
import { openSecret, readSecretKey } from "./webhook_secrets.ts";
import { ATTEMPT_TIMEOUT_MS, sendDelivery, type SendOptions } from "./webhook_sender.ts";

/** Attempts of a delivery before it is a dead letter. */
export const MAX_ATTEMPTS = 8;

/** Attempts at one webhook at once: one that hangs holds up itself alone. */
export const ATTEMPTS_AT_ONCE = 4;

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
 * import { backoffMs } from "./webhook_dispatcher.ts";
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

/** How to dispatch. */
export interface DispatchOptions extends Omit<SendOptions, "signal"> {
  /** In `[0, 1)`; default `Math.random`. */
  readonly random?: () => number;
  /** Hears of webhooks that this process cannot serve, and of a store that does not answer. */
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

interface ReceiverRow extends Record<string, unknown> {
  readonly webhook_id: string;
  readonly name: string;
  readonly url: string;
  readonly sealed_secret: string | null;
  readonly allows_local: boolean;
}

/** A webhook that this process can serve, with its opened secret. */
type Receiver = ReceiverRow & { readonly secret: string | null };

/** Sends the deliveries of a store until it is closed. */
export class WebhookDispatcher implements AsyncDisposable {
  readonly counts: DispatchCounts = { delivered: 0, retried: 0, dead: 0 };
  readonly #store: Store;
  readonly #options: DispatchOptions;
  readonly #now: () => number;
  readonly #abort = new AbortController();
  /** Attempts at work, by delivery. */
  readonly #attempts = new Map<
    string,
    { readonly webhookId: string; readonly end: Promise<void> }
  >();
  /** Why this process cannot serve a webhook, by its id; said once. */
  readonly #obstacles = new Map<string, string>();
  #looking: Promise<void> | undefined;
  #isStarted = false;
  #failure: string | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAt = Infinity;
  #stopListening: () => void = () => {};

  constructor(store: Store, options: DispatchOptions = {}) {
    this.#store = store;
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** Sends from now on whatever is due: soon after a commit of this process, else every two seconds. */
  static start(store: Store, options: DispatchOptions = {}): WebhookDispatcher {
    const dispatcher = new WebhookDispatcher(store, options);
    dispatcher.#isStarted = true;
    dispatcher.#stopListening = store.onCommit(() => dispatcher.#lookIn(LOOK_AFTER_COMMIT_MS));
    dispatcher.#lookIn(0);
    return dispatcher;
  }

  /** Why this process leaves webhooks alone: a host or a secret that it may not or cannot use. */
  get obstacles(): readonly string[] {
    return [...this.#obstacles.values()];
  }

  /** Sends what is due now, and ends when no more is. */
  async drain(): Promise<DispatchCounts> {
    for (;;) {
      await this.#look();
      if (this.#attempts.size === 0) return this.counts;
      await Promise.race([...this.#attempts.values()].map(({ end }) => end));
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
    const message = `Cannot use the outbox of webhooks: ${describeError(error)}`;
    if (this.#failure !== message) this.#options.onError?.(message);
    this.#failure = message;
  }

  /** Begins the attempts that are due and have room; calls at once share one look. */
  #look(): Promise<void> {
    return this.#looking ??= this.#begin().finally(() => this.#looking = undefined);
  }

  async #begin(): Promise<void> {
    const now = new Date(this.#now());
    const due = await readDue(this.#store, { now, perWebhook: ATTEMPTS_AT_ONCE });
    if (due.length === 0) return;
    const receivers = await this.#readReceivers(due);
    const ids = this.#chooseIds(due, receivers);
    if (ids.length === 0 || this.#abort.signal.aborted) return;
    const { timeoutMs = ATTEMPT_TIMEOUT_MS } = this.#options;
    const until = new Date(now.getTime() + timeoutMs + CLAIM_MARGIN_MS);
    for (const delivery of await claimDeliveries(this.#store, ids, { now, until })) {
      const { delivery_id: id, webhook_id: webhookId } = delivery;
      const end = this.#attempt(delivery, receivers.get(webhookId)!).finally(() => {
        this.#attempts.delete(id);
        this.#lookIn(0);
      });
      this.#attempts.set(id, { webhookId, end });
    }
  }

  /** Gives the webhooks of some deliveries that this process can serve. */
  async #readReceivers(due: readonly DueDelivery[]): Promise<Map<string, Receiver>> {
    const rows = await this.#store.query<ReceiverRow>(
      `select webhook_id, name, url, sealed_secret, allows_local from core.webhooks
       where webhook_id in (select unnest(?::json::varchar[]))`,
      [JSON.stringify([...new Set(due.map((delivery) => delivery.webhook_id))])],
    );
    const receivers = new Map<string, Receiver>();
    for (const row of rows) {
      try {
        receivers.set(row.webhook_id, { ...row, secret: await prepare(row) });
        this.#obstacles.delete(row.webhook_id);
      } catch (error) {
        this.#meet(row, describeError(error));
      }
    }
    return receivers;
  }

  #chooseIds(due: readonly DueDelivery[], receivers: ReadonlyMap<string, Receiver>): string[] {
    const room = new Map([...receivers.keys()].map((id) => [id, ATTEMPTS_AT_ONCE]));
    for (const { webhookId } of this.#attempts.values()) {
      room.set(webhookId, (room.get(webhookId) ?? 0) - 1);
    }
    return due.filter(({ webhook_id: id }) => {
      const left = room.get(id) ?? 0;
      room.set(id, left - 1);
      return left > 0;
    }).map((delivery) => delivery.delivery_id);
  }

  /** Deliveries wait for a process that can send them: nothing is lost by one that cannot. */
  #meet({ webhook_id: id, name }: ReceiverRow, reason: string): void {
    const message = `Cannot serve webhook "${name}": ${reason}`;
    if (this.#obstacles.get(id) === message) return;
    this.#obstacles.set(id, message);
    this.#options.onError?.(message);
  }

  async #attempt(delivery: ClaimedDelivery, receiver: Receiver): Promise<void> {
    const { signal } = this.#abort;
    try {
      const result = await sendDelivery({
        url: receiver.url,
        allowsLocal: receiver.allows_local,
        secret: receiver.secret,
        deliveryId: delivery.delivery_id,
        payload: delivery.payload,
      }, { ...this.#options, signal });
      const at = this.#now();
      const attempt = delivery.attempts + 1;
      const state = result.isDelivered ? "delivered" : attempt >= MAX_ATTEMPTS ? "dead" : "pending";
      const wait = backoffMs(attempt, { ...this.#options, retryAfterMs: result.retryAfterMs });
      const nextAt = state === "pending" ? new Date(at + wait) : null;
      await settleDelivery(this.#store, delivery, { result, at: new Date(at), state, nextAt });
      this.counts[state === "pending" ? "retried" : state]++;
    } catch (error) {
      if (signal.aborted) return await this.#release(delivery);
      this.#fail(error);
    }
  }

  /** Best effort: when it fails, the claim runs out. */
  async #release(delivery: ClaimedDelivery): Promise<void> {
    await releaseDelivery(this.#store, delivery, new Date(this.#now())).catch((error) =>
      this.#fail(error)
    );
  }
}

/**
 * Gives the secret of a webhook that this process can serve.
 * @throws {Error} when it may not reach the host, or cannot open the secret.
 */
async function prepare(receiver: ReceiverRow): Promise<string | null> {
  const url = parseEndpoint(receiver.url, { allowsLocal: receiver.allows_local });
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const host = `${url.hostname}:${port}`;
  const { state } = await Deno.permissions.query({ name: "net", host });
  if (state !== "granted") {
    throw new Error(
      `this task may not reach "${
        hostOf(url)
      }"; add it to "net" of its permission set in deno.json, ` +
        'or run "deno task webhooks deliver"',
    );
  }
  if (receiver.sealed_secret === null) return null;
  return openSecret(receiver.sealed_secret, { owner: receiver.webhook_id, key: readSecretKey() });
}
