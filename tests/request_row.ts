/** A row of the request log, for tests that need one. */
import type { RequestRow } from "../runtime/inference/inference_log.ts";

/** Gives the row of an answered prediction; `others` are what is different about it. */
export function makeRequestRow(requestId: string, others: Partial<RequestRow> = {}): RequestRow {
  return {
    requestId,
    clientRequestId: null,
    traceId: null,
    requestTime: new Date("2026-01-02T03:04:05.678Z"),
    method: "POST",
    endpoint: "/predict",
    statusCode: 200,
    model: "rocks",
    version: 1,
    alias: null,
    requester: null,
    rowCount: 0,
    durationMs: 1.5,
    queueMs: null,
    modelMs: null,
    requestBytes: 10,
    responseBytes: 20,
    error: null,
    ...others,
  };
}
