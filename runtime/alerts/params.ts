/** Section `alerting` of a config: who hears of alerts when. */
import { z } from "zod";
import { parseDuration } from "../../numeric/durations.ts";
import { parseMatcher } from "./matchers.ts";

/** Reads a text with `read`, whose message is the issue's. */
function parsed<T>(read: (text: string) => T) {
  return (text: string, context: z.RefinementCtx): T => {
    try {
      return read(text);
    } catch (error) {
      context.addIssue({ code: "custom", message: (error as Error).message });
      return z.NEVER;
    }
  };
}

const duration = (byDefault: string, about: string) =>
  z.string().transform(parsed(parseDuration)).prefault(byDefault).describe(about);

const matchers = z.array(z.string().transform(parsed(parseMatcher))).min(1);

/** Parameters of alerting; the times are Alertmanager's defaults, in milliseconds once parsed. */
export const AlertingParams = z.strictObject({
  groupBy: z.array(z.string()).default([])
    .describe("labels whose alerts are told together; none: all together"),
  groupWait: duration("30s", "from a group's first alert until it is told"),
  groupInterval: duration("5m", "from one telling of a group until the next, when it changed"),
  repeatInterval: duration("4h", "until what still fires is told again"),
  inhibit: z.array(z.strictObject({
    source: matchers.describe("alerts that keep others quiet while they fire"),
    target: matchers.describe("the alerts that are kept quiet"),
    equal: z.array(z.string()).default([]).describe("labels that both must have alike"),
  })).default([]).describe("rules such as: a critical alert keeps warnings of its subject quiet"),
});

/** See {@linkcode AlertingParams}. */
export type AlertingParams = z.infer<typeof AlertingParams>;
