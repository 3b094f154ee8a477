/** Where the rows of one request are from; one object serves all requests in turn. */
import type { Origin } from "./series_watch.ts";

/** The rows of a request from `start` on. */
export class RequestOrigin implements Origin {
  #requestId: string;
  #time: Date;
  readonly #start: number;

  constructor(requestId: string, start: number, time: Date) {
    this.#requestId = requestId;
    this.#start = start;
    this.#time = time;
  }

  /** Makes it that of another request. */
  set(requestId: string, time: Date): void {
    this.#requestId = requestId;
    this.#time = time;
  }

  requestId(): string {
    return this.#requestId;
  }

  row(i: number): number {
    return this.#start + i;
  }

  time(): Date {
    return this.#time;
  }

  from(start: number): Origin {
    return new RequestOrigin(this.#requestId, this.#start + start, this.#time);
  }
}
