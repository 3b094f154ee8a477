/**
 * Quartz cron expressions, which the SQL alerts of a lakehouse carry.
 *
 * @see https://www.quartz-scheduler.org/documentation/quartz-2.3.0/tutorials/crontrigger.html
 *
 * @module
 */

/** Greatest value of the fields second, minute, hour, day of month and month. */
const GREATEST = [59, 59, 23, 31, 12] as const;

/**
 * Gives a Quartz expression in the form that schedules have here: days of the week begin at 0 for
 * Sunday instead of 1, `?` is `*`, and `5/15` is `5-59/15`.
 *
 * @throws {SyntaxError} when it has not six or seven fields.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { convertQuartz } from "./quartz.ts";
 *
 * assertEquals(convertQuartz("0 0/15 8 ? * 2-6"), "0 0-59/15 8 * * 1-5");
 * ```
 */
export function convertQuartz(expression: string): string {
  const fields = expression.trim().split(/\s+/);
  if (fields.length !== 6 && fields.length !== 7) {
    throw new SyntaxError(
      `Cannot read Quartz schedule "${expression}": it has ${fields.length} fields instead of six or seven`,
    );
  }
  return fields.map((field, i) => {
    if (field === "?") return "*";
    const parts = field.split(",");
    if (i === 5) return parts.map(convertWeekday).join(",");
    const greatest = GREATEST[i];
    return greatest === undefined
      ? field
      : parts.map((part) => part.replace(/^(\d+)\//, `$1-${greatest}/`)).join(",");
  }).join(" ");
}

/** `6` is Friday, `6L` the last one, `6#3` the third one, `2/2` every second day from Monday. */
function convertWeekday(part: string): string {
  const [days, step] = part.replace(/^(\d)\//, "$1-7/").split("/");
  const [day, nth] = days.split("#");
  const shifted = day === "L" ? "6" : day.replace(/\d/g, (digit) => String(Number(digit) - 1));
  return shifted.replace(/^(\w+)L$/, "$1#L") + (nth ? `#${nth}` : "") + (step ? `/${step}` : "");
}
