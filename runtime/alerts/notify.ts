/**
 * The one door through which alerts leave: {@linkcode notify} hands events to sinks.
 *
 * @module
 */
import type { AlertEvent, Plugin } from "../../plugins/plugin.ts";
import { describeError } from "../errors.ts";

/** What became of handing events to sinks. */
export interface Delivery {
  /** Sinks that took the events, and those that did not, with the reason. */
  readonly delivered: readonly string[];
  readonly failures: ReadonlyMap<string, string>;
}

/**
 * Hands events to every sink, together; a sink that fails does not hold up another, and its failure is
 * given back by name. Without events no sink is called.
 */
export async function notify(
  events: readonly AlertEvent[],
  { sinks, signal }: { readonly sinks: readonly Plugin<"sink">[]; readonly signal: AbortSignal },
): Promise<Delivery> {
  const failures = new Map<string, string>();
  if (events.length === 0) return { delivered: [], failures };
  await Promise.all(sinks.map(async (sink) => {
    try {
      await sink.deliver(events, signal);
    } catch (error) {
      failures.set(sink.name, describeError(error));
    }
  }));
  const delivered = sinks.map(({ name }) => name).filter((name) => !failures.has(name));
  return { delivered, failures };
}
