/**
 * What a server takes of its machine and what waits in it, as rows: the view `resources` shows how they
 * went, alerts watch them, and a capacity can be planned from them. What the system does not tell is
 * null, never a 0.
 *
 * @module
 */
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import { z } from "zod";
import { describeError } from "./errors.ts";
import type { Store } from "./store/store.ts";
import { walPath } from "./store/store_file.ts";

/** Parses section `resources` of a config. */
export const ResourceParams = z.strictObject({
  everySeconds: z.number().min(0).default(15).describe(
    "Seconds between two looks at what the server takes of its machine; 0 never looks",
  ),
});

/** Parsed {@linkcode ResourceParams}. */
export type ResourceParams = z.infer<typeof ResourceParams>;

/** What waits in a server. */
export interface Backlog {
  /** Records that wait for a model run. */
  readonly queueRows: number;
  /** Rows of the inference log that no commit holds yet. */
  readonly logBacklogRows: number;
  /** Bytes of the inference log's journal. */
  readonly journalBytes: number;
}

/** One look: a column of `core.resources` each, the time apart. */
export interface ResourceSample {
  /** CPU seconds used per second since the look before. */
  readonly cpu_cores: number | null;
  readonly memory_bytes: number | null;
  readonly heap_bytes: number | null;
  readonly disk_free_bytes: number | null;
  readonly disk_bytes: number | null;
  /** Bodies of logged requests since the look before, and their answers'. */
  readonly received_bytes: number | null;
  readonly sent_bytes: number | null;
  readonly open_files: number | null;
  /** Longest that anything waited for the event loop since the look before. */
  readonly event_loop_lag_seconds: number | null;
  readonly queue_rows: number | null;
  readonly log_backlog_rows: number | null;
  readonly journal_bytes: number | null;
  readonly store_bytes: number | null;
}

/** Bytes of a store's file and of its write-ahead log; `null` of one in memory. */
export async function readStoreBytes(path: string): Promise<number | null> {
  if (path === ":memory:") return null;
  const size = await sizeOf(path);
  return size === null ? null : size + (await sizeOf(walPath(path)) ?? 0);
}

async function sizeOf(path: string): Promise<number | null> {
  try {
    return (await Deno.stat(path)).size;
  } catch {
    return null;
  }
}

/** Bytes of the disk that holds a file: those left for this user, and all of them. */
export async function readDisk(
  path: string,
): Promise<{ readonly freeBytes: number; readonly bytes: number } | null> {
  if (path === ":memory:") return null;
  try {
    const { bavail, blocks, bsize } = await statfs(dirname(path));
    return { freeBytes: bavail * bsize, bytes: blocks * bsize };
  } catch {
    return null;
  }
}

/** CPU seconds that the process has used. */
export function readCpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Open file descriptors. Deno lets a process look at /proc with every permission alone. */
export async function countOpenFiles(): Promise<number | null> {
  try {
    return (await Array.fromAsync(Deno.readDir("/proc/self/fd"))).length;
  } catch {
    return null;
  }
}

/** Time between two looks at the event loop. */
const LAG_TICK_MS = 100;

/** Observes how late a timer is: what a request waits before anything looks at it. */
export class EventLoopLag implements Disposable {
  readonly #timer: ReturnType<typeof setInterval>;

  /** Calls `observe` with seconds until it is disposed of. */
  constructor(observe: (seconds: number) => void) {
    let expectedAt = performance.now() + LAG_TICK_MS;
    this.#timer = setInterval(() => {
      const now = performance.now();
      observe(Math.max(0, now - expectedAt) / 1000);
      expectedAt = now + LAG_TICK_MS;
    }, LAG_TICK_MS);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** What {@linkcode ResourceRecorder} reads and tells. */
export interface ResourceOptions {
  backlog(): Backlog;
  readonly everySeconds: number;
  /** Hears why a look could not be recorded. */
  readonly onError?: (message: string) => void;
}

/** Records what a server takes of its machine until it is closed. */
export class ResourceRecorder implements AsyncDisposable {
  readonly #store: Store;
  readonly #options: ResourceOptions;
  readonly #lag: EventLoopLag;
  #timer: ReturnType<typeof setInterval> | undefined;
  #recording: Promise<void> | undefined;
  #failure: string | null = null;
  #maxLag = 0;
  #cpuSeconds = readCpuSeconds();
  #lookedAt = performance.now();
  #lookedTime = new Date();

  private constructor(store: Store, options: ResourceOptions) {
    this.#store = store;
    this.#options = options;
    this.#lag = new EventLoopLag((seconds) => this.#maxLag = Math.max(this.#maxLag, seconds));
  }

  /** Looks every so often from now on; `everySeconds` of 0 never does. */
  static start(store: Store, options: ResourceOptions): ResourceRecorder | null {
    if (options.everySeconds === 0) return null;
    const recorder = new ResourceRecorder(store, options);
    recorder.#timer = setInterval(() => void recorder.record(), options.everySeconds * 1000);
    return recorder;
  }

  /** Looks now and records it; a look that takes longer than the interval goes on alone. */
  record(): Promise<void> {
    return this.#recording ??= this.#record().finally(() => this.#recording = undefined);
  }

  async #record(): Promise<void> {
    try {
      const now = new Date();
      const sample = await this.#look(now);
      const columns = Object.entries(sample).map(([name, value]) => [name, [value ?? null]]);
      await this.#store.transaction([{
        append: "core.resources",
        columns: { created_at: [now], ...Object.fromEntries(columns) },
      }]);
      this.#failure = null;
    } catch (error) {
      const message = `Cannot record resources: ${describeError(error)}`;
      if (this.#failure !== message) this.#options.onError?.(message);
      this.#failure = message;
    }
  }

  async #look(now: Date): Promise<ResourceSample> {
    const { path } = this.#store;
    const { queueRows, logBacklogRows, journalBytes } = this.#options.backlog();
    const { rss, heapUsed } = Deno.memoryUsage();
    const lag = this.#maxLag;
    this.#maxLag = 0;
    const cpuCores = this.#readCpuCores();
    const [disk, storeBytes, openFiles, [bodies]] = await Promise.all([
      readDisk(path),
      readStoreBytes(path),
      countOpenFiles(),
      this.#store.query<{ received: number; sent: number }>(
        `select coalesce(sum(request_bytes), 0)::double as received,
           coalesce(sum(response_bytes), 0)::double as sent
         from core.requests where request_time >= ? and request_time < ?`,
        [this.#lookedTime, now],
      ),
    ]);
    this.#lookedTime = now;
    return {
      cpu_cores: cpuCores,
      memory_bytes: rss,
      heap_bytes: heapUsed,
      disk_free_bytes: disk?.freeBytes ?? null,
      disk_bytes: disk?.bytes ?? null,
      received_bytes: bodies.received,
      sent_bytes: bodies.sent,
      open_files: openFiles,
      event_loop_lag_seconds: lag,
      queue_rows: queueRows,
      log_backlog_rows: logBacklogRows,
      journal_bytes: path === ":memory:" ? null : journalBytes,
      store_bytes: storeBytes,
    };
  }

  #readCpuCores(): number | null {
    const seconds = readCpuSeconds();
    const now = performance.now();
    const elapsed = (now - this.#lookedAt) / 1000;
    const used = seconds - this.#cpuSeconds;
    this.#cpuSeconds = seconds;
    this.#lookedAt = now;
    return elapsed > 0 ? used / elapsed : null;
  }

  /** Ends after the look at hand. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#lag[Symbol.dispose]();
    await this.#recording;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
