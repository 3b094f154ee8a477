/**
 * The work of a batch job: a file, chunk by chunk, through the path that all predictions take. Each
 * chunk is a part of the job's request, with a row and inferences of its own.
 *
 * @module
 */
import { matrix } from "../../numeric/matrix.ts";
import { describeError, UsageError } from "../../runtime/errors.ts";
import type { InferenceLog } from "../../runtime/inference/inference_log.ts";
import type { Prediction } from "../../runtime/onnx_session.ts";
import {
  type FileChunk,
  predictFile,
  type PredictFileSummary,
} from "../../runtime/predict/file.ts";
import type { Answer } from "../answers.ts";
import type { Exchange, Exchanges } from "../exchange.ts";
import type { Held } from "../models.ts";
import type { PredictionPath } from "../prediction.ts";
import type { Records } from "../records.ts";
import type { JobPaths } from "./directory.ts";
import type { JobDetails } from "./jobs.ts";

/** What jobs need of the server. */
export interface PredictJobDeps {
  readonly exchanges: Exchanges;
  readonly path: PredictionPath;
  readonly log: InferenceLog;
  /** Whether each record is a row of the inference table. */
  readonly isLogged: boolean;
}

/** One file to predict. */
export interface PredictJob {
  /** The request that asked for it: its chunks are parts of it. */
  readonly whole: Exchange;
  /** The version that answers all of the file. */
  readonly held: Held;
  readonly group?: string | undefined;
  readonly slice?: string | undefined;
  readonly overwrites: boolean;
}

/** Rows of a part: one commit of the inference log, and short enough for others to come in between. */
const CHUNK_ROWS = 2048;

/** How often a full log is looked at again. */
const ROOM_MS = 20;

/** Refusals of one chunk to come back from, one after the other; some say how many seconds to wait. */
const MAX_RETRIES = 1000;

/** Predicts the file; resolves when the output is in its place. */
export async function predictJob(
  deps: PredictJobDeps,
  job: PredictJob,
  { root, input, output }: JobPaths,
  { signal, tell }: { readonly signal: AbortSignal; readonly tell: (details: JobDetails) => void },
): Promise<void> {
  const [{ Plugins }, { csv, json, parquet }, { las }] = await Promise.all([
    import("../../plugins/plugin.ts"),
    import("../../plugins/sources/table.ts"),
    import("../../plugins/sources/las.ts"),
  ]);
  let parts = 0;
  const answer = async (chunk: FileChunk): Promise<Prediction> => {
    for (let tries = 0;; tries++) {
      const rows = chunk.ordinals.length;
      while (!deps.log.hasRoom(rows + 1)) await pause(ROOM_MS, signal);
      const { refused, prediction } = await answerPart(deps, job, {
        chunk,
        number: ++parts,
        signal,
      });
      if (prediction) return prediction;
      signal.throwIfAborted();
      const seconds = Number(refused.headers?.["retry-after"] ?? NaN);
      if (Number.isNaN(seconds) || tries === MAX_RETRIES) throw new Error(readMessage(refused));
      await pause(1000 * seconds, signal);
    }
  };
  let summary: PredictFileSummary;
  try {
    summary = await predictFile({ signature: job.held.model.signature, answer }, input, output, {
      plugins: new Plugins([csv, parquet, json, las]),
      signal,
      baseDir: root,
      chunkRows: CHUNK_ROWS,
      overwrites: job.overwrites,
      ...(job.group === undefined ? {} : { group: job.group }),
      onProgress: ({ rows, predicted }) => tell({ rows, rows_read: predicted }),
    });
  } catch (error) {
    // Clients know the files by their place in the directory.
    const message = describeError(error).replaceAll(`${root}/`, "");
    throw error instanceof UsageError
      ? new UsageError(message, { cause: error })
      : new Error(message, { cause: error });
  }
  const { rows, missing, counts, findings } = summary;
  tell({
    rows_written: rows,
    counts,
    missing,
    findings: findings.map(({ severity, message }) => ({ severity, message })),
  });
}

interface Part {
  readonly chunk: FileChunk;
  readonly number: number;
  readonly signal: AbortSignal;
}

type PartAnswer =
  | { readonly prediction: Prediction; readonly refused?: never }
  | { readonly prediction?: never; readonly refused: Answer };

async function answerPart(
  { exchanges, path, isLogged }: PredictJobDeps,
  { whole, held, slice }: PredictJob,
  { chunk, number, signal }: Part,
): Promise<PartAnswer> {
  const { model, version } = held.model.version;
  let prediction: Prediction | undefined;
  const answer = await exchanges.part(whole, number, async (exchange) => {
    const given = await path.predict(exchange, {
      reference: { model, version },
      urgency: { signal, priority: "low" },
      read: () => toRecords(chunk, slice),
      write: (prediction) => prediction,
    });
    // The chunk was asked for by number, the job perhaps by alias.
    exchange.held = held;
    if (!isLogged) exchange.inferences = null;
    prediction = given;
    return { status: 200, body: "" };
  });
  return answer.status === 200 && prediction ? { prediction } : { refused: answer };
}

function toRecords({ values, order, features }: FileChunk, slice: string | undefined): Records {
  const inputs = values.length / features.rows;
  const X = matrix(features.rows, inputs, Float32Array.from(values));
  return {
    rows: { X, ...(order ? { order } : {}), features },
    rowCount: features.rows,
    values,
    ...(order ? { order } : {}),
    ...(slice === undefined ? {} : { slice }),
    hasProbabilities: true,
  };
}

function readMessage({ body }: Answer): string {
  return (JSON.parse(body) as { error: { message: string } }).error.message;
}

/** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", end);
      resolve();
    }, ms);
    if (signal.aborted) return end();
    signal.addEventListener("abort", end, { once: true });
  });
}
