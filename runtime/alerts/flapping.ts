/**
 * Whether an alert changes its state too often, as Nagios tells it.
 *
 * @see https://assets.nagios.com/downloads/nagioscore/docs/nagioscore/4/en/flapping.html
 *
 * @module
 */

/** Evaluations that are looked at: twenty possible changes. */
export const FLAP_WINDOW = 21;

/** Share of changes at which flapping begins, and below which it ends. */
export const FLAP_SHARES = { begins: 0.2, ends: 0.05 } as const;

/** Weight of the oldest and of the newest possible change; the mean is 1. */
const WEIGHTS = { oldest: 0.75, newest: 1.25 } as const;

/**
 * Gives the weighted share, in [0, 1], of changes in the last states, one character each, the newest
 * last. A new change weighs more than an old one; what was before the first state was as it.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { computeFlapShare } from "./flapping.ts";
 *
 * assertEquals(computeFlapShare("ofofofofofofofofofofo"), 1);
 * assertEquals(computeFlapShare("ooo"), 0);
 * ```
 */
export function computeFlapShare(history: string): number {
  const changes = FLAP_WINDOW - 1;
  const recent = history.slice(-FLAP_WINDOW);
  let sum = 0;
  for (let i = 1; i < recent.length; i++) {
    if (recent[i] === recent[i - 1]) continue;
    // Changes are counted from the newest, however short the history is.
    const position = changes - (recent.length - 1 - i) - 1;
    sum += WEIGHTS.oldest + position * (WEIGHTS.newest - WEIGHTS.oldest) / (changes - 1);
  }
  return sum / changes;
}

/** Whether it flaps now, given whether it did: between the two shares it stays as it was. */
export function isFlappingNow(history: string, wasFlapping: boolean): boolean {
  const share = computeFlapShare(history);
  return wasFlapping ? share >= FLAP_SHARES.ends : share >= FLAP_SHARES.begins;
}
