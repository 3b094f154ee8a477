/**
 * Matchers of labels, in the spelling of Alertmanager: `severity="critical"`, `subject!~"P-13.*"`.
 *
 * @see https://prometheus.io/docs/alerting/latest/configuration/#matcher
 *
 * @module
 */
import { RE2JS } from "re2js";
import { UsageError } from "../errors.ts";
import type { Labels } from "./state.ts";

/** One condition on one label; a label that is not there is as an empty one. */
export interface Matcher {
  readonly name: string;
  readonly operator: "=" | "!=" | "=~" | "!~";
  readonly value: string;
}

/**
 * Reads a matcher; quotes may be left out where the value has no space.
 * @throws {UsageError} when it is none, or its regular expression is wrong.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { matches, parseMatcher } from "./matchers.ts";
 *
 * const matcher = parseMatcher('subject=~"P-13.*"');
 * assertEquals(matches([matcher], { subject: "P-135" }), true);
 * assertEquals(matches([matcher], { subject: "well P-135" }), false);
 * ```
 */
export function parseMatcher(text: string): Matcher {
  const [, name, operator, quoted, bare] =
    /^\s*([A-Za-z_]\w*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"=~][^\s"]*|))\s*$/.exec(
      text,
    ) ?? [];
  if (name === undefined) {
    throw new UsageError(
      `Cannot read matcher "${text}": write it as severity="warning", with =, !=, =~ or !~`,
    );
  }
  const value = quoted === undefined ? bare : quoted.replace(/\\(["\\])/g, "$1");
  const matcher = { name, operator: operator as Matcher["operator"], value };
  try {
    if (operator.endsWith("~")) compile(value);
  } catch (error) {
    throw new UsageError(
      `Cannot read matcher "${text}": its regular expression is wrong: ${
        (error as Error).message.split(": ").at(-1)
      }`,
      { cause: error },
    );
  }
  return matcher;
}

/** Gives a matcher as {@linkcode parseMatcher} reads it. */
export function formatMatcher({ name, operator, value }: Matcher): string {
  return `${name}${operator}"${value.replace(/["\\]/g, "\\$&")}"`;
}

/** Whether every matcher holds; none at all hold for nothing. */
export function matches(matchers: readonly Matcher[], labels: Labels): boolean {
  return matchers.length > 0 && matchers.every(({ name, operator, value }) => {
    const label = labels[name] ?? "";
    switch (operator) {
      case "=":
        return label === value;
      case "!=":
        return label !== value;
      case "=~":
        return compile(value).testExact(label);
      case "!~":
        return !compile(value).testExact(label);
    }
  });
}

/** As in Prometheus, RE2: in time proportional to the label, whatever the expression. */
function compile(source: string): RE2JS {
  return RE2JS.compile(source, RE2JS.DOTALL);
}
