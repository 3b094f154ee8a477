/** Parameters of the server, as a user writes them under `serving:` in a config. */
import { z } from "zod";

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
  maxBatchRows: z.int().positive().default(256).describe(
    "Most records of one model run; requests that wait share a run",
  ),
  queueRows: z.int().positive().default(20_000).describe(
    "Records that may wait for the model, and rows that may wait for the inference log, before the server answers 503",
  ),
  durability: z.enum(["commit", "async"]).default("commit").describe(
    "commit: answer when the request is on disk; async: answer first, and lose the last moments when killed",
  ),
  requestTimeoutMs: z.int().positive().default(30_000).describe(
    "Milliseconds a request may take before it is answered 504",
  ),
});

/** Parsed {@linkcode ServingParams}. */
export type ServingParams = z.infer<typeof ServingParams>;
