/** What the process and its disk have left. What the system does not tell has no line: never a 0. */
import {
  countOpenFiles,
  readCpuSeconds,
  readDisk,
  readStoreBytes,
} from "../../runtime/resources.ts";
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
      read: readCpuSeconds,
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
      countOpenFiles,
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
      read: () => readStoreBytes(path),
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
      read: async () => (await readDisk(path))?.freeBytes ?? null,
    },
  ];
}
