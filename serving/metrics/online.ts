/** What detectors in the request path found, by model, version, series and detector. */
import type { OnlineReading } from "../../runtime/online/online_watch.ts";
import type { ReadMetric } from "./registry.ts";

/** Gives the metrics of detectors; of a server that feeds none they have no lines. */
export function onlineMetrics(read: () => readonly OnlineReading[]): ReadMetric[] {
  const counter = (name: string, help: string, count: "alarms" | "missing"): ReadMetric => ({
    name,
    help,
    type: "counter",
    read: () => read().map(({ labels, ...counts }) => ({ labels, value: counts[count] })),
  });
  return [
    counter(
      "geophone_online_alarms_total",
      "Changes that detectors in the request path found, restarts included",
      "alarms",
    ),
    counter(
      "geophone_online_missing_values_total",
      "Values that such a detector skipped because they were missing",
      "missing",
    ),
  ];
}
