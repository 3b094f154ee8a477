/**
 * A call as texts that judges know by name.
 *
 * | text      | is                                                                                  |
 * | --------- | ----------------------------------------------------------------------------------- |
 * | `input`   | the last message of the user; a prompt that is no list of messages, as a whole      |
 * | `output`  | the reply                                                                           |
 * | `context` | documents of retrievals before it in its trace, results of tools, and system texts  |
 *
 * A text that redaction took away as a whole is none. Nobody says what was to be expected.
 *
 * @module
 */
import type { Store } from "../../runtime/store/store.ts";
import { readPromptMessages } from "../../runtime/traces/calls.ts";
import { REDACTED } from "../../runtime/traces/redact.ts";

/** A call as {@linkcode callColumns} give it. */
export interface CallRow extends Record<string, unknown> {
  readonly trace_id: string;
  readonly span_id: string;
  /** Microseconds of Unix time. */
  readonly started_us: number;
  readonly model: string | null;
  readonly prompt: string | null;
  readonly reply: string | null;
}

/** Columns of a call, called `i`, that its texts come from. */
export const callColumns = "i.trace_id, i.span_id, epoch_us(i.started_at) as started_us, " +
  "coalesce(i.model, i.response_model) as model, i.prompt, i.reply";

/** The texts of each call. */
export async function readCallTexts(
  store: Store,
  calls: readonly CallRow[],
): Promise<Record<string, string>[]> {
  const retrieved = await readRetrieved(store, calls);
  return calls.map((call) => {
    const messages = readPromptMessages(call.prompt);
    const say = (...roles: string[]) =>
      messages.filter(({ role }) => roles.includes(role)).map(({ content }) => content);
    const documents = (retrieved.get(call.trace_id) ?? [])
      .filter(({ endedUs }) => endedUs <= call.started_us)
      .flatMap(({ documents }) => documents);
    const given = {
      input: say("user", "prompt").at(-1),
      context: [...documents, ...say("tool"), ...say("system", "developer")]
        .filter((text) => text !== REDACTED).join("\n\n"),
      output: call.reply,
    };
    return Object.fromEntries(
      Object.entries(given).filter((entry): entry is [string, string] =>
        typeof entry[1] === "string" && entry[1].trim() !== "" && entry[1] !== REDACTED
      ),
    );
  });
}

interface Retrieval {
  readonly endedUs: number;
  readonly documents: readonly string[];
}

/** Retrievals of the calls' traces, by trace, in the order in which they ended. */
async function readRetrieved(
  store: Store,
  calls: readonly CallRow[],
): Promise<Map<string, Retrieval[]>> {
  if (calls.length === 0) return new Map();
  const rows = await store.query<{ trace_id: string; ended_us: number; attributes: string }>(
    `select trace_id, epoch_us(ended_at) as ended_us, attributes from core.spans
     where trace_id in (select unnest(from_json(?::json, '["VARCHAR"]')))
       and contains(attributes::varchar, 'retrieval.documents')
     order by ended_at, sequence`,
    [JSON.stringify([...new Set(calls.map(({ trace_id }) => trace_id))])],
  );
  const retrievals = rows.map(({ trace_id, ended_us, attributes }) => ({
    traceId: trace_id,
    endedUs: ended_us,
    documents: readDocuments(JSON.parse(attributes)),
  }));
  return Map.groupBy(retrievals, ({ traceId }) => traceId);
}

/** How OpenInference names the text of a document. */
const FLAT_DOCUMENT = /^retrieval\.documents\.\d+\.document\.content$/;

/**
 * Texts of the documents that a span has by OpenTelemetry's conventions, or by OpenInference's.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/
 * @see https://arize-ai.github.io/openinference/spec/semantic_conventions.html
 */
function readDocuments(attributes: Readonly<Record<string, unknown>>): string[] {
  const flat = Object.entries(attributes).filter(([name]) => FLAT_DOCUMENT.test(name))
    .map(([, value]) => value);
  const structured = toList(attributes["gen_ai.retrieval.documents"])
    .map((document) => (document as { content?: unknown } | null)?.content);
  return [...structured, ...flat].filter((text) => typeof text === "string");
}

/** A list as it is, or as JSON in a text; anything else is none. */
function toList(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  if (typeof value !== "string") return [];
  try {
    const parsed: unknown = JSON.parse(value);
    return Array.isArray(parsed) ? parsed : [];
  } catch {
    return [];
  }
}
