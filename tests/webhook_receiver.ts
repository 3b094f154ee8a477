/** A receiver of webhooks on loopback, and what tests of webhooks share. */
import { assertEquals } from "@std/assert";

/** One key for all tests: they run in threads of one process, which has one environment. */
const TEST_KEY = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
Deno.env.set("GEOPHONE_SECRET_KEY", TEST_KEY);

/** One request that came. */
export interface Received {
  readonly headers: Headers;
  readonly text: string;
  // deno-lint-ignore no-explicit-any
  readonly body: any;
}

/** Listens until it is disposed of. */
export interface Receiver extends AsyncDisposable {
  readonly url: string;
  readonly received: Received[];
  /** Resolves when so many requests came. */
  reached(count: number): Promise<void>;
}

/** Answers requests on loopback; `answer` gets their number from 1 and says how, default with 200. */
export function startReceiver(
  answer: (number: number) => Response | Promise<Response> = () => new Response("thanks"),
): Receiver {
  const received: Received[] = [];
  const waiting: { readonly count: number; readonly resolve: () => void }[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const text = await request.text();
    received.push({ headers: request.headers, text, body: text === "" ? null : JSON.parse(text) });
    for (const { count, resolve } of waiting) if (received.length >= count) resolve();
    return await answer(received.length);
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}/hook?token=in-the-url`,
    received,
    reached(count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      if (received.length >= count) resolve();
      waiting.push({ count, resolve });
      return promise;
    },
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Checks both signatures of a request by Web Crypto, which the code under test does not use. */
export async function assertSigned({ headers, text }: Received, secret: string): Promise<void> {
  const encode = (value: string) => new TextEncoder().encode(value);
  const key = await crypto.subtle.importKey(
    "raw",
    encode(secret),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["verify"],
  );
  for (
    const [id, timestamp, signature] of [
      ["x-mlflow-delivery-id", "x-mlflow-timestamp", "x-mlflow-signature"],
      ["webhook-id", "webhook-timestamp", "webhook-signature"],
    ]
  ) {
    const [version, base64] = headers.get(signature)!.split(",");
    assertEquals(version, "v1");
    const signed = `${headers.get(id)}.${headers.get(timestamp)}.${text}`;
    const isRight = await crypto.subtle.verify(
      "HMAC",
      key,
      Uint8Array.fromBase64(base64),
      encode(signed),
    );
    assertEquals(isRight, true);
  }
}
