/** `POST /batch_predict`: many records in a body, or a file of the server's batch directory. */
import { z } from "zod";
import { hasRole } from "../../runtime/api_keys.ts";
import { UsageError } from "../../runtime/errors.ts";
import type { InferenceLog } from "../../runtime/inference/inference_log.ts";
import { findFormat } from "../../runtime/predict/output.ts";
import type { Access } from "../access.ts";
import { jsonAnswer } from "../answers.ts";
import { findJobPaths } from "../batch/directory.ts";
import { type Job, Jobs } from "../batch/jobs.ts";
import { predictJob } from "../batch/predict_job.ts";
import { type AddRoute, Exchange, type Exchanges, type Reply } from "../exchange.ts";
import { HttpError } from "../http_error.ts";
import { parseJson } from "../json.ts";
import type { ModelCatalog } from "../model_catalog.ts";
import type { ServingParams } from "../params.ts";
import type { PredictionPath } from "../prediction.ts";
import { bodyOptions } from "../records.ts";
import { predictBody, readReference } from "./predict.ts";

/** Body of `POST /batch_predict` that names a file. */
export const BatchFileBody = z.strictObject({
  path: z.string().min(1).describe("File to predict, relative to the server's batch directory"),
  output: z.string().min(1).describe(
    "File to write, relative to the same; its ending says its format: .csv, .parquet, .json, .ndjson",
  ),
  overwrite: z.boolean().default(false).describe("Whether an output that is there is replaced"),
  group: z.string().min(1).max(1000).optional().describe(
    "Column whose values keep windows apart, such as a well",
  ),
  slice: bodyOptions.predict.shape.slice,
});

/** What the routes need. */
export interface BatchDeps {
  readonly params: ServingParams;
  readonly models: ModelCatalog;
  readonly path: PredictionPath;
  readonly exchanges: Exchanges;
  readonly access: Access;
  readonly log: InferenceLog;
}

/** Headers that say who asks, which the parts of a job keep. */
const KEPT_HEADERS = ["authorization", "x-api-key", "traceparent"];

const ROUTE = "/batch_predict";

/**
 * Adds the routes; gives the jobs, to be closed before the inference log. A body that names a file is
 * answered by 202 and the id of a job, which is the id of the request; `/batch_predict/jobs/{id}` says
 * how far it is, and DELETE cancels it.
 */
export function addBatchRoutes(add: AddRoute, deps: BatchDeps): Jobs {
  const { params, access } = deps;
  const jobs = new Jobs({ maxRunning: params.maxBatchJobs });
  const role = { role: "predictor" } as const;
  const inline = predictBody({
    path: deps.path,
    maxRows: params.maxBatchPredictRows,
    isBatch: true,
  });
  add("POST", ROUTE, async (exchange) => {
    const body = parseJson(await exchange.readText(params.maxBatchPredictBytes));
    const isFile = typeof body === "object" && body !== null && "path" in body;
    return isFile ? await startJob(deps, jobs, exchange, body) : await inline(exchange, body);
  }, role);
  add("GET", `${ROUTE}/jobs`, (exchange) =>
    jsonAnswer({
      request_id: exchange.requestId,
      jobs: jobs.list().filter((job) => isVisible(job, exchange, access)).map(writeJob),
    }), role);
  add("ALL", `${ROUTE}/jobs/:id`, (exchange) => {
    const { method, url } = exchange.request;
    const id = new URL(url).pathname.split("/").at(-1)!;
    const job = jobs.get(id);
    if (job === undefined || !isVisible(job, exchange, access)) {
      throw new HttpError(
        `Cannot find job "${
          id.slice(0, 200)
        }": this server knows none of that id; jobs end with the server`,
        "not_found",
      );
    }
    if (method === "DELETE") jobs.cancel(id, `cancelled by ${exchange.requester ?? "a client"}`);
    else if (method !== "GET" && method !== "HEAD") {
      throw new HttpError(
        `Cannot ${method} "${ROUTE}/jobs/{id}": use GET, HEAD or DELETE`,
        "method_not_allowed",
        { headers: { allow: "GET, HEAD, DELETE" } },
      );
    }
    return jsonAnswer({ request_id: exchange.requestId, ...writeJob(job) });
  }, role);
  return jobs;
}

async function startJob(
  { params, models, exchanges, path, log }: BatchDeps,
  jobs: Jobs,
  exchange: Exchange,
  given: unknown,
): Promise<Reply> {
  const body = readBody(given);
  const directory = params.batchDirectory;
  if (directory === undefined) {
    throw new HttpError(
      'Cannot take a path: this server has no batch directory; set "serving.batchDirectory", or send records',
      "invalid_input",
    );
  }
  const { requestId, requester, request } = exchange;
  const reference = readReference(request.url);
  const paths = await findJobPaths(directory, body);
  try {
    findFormat(body.output);
  } catch (error) {
    if (error instanceof UsageError) throw new HttpError(error.message, "invalid_input");
    throw error;
  }
  const whole = detach(exchange);
  const held = await models.acquire(reference);
  exchange.held = held;
  const { model, version } = held.model.version;
  try {
    const job = jobs.add({
      id: requestId,
      requester,
      output: paths.output,
      details: {
        path: body.path,
        output: body.output,
        model,
        version,
        rows: null,
        rows_read: 0,
        rows_written: 0,
      },
      run: async (signal, tell) =>
        await predictJob(
          { exchanges, path, log, isLogged: params.logBatch },
          {
            whole,
            held,
            group: body.group,
            slice: body.slice,
            overwrites: body.overwrite,
            // A job may have waited, and links may lead elsewhere by now.
          },
          await findJobPaths(directory, body),
          { signal, tell },
        ),
      release: () => held.model.release(),
    });
    return {
      ...jsonAnswer({ request_id: requestId, ...writeJob(job) }, 202),
      headers: { location: `${ROUTE}/jobs/${requestId}` },
    };
  } catch (error) {
    held.model.release();
    throw error;
  }
}

function readBody(body: unknown): z.infer<typeof BatchFileBody> {
  const parsed = BatchFileBody.safeParse(body);
  if (parsed.success) return parsed.data;
  const [{ path, message }] = parsed.error.issues;
  throw new HttpError(
    `Cannot read the body: ${path.length > 0 ? `"${path.join(".")}": ` : ""}${message}; ` +
      'give an object such as {"path": "in.csv", "output": "out.parquet"}',
    "invalid_input",
  );
}

/** The request as its parts need it when its client is gone: who asked, and under which id. */
function detach({ request, route, endpoint, role, requestId, requester }: Exchange): Exchange {
  const headers = new Headers();
  for (const name of KEPT_HEADERS) {
    const value = request.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  const own = new Request(request.url, { method: "POST", headers });
  const whole = new Exchange(own, route, endpoint, role);
  whole.requestId = requestId;
  whole.requester = requester;
  return whole;
}

/** A job is seen by who asked for it, and by operators. */
function isVisible({ requester }: Job, exchange: Exchange, access: Access): boolean {
  if (requester === exchange.requester) return true;
  const caller = access.identify(exchange.request.headers);
  return caller === null || hasRole(caller.role, "operator");
}

function writeJob({ id, state, queuedAt, startedAt, endedAt, error, details }: Job) {
  return {
    job: id,
    state,
    ...details,
    queued_at: queuedAt.toISOString(),
    started_at: startedAt?.toISOString() ?? null,
    ended_at: endedAt?.toISOString() ?? null,
    error,
  };
}
