/** Parameters of the server, as a user writes them under `serving:` in a config. */
import { z } from "zod";
import { logFormats } from "../runtime/logger.ts";
import { OnlineParams } from "../runtime/online/params.ts";
import { RecordingParams } from "./recording.ts";
import { CacheParams, TrafficParams } from "./traffic/params.ts";

/** Parses the parameters of the server; `ServingParams.parse({})` gives the defaults. */
export const ServingParams = z.strictObject({
  host: z.string().min(1).default("127.0.0.1").describe(
    "Address to listen on; other than loopback only when callers need a key",
  ),
  port: z.int().min(0).max(65_535).default(8000).describe("TCP port; 0 takes a free one"),
  maxBodyBytes: z.int().positive().default(8 * 2 ** 20).describe(
    "Largest request body in bytes, but for /batch_predict",
  ),
  maxRows: z.int().positive().default(10_000).describe("Most records of one /predict request"),
  maxBatchPredictBytes: z.int().positive().default(64 * 2 ** 20).describe(
    "Largest /batch_predict body in bytes",
  ),
  maxBatchPredictRows: z.int().positive().default(50_000).describe(
    "Most records of one /batch_predict request",
  ),
  batchDirectory: z.string().min(1).optional().describe(
    "Folder whose files /batch_predict reads and writes by path; left out: none",
  ),
  maxBatchJobs: z.int().positive().default(1).describe(
    "Files that /batch_predict predicts at once",
  ),
  logBatch: z.boolean().default(true).describe(
    "Whether each record of such a file is a row of the inference table",
  ),
  maxBatchRows: z.int().positive().default(256).describe(
    "Most records of one model run; requests that wait share a run",
  ),
  queueRows: z.int().positive().default(20_000).describe(
    "Records that may wait for the model before the server answers 503",
  ),
  logRows: z.int().positive().default(100_000).describe(
    "Rows, on disk or not, that may wait for the tables before the server answers 503; from half of them on, answers wait for the tables",
  ),
  durability: z.enum(["commit", "async"]).default("commit").describe(
    "commit: answer when the request is on disk; async: answer first, and lose the last moments when killed",
  ),
  requestTimeoutMs: z.int().positive().default(30_000).describe(
    "Milliseconds a request may take before it is answered 504",
  ),
  models: z.array(z.string().min(1)).default([]).describe(
    "Other registered models to answer for, beside the one of this use case",
  ),
  traffic: TrafficParams.prefault({}).describe(
    "How requests that name no version are divided; by default one version answers them all",
  ),
  log: z.enum(logFormats).default("text").describe(
    "Form of what the server writes to standard error: sentences, a line of JSON per event, or nothing",
  ),
  accessLog: z.boolean().default(false).describe("Whether every request is a line of it"),
  recording: RecordingParams.prefault({}).describe(
    "What is kept of requests beside their metadata",
  ),
  online: OnlineParams.prefault({}).describe(
    "Series that detectors of changes read row by row, as the inference table gets them",
  ),
  cache: CacheParams.optional().describe("Keeps predictions of equal input; left out: none"),
});

/** Parsed {@linkcode ServingParams}. */
export type ServingParams = z.infer<typeof ServingParams>;
