/** Spans of time as people write them, such as `30s`, `5m` or `1h30m`. */

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** Longest span that is taken: ten years, so that a sum with a time is still a time. */
const LONGEST_MS = 3_660 * 86_400_000;

/**
 * Gives a span in milliseconds: whole numbers with a unit each, the largest unit first, or `0`.
 *
 * @throws {RangeError} when the text is no such span, or one of more than ten years.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseDuration } from "./durations.ts";
 *
 * assertEquals(parseDuration("1h30m"), 5_400_000);
 * assertEquals(parseDuration("0"), 0);
 * ```
 */
export function parseDuration(text: string): number {
  if (text === "0") return 0;
  const isForm = /^(\d{1,9}w)?(\d{1,9}d)?(\d{1,9}h)?(\d{1,9}m)?(\d{1,9}s)?(\d{1,9}ms)?$/.test(text);
  let ms = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)(ms|[smhdw])/g)) {
    ms += Number(count) * UNIT_MS[unit];
  }
  if (text !== "" && isForm && ms <= LONGEST_MS) return ms;
  throw new RangeError(
    `Cannot read duration "${text}": write numbers with ms, s, m, h, d or w, such as 30s, 5m or 1h30m`,
  );
}

/**
 * Gives a span of milliseconds in the form that {@linkcode parseDuration} reads.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { formatDuration } from "./durations.ts";
 *
 * assertEquals(formatDuration(5_400_000), "1h30m");
 * assertEquals(formatDuration(0), "0");
 * ```
 */
export function formatDuration(ms: number): string {
  let rest = Math.round(ms);
  let text = "";
  for (const unit of ["d", "h", "m", "s", "ms"]) {
    const count = Math.floor(rest / UNIT_MS[unit]);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * UNIT_MS[unit];
  }
  return text || "0";
}
