/** Lines of a body as they come, within bounds. */

/** One line without its end; `text` is `null` when it was too long to keep. */
export interface Line {
  readonly text: string | null;
  readonly bytes: number;
}

const NEWLINE = 10;

/**
 * Gives the lines of a stream of UTF-8. A line of more than `maxBytes` is not kept, and reading goes
 * on behind it. What follows the last newline is a line when it is not empty. `signal` ends reading.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { readLines } from "./lines.ts";
 *
 * const lines = await Array.fromAsync(readLines(new Response("a\nlong\n\nb").body!, 3));
 * assertEquals(lines.map((line) => line.text), ["a", null, "", "b"]);
 * ```
 */
export async function* readLines(
  stream: ReadableStream<Uint8Array>,
  maxBytes: number,
  signal?: AbortSignal,
): AsyncGenerator<Line> {
  const reader = stream.getReader();
  // What a pending read waits for may never come.
  const stop = () => void reader.cancel().catch(() => {});
  signal?.addEventListener("abort", stop, { once: true });
  const decoder = new TextDecoder();
  let parts: Uint8Array[] = [];
  let bytes = 0;
  const take = (part: Uint8Array): void => {
    bytes += part.length;
    if (bytes <= maxBytes) parts.push(part);
    else parts = [];
  };
  const finish = (): Line => {
    let text: string | null = null;
    if (bytes <= maxBytes) {
      text = "";
      for (const part of parts) text += decoder.decode(part, { stream: true });
      text += decoder.decode();
    }
    const line = { text, bytes };
    parts = [];
    bytes = 0;
    return line;
  };
  for (;;) {
    const { value: chunk, done } = await reader.read();
    if (done) break;
    let start = 0;
    for (let end; (end = chunk.indexOf(NEWLINE, start)) >= 0; start = end + 1) {
      take(chunk.subarray(start, end));
      yield finish();
    }
    if (start < chunk.length) take(chunk.subarray(start));
  }
  if (bytes > 0) yield finish();
}

/** How much {@linkcode mapInOrder} has in hand at most. */
export interface Bounds<T> {
  readonly maxItems: number;
  readonly maxWeight: number;
  weigh(item: T): number;
  /** Ends the items when nobody wants more answers. */
  stop(): void;
}

/**
 * Gives the answer to each item, in the order of the items, and works on several at a time. Answers
 * that nobody has taken yet count as in hand, so that a slow taker slows the giver down; one item is
 * always taken, whatever it weighs.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { mapInOrder } from "./lines.ts";
 *
 * async function* give() {
 *   yield* [3, 1, 2];
 * }
 * const wait = (ms: number) =>
 *   new Promise<string>((resolve) => setTimeout(() => resolve(String(ms)), ms));
 * const bounds = { maxItems: 2, maxWeight: 100, weigh: () => 1, stop() {} };
 * assertEquals(await Array.fromAsync(mapInOrder(give(), wait, bounds)), ["3", "1", "2"]);
 * ```
 */
export function mapInOrder<T>(
  items: AsyncIterable<T>,
  map: (item: T) => Promise<string>,
  bounds: Bounds<T>,
): AsyncIterable<string> {
  return { [Symbol.asyncIterator]: () => new OrderedAnswers(items, map, bounds) };
}

class OrderedAnswers<T> implements AsyncIterator<string> {
  readonly #items: AsyncIterable<T>;
  readonly #map: (item: T) => Promise<string>;
  readonly #bounds: Bounds<T>;
  readonly #inHand: { readonly answer: Promise<string>; readonly weight: number }[] = [];
  #weight = 0;
  #reading: Promise<void> | undefined;
  #isRead = false;
  #isStopped = false;
  #wakeReader: () => void = () => {};
  #wakeTaker: () => void = () => {};

  constructor(items: AsyncIterable<T>, map: (item: T) => Promise<string>, bounds: Bounds<T>) {
    this.#items = items;
    this.#map = map;
    this.#bounds = bounds;
  }

  async next(): Promise<IteratorResult<string, undefined>> {
    if (!this.#reading) {
      this.#reading = this.#read();
      // The taker hears of it below, unless it has stopped by then.
      this.#reading.catch(() => {});
    }
    while (this.#inHand.length === 0 && !this.#isRead && !this.#isStopped) {
      await new Promise<void>((resolve) => this.#wakeTaker = resolve);
    }
    if (this.#inHand.length === 0 || this.#isStopped) {
      if (!this.#isStopped) await this.#reading;
      return { value: undefined, done: true };
    }
    const [{ answer, weight }] = this.#inHand;
    const value = await answer;
    this.#inHand.shift();
    this.#weight -= weight;
    this.#wakeReader();
    return { value, done: false };
  }

  return(): Promise<IteratorResult<string, undefined>> {
    this.#isStopped = true;
    this.#bounds.stop();
    this.#wakeReader();
    this.#wakeTaker();
    return Promise.resolve({ value: undefined, done: true });
  }

  /** Rejects when the items do, for the taker to hear after the last answer. */
  async #read(): Promise<void> {
    try {
      for await (const item of this.#items) {
        const weight = this.#bounds.weigh(item);
        const answer = this.#map(item);
        answer.catch(() => {});
        this.#inHand.push({ answer, weight });
        this.#weight += weight;
        this.#wakeTaker();
        while (!this.#isStopped && this.#isFull()) {
          await new Promise<void>((resolve) => this.#wakeReader = resolve);
        }
        if (this.#isStopped) return;
      }
    } finally {
      this.#isRead = true;
      this.#wakeTaker();
    }
  }

  #isFull(): boolean {
    return this.#inHand.length >= this.#bounds.maxItems || this.#weight >= this.#bounds.maxWeight;
  }
}
