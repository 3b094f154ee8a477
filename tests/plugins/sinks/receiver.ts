/** A real loopback HTTP server at the far end of a sink. */
import type { Receiver } from "../../contract.ts";

/** One delivery as it arrived. */
export interface Delivery {
  readonly method: string;
  readonly contentType: string | null;
  readonly body: string;
}

/** A receiver with its address and what came. */
export interface HttpReceiver extends Receiver {
  readonly url: string;
  readonly deliveries: readonly Delivery[];
}

/** Opens a receiver; `answer` decides its replies, 200 unless it was told to fail. */
export function openReceiver(
  answer?: (request: Request) => Response | Promise<Response>,
): HttpReceiver {
  const deliveries: Delivery[] = [];
  let isBroken = false;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const body = await request.text();
    if (isBroken) return new Response("no", { status: 500 });
    deliveries.push({
      method: request.method,
      contentType: request.headers.get("content-type"),
      body,
    });
    return await answer?.(request) ?? new Response("ok");
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}/hook?secret=s3cret`,
    deliveries,
    text: () => deliveries.map(({ body }) => body).join(""),
    fail: () => isBroken = true,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
