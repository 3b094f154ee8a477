/**
 * Templates of messages: text with fields of an alert's event in double braces.
 *
 * | field                  | what it gives                                                          |
 * | ---------------------- | ---------------------------------------------------------------------- |
 * | `text`                 | the message as a sentence of its own: `resolved: …`, `… has no data`   |
 * | `message`              | the message alone                                                      |
 * | `kind`                 | `firing`, `resolved`, `error` or `no_data`                             |
 * | `alert`, `series`      | name of the alert, and of the series it is about                       |
 * | `severity`, `value`    | as the alert has them                                                  |
 * | `startsAt`, `endsAt`   | times, ISO 8601 in UTC                                                 |
 * | `runbook`              | URL of what to do                                                      |
 * | `labels`, `labels.NAME`| all labels as `name=value, …`, or one of them                          |
 *
 * What an event does not have is empty. A sink escapes what it puts in, never the template itself.
 *
 * @module
 */
import { z } from "zod";
import type { AlertEvent } from "../plugin.ts";

const fields: Readonly<Record<string, (event: AlertEvent) => string>> = {
  text: describeEvent,
  message: ({ message }) => message,
  kind: ({ kind }) => kind,
  alert: ({ alert }) => alert,
  series: ({ series }) => series ?? "",
  severity: ({ severity }) => severity,
  value: ({ value }) => value === null ? "" : String(value),
  startsAt: ({ startsAt }) => toIso(startsAt),
  endsAt: ({ endsAt }) => endsAt === undefined ? "" : toIso(endsAt),
  runbook: ({ runbook }) => runbook ?? "",
  labels: ({ labels }) =>
    Object.entries(labels).map(([name, value]) => `${name}=${value}`).join(", "),
};

const FIELD = /\{\{\s*(.*?)\s*\}\}/g;
const LABEL = "labels.";

/** Gives milliseconds since 1970 as ISO 8601 in UTC. */
export function toIso(ms: number): string {
  return new Date(ms).toISOString();
}

/** Gives an event as a sentence that stands alone. */
export function describeEvent({ kind, alert, message }: AlertEvent): string {
  const texts = {
    firing: message,
    resolved: `resolved: ${message}`,
    error: `alert ${alert} cannot be evaluated: ${message}`,
    no_data: `alert ${alert} has no data any more`,
  };
  return texts[kind];
}

/**
 * Checks that a template names known fields alone.
 * @throws {RangeError} when it does not; the message names the field and those there are.
 */
export function checkTemplate(template: string): void {
  for (const [, name] of template.matchAll(FIELD)) {
    if (Object.hasOwn(fields, name) || (name.startsWith(LABEL) && name.length > LABEL.length)) {
      continue;
    }
    throw new RangeError(
      `Cannot use template field "{{${name}}}": there are ${
        Object.keys(fields).join(", ")
      } and labels.NAME`,
    );
  }
}

/**
 * Gives a template with the fields of an event, each through `escape`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { fillTemplate } from "./template.ts";
 *
 * const event = {
 *   kind: "firing",
 *   alert: "error_rate",
 *   series: "a<b",
 *   severity: "critical",
 *   labels: { well: "P-130" },
 *   value: 0.05,
 *   message: "5 % failed",
 *   startsAt: 0,
 *   runbook: null,
 * } as const;
 * const escape = (text: string) => text.replaceAll("<", "&lt;");
 * assertEquals(
 *   fillTemplate("<b>{{ alert }}</b> {{series}} {{labels.well}} {{text}}", event, escape),
 *   "<b>error_rate</b> a&lt;b P-130 5 % failed",
 * );
 * ```
 */
export function fillTemplate(
  template: string,
  event: AlertEvent,
  escape: (text: string) => string = (text) => text,
): string {
  return template.replace(FIELD, (_, name: string) => {
    const text = name.startsWith(LABEL)
      ? event.labels[name.slice(LABEL.length)] ?? ""
      : fields[name](event);
    return escape(text);
  });
}

/** Parses a template of a config. */
export function templateParam(standard: string, about: string): z.ZodDefault<z.ZodString> {
  return z.string().min(1).max(10_000).superRefine((text, context) => {
    try {
      checkTemplate(text);
    } catch (error) {
      context.addIssue({ code: "custom", message: (error as Error).message });
    }
  }).default(standard).describe(about);
}
