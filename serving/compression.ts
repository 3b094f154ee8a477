/** Compressed bodies, both ways: gzip, and deflate in its zlib framing. */
import { promisify } from "node:util";
import { deflate, gunzip, gzip, inflate } from "node:zlib";
import { type Exchange, type Reply, tooLarge } from "./exchange.ts";
import { HttpError } from "./http_error.ts";

/** Bodies smaller than this, in bytes, are not worth the time. */
const MIN_BYTES = 1024;

/** The fastest level of zlib: an answer is short-lived. */
const LEVEL = 1;

const decoders = { gzip: promisify(gunzip), deflate: promisify(inflate) };
const encoders = { gzip: promisify(gzip), deflate: promisify(deflate) };

type Encoding = keyof typeof decoders;

/**
 * Reads a body and undoes its `Content-Encoding`.
 * @throws {HttpError} 413 when it is larger than `maxBytes` as sent or as decompressed, of which no
 * more than that is ever made; 400 when it is not what its encoding says.
 */
export async function readDecoded(
  exchange: Exchange,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const header = exchange.request.headers.get("content-encoding");
  const body = await exchange.readBytes(maxBytes);
  const encoding = header?.trim().toLowerCase() ?? "";
  if (encoding === "" || encoding === "identity") return body;
  if (!isEncoding(encoding)) {
    throw new HttpError(
      `Cannot read the body: Content-Encoding "${header}" is not known; use gzip or deflate`,
      "invalid_input",
    );
  }
  try {
    const text = await decoders[encoding](body, { maxOutputLength: maxBytes });
    return text as Uint8Array<ArrayBuffer>;
  } catch (cause) {
    if ((cause as { code?: unknown }).code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(maxBytes);
    throw new HttpError(`Cannot read the body: it is not ${encoding}`, "invalid_input", { cause });
  }
}

/** Compresses an answer the way its client accepts, if it does and it is worth it. */
export async function encodeReply<R extends Reply & { body: string | Uint8Array<ArrayBuffer> }>(
  reply: R,
  request: Request,
): Promise<Reply> {
  const encoding = acceptedEncoding(request.headers.get("accept-encoding"));
  if (encoding === null || reply.body.length < MIN_BYTES) return reply;
  const body = await encoders[encoding](reply.body, { level: LEVEL }) as Uint8Array<ArrayBuffer>;
  const headers = { ...reply.headers, "content-encoding": encoding, vary: "accept-encoding" };
  return { ...reply, body, headers };
}

/**
 * Gives the encoding to answer in, `null` for none: gzip before deflate unless the client ranks them.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { acceptedEncoding } from "./compression.ts";
 *
 * assertEquals(acceptedEncoding("br, gzip;q=0.5, deflate"), "deflate");
 * assertEquals(acceptedEncoding("gzip;q=0"), null);
 * ```
 */
export function acceptedEncoding(header: string | null): Encoding | null {
  if (header === null) return null;
  let best: Encoding | null = null;
  let bestQuality = 0;
  for (const part of header.split(",")) {
    const [name, ...parameters] = part.split(";").map((text) => text.trim().toLowerCase());
    const given = parameters.find((text) => text.startsWith("q="));
    const quality = given === undefined ? 1 : Number(given.slice(2));
    if (!isEncoding(name) || !(quality > 0)) continue;
    if (quality < bestQuality || (quality === bestQuality && best === "gzip")) continue;
    best = name;
    bestQuality = quality;
  }
  return best;
}

function isEncoding(name: string): name is Encoding {
  return Object.hasOwn(decoders, name);
}
