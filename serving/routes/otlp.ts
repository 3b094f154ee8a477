/** `POST /v1/traces`: spans of other programs over OTLP/HTTP, in protobuf or JSON. */
import { traceLog } from "../../judges/tracing.ts";
import { readJson } from "../../runtime/traces/otlp/json.ts";
import { type ReceivedSpans, receiveSpans } from "../../runtime/traces/otlp/message.ts";
import { readProtobuf } from "../../runtime/traces/otlp/protobuf.ts";
import { concat, writeBytes, writeInteger } from "../../runtime/traces/otlp/wire.ts";
import type { Store } from "../../runtime/store/store.ts";
import { readDecoded } from "../compression.ts";
import type { Exchange, Handler, Reply } from "../exchange.ts";
import { HttpError } from "../http_error.ts";

const PROTOBUF = "application/x-protobuf";
const JSON_TYPE = "application/json";

type MediaType = typeof PROTOBUF | typeof JSON_TYPE;

/** Codes of `google.rpc.Status`. */
const INVALID_ARGUMENT = 3;

/**
 * Gives the handler that keeps spans: those of one request in one transaction, each once, however often
 * it is sent. The answer has the form of the request.
 *
 * @see https://opentelemetry.io/docs/specs/otlp/#otlphttp
 */
export function otlp(
  { store, maxBodyBytes }: { readonly store: Store; readonly maxBodyBytes: number },
): Handler {
  return async (exchange) => {
    const given = exchange.request.headers.get("content-type") ?? "";
    const mediaType = given.split(";")[0].trim().toLowerCase();
    if (mediaType !== PROTOBUF && mediaType !== JSON_TYPE) {
      throw new HttpError(
        `Cannot read spans of type "${given.slice(0, 100)}": send ${PROTOBUF} or ${JSON_TYPE}`,
        "invalid_otlp",
      );
    }
    const bytes = await readDecoded(exchange, maxBodyBytes).catch((error) => {
      // A body that is not what its encoding says is as malformed as any other.
      if (!(error instanceof HttpError) || error.code !== "invalid_input") throw error;
      throw new HttpError(error.message, "invalid_otlp", { cause: error });
    });
    let received: ReceivedSpans;
    try {
      received = parse(bytes, mediaType);
    } catch (error) {
      return refuse(exchange, error, mediaType);
    }
    const log = traceLog(store);
    await log.write(received.spans);
    return accept(received, { isKept: log.isOn, mediaType });
  };
}

function parse(bytes: Uint8Array, mediaType: MediaType): ReceivedSpans {
  if (mediaType === PROTOBUF) return receiveSpans(readProtobuf(bytes));
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new SyntaxError("It is no UTF-8", { cause });
  }
  return receiveSpans(readJson(text));
}

function accept(
  { spans, rejected, reason }: ReceivedSpans,
  { isKept, mediaType }: { readonly isKept: boolean; readonly mediaType: MediaType },
): Reply {
  const left = isKept ? rejected : rejected + spans.length;
  const message = isKept ? reason : "nothing is kept: tracing.record is off";
  const headers = { "content-type": mediaType };
  if (mediaType === JSON_TYPE) {
    const partialSuccess = { rejectedSpans: String(left), errorMessage: message };
    return { status: 200, headers, body: JSON.stringify(left === 0 ? {} : { partialSuccess }) };
  }
  const partial = concat([writeInteger(1, left), writeBytes(2, message)]);
  return { status: 200, headers, body: left === 0 ? new Uint8Array() : writeBytes(1, partial) };
}

/** Answers with `google.rpc.Status`, as clients of OTLP expect it. */
function refuse(exchange: Exchange, error: unknown, mediaType: MediaType): Reply {
  // Values that lie too deep for the parser of JSON are a RangeError.
  if (!(error instanceof SyntaxError || error instanceof RangeError)) throw error;
  const state = error.message.slice(0, 200).replace(/[.\s]+$/, "");
  const { status, message } = exchange.refuse(
    new HttpError(
      `Cannot read the spans: ${state}; send an ExportTraceServiceRequest`,
      "invalid_otlp",
      { cause: error },
    ),
  );
  const body = mediaType === JSON_TYPE
    ? JSON.stringify({ code: INVALID_ARGUMENT, message })
    : concat([writeInteger(1, INVALID_ARGUMENT), writeBytes(2, message)]);
  return { status, headers: { "content-type": mediaType }, body };
}
