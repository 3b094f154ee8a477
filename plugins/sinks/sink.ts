/** What sinks share: parsed parameters and a limit of time. */
import { z } from "zod";
import { type AlertEvent, definePlugin, type Plugin } from "../plugin.ts";

/** Milliseconds that a receiver may take. */
const TIMEOUT_MS = 10_000;

/** What a sink sends events with. */
export interface SendContext<P> {
  readonly params: P;
  /** The same in every attempt at a delivery. */
  readonly id: string;
  /** Aborted when the time is over, too. */
  readonly signal: AbortSignal;
}

/** How a sink is made. */
export interface SinkDefinition<P> {
  readonly name: string;
  readonly summary: string;
  /** Has a default for everything. */
  readonly params: z.ZodType<P>;
  /** Milliseconds that one delivery may take; default 10,000. */
  readonly timeoutMs?: number | undefined;
  findObstacle?(params: P): Promise<string | null> | string | null;
  /** Sends one or more events. */
  send(events: readonly AlertEvent[], context: SendContext<P>): Promise<void>;
}

/** Makes a sink of a function that sends. Nothing is sent when there are no events. */
export function defineSink<P>(
  { name, summary, params, timeoutMs = TIMEOUT_MS, findObstacle, send }: SinkDefinition<P>,
): Plugin<"sink"> {
  return definePlugin({
    kind: "sink",
    name,
    summary,
    params,
    ...(findObstacle
      ? { findObstacle: async (given: unknown) => await findObstacle(params.parse(given)) }
      : {}),
    async deliver(events, signal, delivery) {
      if (events.length === 0) return;
      const timeout = new AbortController();
      const timer = setTimeout(
        () => timeout.abort(new DOMException("Signal timed out", "TimeoutError")),
        timeoutMs,
      );
      try {
        await send(events, {
          params: params.parse(delivery?.params ?? {}),
          id: delivery?.id ?? crypto.randomUUID(),
          signal: AbortSignal.any([signal, timeout.signal]),
        });
      } finally {
        clearTimeout(timer);
      }
    },
  });
}

/** Parameters of a sink that has none. */
export const NoParams = z.strictObject({});
