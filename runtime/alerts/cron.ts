/** When a schedule says that an alert is to be evaluated. */
import { Cron } from "croner";
import type { Alert } from "../../plugins/plugin.ts";

/** Schedule of an alert that has none. */
export const DEFAULT_SCHEDULE = { cron: "*/15 * * * *", timezone: "UTC" } as const;

/**
 * Gives the first tick after `after`, in milliseconds since 1970, or `null` when there is none.
 *
 * Where clocks go forward, a time of day that is skipped comes right after the gap; where they go back,
 * a time of day that comes twice is a tick the first time alone, while `*` and steps of an hour go on
 * through both hours.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { nextTick } from "./cron.ts";
 *
 * const schedule = { cron: "0 7 * * *", timezone: "Europe/Berlin" };
 * assertEquals(nextTick(schedule, Date.UTC(2026, 6, 1)), Date.UTC(2026, 6, 1, 5));
 * ```
 */
export function nextTick(
  schedule: Alert["schedule"] = DEFAULT_SCHEDULE,
  after: number,
): number | null {
  const { cron, timezone = DEFAULT_SCHEDULE.timezone } = schedule;
  return new Cron(cron, { timezone, paused: true }).nextRun(new Date(after))?.getTime() ?? null;
}
