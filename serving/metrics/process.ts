/** What the process and its disk have left. What the system does not tell has no line: never a 0. */
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import type { Histogram } from "./histogram.ts";
import type { ReadMetric } from "./registry.ts";

/** Gives the metrics of this process, under the names that Prometheus' own clients use. */
export function processMetrics(): ReadMetric[] {
  const startedAt = Date.now() / 1000;
  const gauge = (name: string, help: string, read: ReadMetric["read"]): ReadMetric => ({
    name,
    help,
    type: "gauge",
    read,
  });
  return [
    {
      name: "process_cpu_seconds_total",
      help: "CPU time of the process",
      type: "counter",
      read() {
        const { user, system } = process.cpuUsage();
        return (user + system) / 1e6;
      },
    },
    gauge(
      "process_resident_memory_bytes",
      "Resident memory of the process",
      () => Deno.memoryUsage().rss,
    ),
    gauge(
      "process_heap_bytes",
      "Bytes in use on the JavaScript heap",
      () => Deno.memoryUsage().heapUsed,
    ),
    gauge(
      "process_open_fds",
      "Open file descriptors; only where the process may read /proc",
      countDescriptors,
    ),
    gauge("process_start_time_seconds", "When the process started, Unix time", () => startedAt),
  ];
}

/** Gives the metrics of the disk that holds a store; of one in memory there are none. */
export function storageMetrics(path: string, journalBytes: () => number): ReadMetric[] {
  if (path === ":memory:") return [];
  return [
    {
      name: "geophone_store_bytes",
      help: "Size of the store's file and of its write-ahead log",
      type: "gauge",
      async read() {
        const size = await sizeOf(path);
        return size === null ? null : size + (await sizeOf(`${path}.wal`) ?? 0);
      },
    },
    {
      name: "geophone_journal_bytes",
      help: "Size of the inference log's journal",
      type: "gauge",
      read: journalBytes,
    },
    {
      name: "geophone_disk_free_bytes",
      help: "Bytes that the disk of the store has left for this user",
      type: "gauge",
      async read() {
        try {
          const { bavail, bsize } = await statfs(dirname(path));
          return bavail * bsize;
        } catch {
          return null;
        }
      },
    },
  ];
}

async function sizeOf(path: string): Promise<number | null> {
  try {
    return (await Deno.stat(path)).size;
  } catch {
    return null;
  }
}

/** Deno lets a process look at /proc with every permission alone. */
async function countDescriptors(): Promise<number | null> {
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

  /** Observes seconds into `lag` until it is disposed of. */
  constructor(lag: Histogram) {
    let expectedAt = performance.now() + LAG_TICK_MS;
    this.#timer = setInterval(() => {
      const now = performance.now();
      lag.observe(Math.max(0, now - expectedAt) / 1000);
      expectedAt = now + LAG_TICK_MS;
    }, LAG_TICK_MS);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
