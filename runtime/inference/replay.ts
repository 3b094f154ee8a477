/**
 * Repeats a logged request on the bytes of the version that answered it.
 *
 * @module
 */
import { matrix } from "../../numeric/matrix.ts";
import { UsageError } from "../errors.ts";
import { loadModel, resolveVersion } from "../registry/model_registry.ts";
import { Predictor } from "../predict/predictor.ts";
import type { Store } from "../store/store.ts";

/** Outcome of a replay. */
export interface Replay {
  readonly requestId: string;
  readonly model: string;
  readonly version: number;
  readonly artifact: string;
  readonly rows: number;
  /** The first value that differs, or `null` when every label and probability is the same, bit for bit. */
  readonly difference: Difference | null;
}

/** A value that is not what was logged. */
export interface Difference {
  readonly row: number;
  /** `label`, or the class whose probability differs. */
  readonly what: string;
  readonly logged: string | number;
  readonly replayed: string | number;
}

interface LoggedRow extends Record<string, unknown> {
  readonly model: string;
  readonly version: number;
  readonly features: readonly (number | null)[];
  readonly order_value: number | null;
  readonly label: string;
  readonly probabilities: readonly number[];
}

/**
 * Predicts a logged request again and compares.
 *
 * @throws {UsageError} when no such request was logged, or it predicted nothing.
 * @throws {Error} when the model's bytes are gone or no longer match their hash.
 */
export async function replayRequest(store: Store, requestId: string): Promise<Replay> {
  const logged = await store.query<LoggedRow>(
    `select model, version, features, order_value, label, probabilities
     from core.inferences where request_id = ? order by row`,
    [requestId],
  );
  const [request] = await store.query<LoggedRequest>(
    "select endpoint, status_code, row_count, redacted from core.requests where request_id = ?",
    [requestId],
  );
  if (logged.length === 0) throw explainMissing(requestId, request);
  if (request?.redacted) {
    throw new UsageError(
      `Cannot replay "${requestId}": its values of ${
        JSON.parse(request.redacted).join(", ")
      } were not kept; see serving.recording.redact`,
    );
  }
  const version = await resolveVersion(store, logged[0].model, String(logged[0].version));
  const predictor = await Predictor.open(await loadModel(store, version));
  try {
    return {
      requestId,
      model: version.model,
      version: version.version,
      artifact: version.artifact,
      rows: logged.length,
      difference: await findDifference(predictor, logged),
    };
  } finally {
    await predictor.close();
  }
}

async function findDifference(
  predictor: Predictor,
  logged: readonly LoggedRow[],
): Promise<Difference | null> {
  const { inputs, classes } = predictor.signature;
  const values = logged.flatMap(({ features }) => features.map((value) => value ?? NaN));
  const order = logged.every((row) => row.order_value !== null)
    ? Float64Array.from(logged, (row) => row.order_value!)
    : undefined;
  const { labels, probabilities } = await predictor.predict({
    X: matrix(logged.length, inputs.length, Float32Array.from(values)),
    // A single record may come without a position; its windows then hold itself alone.
    order: order ?? new Float64Array(logged.length),
  });
  for (const [row, { label, probabilities: expected }] of logged.entries()) {
    for (const [c, name] of classes.entries()) {
      const replayed = probabilities.data[row * classes.length + c];
      if (!Object.is(replayed, expected[c])) {
        return { row, what: name, logged: expected[c], replayed };
      }
    }
    if (classes[labels[row]] !== label) {
      return { row, what: "label", logged: label, replayed: classes[labels[row]] };
    }
  }
  return null;
}

interface LoggedRequest extends Record<string, unknown> {
  readonly endpoint: string;
  readonly status_code: number;
  readonly row_count: number;
  readonly redacted: string | null;
}

function explainMissing(requestId: string, request: LoggedRequest | undefined): UsageError {
  if (!request) {
    return new UsageError(
      `Cannot find request "${requestId}": see deno task sql "select request_id from requests"`,
    );
  }
  return new UsageError(
    request.status_code === 200 && request.row_count > 0
      ? `Cannot replay "${requestId}": its ${request.row_count} records were not kept; see serving.recording.records`
      : `Cannot replay "${requestId}": it asked ${request.endpoint}, was answered ${request.status_code} and predicted nothing`,
  );
}
