/** What an alert looks at, as its query says: the outcome whose change is to be explained. */
import { parseDuration } from "../../numeric/durations.ts";
import type { Plugin } from "../../plugins/plugin.ts";
import { UsageError } from "../errors.ts";
import type { Store } from "../store/store.ts";

/** The outcome that an alert is about. */
export type Symptom =
  /** Requests that failed or were refused. */
  | "errors"
  /** How long requests took. */
  | "latency"
  /** How many requests came. */
  | "volume"
  /** What waits in the server, and what it takes of its machine. */
  | "resources"
  /** What was sent to the model. */
  | "inputs"
  /** How often the model was wrong, by its labels. */
  | "truth"
  /** What the model answered. */
  | "predictions";

/** Views whose rows stand for an outcome, the first one that a query reads decides. */
const outcomes: readonly (readonly [view: RegExp, symptom: Symptom])[] = [
  [/^(inference_features|input_ranges|drift|drift_metrics|profile)$/, "inputs"],
  [/^(labels|label_history)$/, "truth"],
  [/^(inferences|judgements|estimates|estimate_causes|shadow)$/, "predictions"],
];

const DAY_MS = 86_400_000;

/** What there is to explain. */
export interface Subject {
  readonly symptom: Symptom;
  /** How far the alert looks back. */
  readonly windowMs: number;
}

/**
 * Reads from an alert's query what it is about and how far it looks back: the shortest interval in it, a
 * day when there is none.
 *
 * @throws {UsageError} when it reads no view of requests, predictions or resources.
 */
export async function readSubject(store: Store, alert: Plugin<"alert">): Promise<Subject> {
  const [{ tree }] = await store.query<{ tree: string }>(
    "select json_serialize_sql(?::varchar)::varchar as tree",
    [alert.sql],
  );
  const names = (pattern: RegExp) => [...tree.matchAll(pattern)].map(([, name]) => name);
  const views = names(/"table_name":"([^"]+)"/g).map((name) => name.toLowerCase());
  const columns = names(/"column_names":\[(?:"[^"]+",)?"([^"]+)"\]/g);
  const symptom = outcomes.find(([view]) => views.some((name) => view.test(name)))?.[1] ??
    (views.includes("requests") ? readRequestSymptom(columns) : undefined) ??
    (views.includes("resources") ? "resources" : undefined);
  if (symptom === undefined) {
    throw new UsageError(
      `Cannot say why "${alert.name}" fires: its query reads ${
        [...new Set(views)].join(", ") || "nothing"
      }, and no requests, predictions or resources; see deno task alerts explain ${alert.name}`,
    );
  }
  const spans = [...alert.sql.matchAll(/interval\s+'?(\d+)\s*'?\s*(minute|hour|day|week)/gi)]
    .map(([, count, unit]) => parseDuration(`${count}${unit[0].toLowerCase()}`));
  return { symptom, windowMs: spans.length === 0 ? DAY_MS : Math.min(...spans) };
}

function readRequestSymptom(columns: readonly string[]): Symptom {
  if (columns.some((name) => /^(duration|queue|model)_ms$/.test(name))) return "latency";
  return columns.includes("status_code") ? "errors" : "volume";
}
