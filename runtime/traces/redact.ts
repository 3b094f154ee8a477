/** What of a span is not kept: named fields, personal data, and what was said, as the config says. */
import type { TracingParams } from "./params.ts";
import type { AttributeValue, SpanAttributes, SpanRecord } from "./span.ts";

/** Gives a text without personal data. */
export type RedactText = (text: string) => string;

/** What stands for a value that was redacted. */
export const REDACTED = "[redacted]";

/**
 * Attributes in which instrumentations keep what was said to models and by them: the conventions of
 * OpenTelemetry, of today and of before, and those of OpenInference, OpenLLMetry and MLflow.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/
 */
const CONTENT =
  /^(gen_ai\.(input\.messages|output\.messages|system_instructions|prompt|completion|content|tool\.(call\.(arguments|result)|definitions)|evaluation\.explanation)|(input|output)\.value|llm\.(input|output)_messages|llm\.prompts|retrieval\.documents|traceloop\.entity\.(input|output)|mlflow\.span(Inputs|Outputs)|content)(\.|$)/;

/** Attributes that are names of machines, requests and rows: digits there are no telephone number. */
const TECHNICAL =
  /^(server|geophone|service|telemetry|process|host|network\.protocol|gen_ai\.(request|usage|provider|system|operation))(\.|$)/;

/** Makes what takes out of spans what is not to be kept. */
export function makeRedactor(
  { record, redact, detectors }: Pick<TracingParams, "record" | "redact" | "detectors">,
  redactText: RedactText,
): (span: SpanRecord) => SpanRecord {
  const named = new Set(redact);
  const clean = detectors ? redactText : (text: string) => text;

  function cleanValue(value: AttributeValue, isTechnical: boolean): AttributeValue {
    if (typeof value === "string") return isTechnical ? value : cleanText(value);
    if (Array.isArray(value)) return value.map((entry) => cleanValue(entry, isTechnical));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map((
        [key, entry],
      ) => [key, named.has(key) ? REDACTED : cleanValue(entry, isTechnical)]),
    );
  }

  /** Messages are JSON in a text: its fields have names, too. */
  function cleanText(text: string): string {
    if (named.size === 0 || !/^\s*[[{]/.test(text)) return clean(text);
    let value: AttributeValue;
    try {
      value = JSON.parse(text);
    } catch {
      return clean(text);
    }
    try {
      return JSON.stringify(cleanValue(value, false));
    } catch (error) {
      // It is nested deeper than anyone can look into.
      if (error instanceof RangeError) return REDACTED;
      throw error;
    }
  }

  function cleanAttributes(attributes: SpanAttributes): SpanAttributes {
    return Object.fromEntries(
      Object.entries(attributes)
        .filter(([key]) => record === "full" || !CONTENT.test(key))
        .map(([key, value]) => [
          key,
          named.has(key) ? REDACTED : cleanValue(value, TECHNICAL.test(key)),
        ]),
    );
  }

  return (span) => ({
    ...span,
    name: clean(span.name),
    statusMessage: span.statusMessage === null ? null : clean(span.statusMessage),
    attributes: cleanAttributes(span.attributes),
    resource: cleanAttributes(span.resource),
    events: span.events.map((event) => ({
      ...event,
      attributes: cleanAttributes(event.attributes),
    })),
    links: span.links.map((link) => ({ ...link, attributes: cleanAttributes(link.attributes) })),
  });
}
