/** `POST /predict/stream`: a prediction for every line of a body that may never end. */
import { writePredictions } from "../answers.ts";
import { type AddRoute, type Exchange, type Exchanges, gone, tooLarge } from "../exchange.ts";
import { parseJson } from "../json.ts";
import { type Line, mapInOrder, readLines } from "../lines.ts";
import type { ModelCatalog } from "../model_catalog.ts";
import type { ModelReference } from "../models.ts";
import type { PredictionPath } from "../prediction.ts";
import { readRecords } from "../records.ts";
import { readReference } from "./predict.ts";

/** What the stream route needs. */
export interface StreamDeps {
  readonly exchanges: Exchanges;
  readonly models: ModelCatalog;
  readonly path: PredictionPath;
  /** Largest line in bytes, and what all lines in hand may have together. */
  readonly maxBodyBytes: number;
  /** Most records of one line. */
  readonly maxRows: number;
}

/** Lines in hand of one stream: enough to fill model runs and commits, few enough to share both. */
const MAX_LINES = 256;

/**
 * Adds the route. A line is one record, or a body of `/predict` for a sequence of them; blank lines
 * count and have no answer. Each other line is answered by one line, in order, as `/predict` would
 * answer it: a line that is refused does not end the stream. A line is a request of its own in the
 * inference table, whose id is the stream's with `#` and the line's number from 1; the stream's own
 * row has no records, and is written when it ends. A client that does not read is not read from. A
 * server that ends answers the lines at hand and breaks the stream off.
 *
 * Deno 2.9.6 itself reads HTTP/1.1 ahead, without bound, while an answer is sent: what a client sends
 * faster than it is answered waits in the server's memory, though not among the lines in hand.
 *
 * @see https://github.com/denoland/deno/pull/36629 why it reads ahead
 */
export function addStreamRoute(add: AddRoute, deps: StreamDeps): void {
  add("POST", "/predict/stream", async (exchange) => {
    const { request } = exchange;
    const reference = readReference(request.url);
    // Without a model no line could be answered; each asks again, so that it follows the alias.
    const held = await deps.models.acquire(reference);
    held.model.release();
    exchange.held = held;
    const abort = new AbortController();
    return {
      status: 200,
      headers: { "content-type": "application/x-ndjson" },
      body: mapInOrder(
        numberLines(request.body, deps.maxBodyBytes, abort.signal),
        (line) => answerLine(deps, exchange, line, reference),
        {
          maxItems: MAX_LINES,
          maxWeight: deps.maxBodyBytes,
          weigh: ({ bytes }) => bytes,
          stop: () => abort.abort(),
        },
      ),
    };
  }, { role: "predictor" });
}

interface NumberedLine extends Line {
  readonly number: number;
}

async function* numberLines(
  body: ReadableStream<Uint8Array> | null,
  maxBytes: number,
  signal: AbortSignal,
): AsyncGenerator<NumberedLine> {
  if (body === null) return;
  let number = 0;
  try {
    for await (const line of readLines(body, maxBytes, signal)) {
      number++;
      if (line.text === null || line.text.trim() !== "") yield { ...line, number };
    }
  } catch (error) {
    gone(error);
  }
}

async function answerLine(
  { exchanges, path, maxBodyBytes, maxRows }: StreamDeps,
  stream: Exchange,
  line: NumberedLine,
  reference: ModelReference | undefined,
): Promise<string> {
  const { body } = await exchanges.part(stream, line.number, async (exchange) => {
    exchange.requestBytes = line.bytes;
    if (line.text === null) throw tooLarge(maxBodyBytes);
    const value = parseJson(line.text);
    return await path.predict(exchange, {
      reference,
      read: ({ layout }) => readRecords(toBody(value), layout, { maxRows }),
      write: ({ labels, probabilities }, held) => ({
        status: 200,
        body: writePredictions({
          requestId: exchange.requestId,
          held,
          labels,
          probabilities,
          hasProbabilities: true,
        }),
      }),
    });
  });
  return `${body}\n`;
}

/** A record's values are numbers, so an array or an object under these keys is a body. */
function toBody(line: unknown): unknown {
  const isBody = typeof line === "object" && line !== null &&
    ["records", "columns"].some((key) =>
      typeof (line as Record<string, unknown>)[key] === "object"
    );
  return isBody ? line : { records: [line] };
}
