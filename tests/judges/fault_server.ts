/** A server that speaks either dialect and answers what a test says: the fault itself. */

/** A dialect, as the connection tells them apart. */
export type Dialect = "ollama" | "openai";

export const MODEL = "tiny:0.1b";

/** A running server. */
export interface FaultServer extends AsyncDisposable {
  readonly host: string;
  /** Bodies of the questions so far. */
  readonly asked: Record<string, unknown>[];
}

/** Serves the list of models, and `answer` to each question. */
export function serveFault(
  dialect: Dialect,
  answer: (body: Record<string, unknown>, count: number) => Response | Promise<Response>,
): FaultServer {
  const asked: Record<string, unknown>[] = [];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      if (request.method === "GET") {
        const lists: Readonly<Record<string, unknown>> = dialect === "ollama"
          ? {
            "/api/version": { version: "0.17.4" },
            "/api/tags": { models: [{ name: MODEL, digest: "a8b0c5157701deadbeef" }] },
          }
          : { "/v1/models": { data: [{ id: MODEL, owned_by: "llamacpp", meta: { size: 7 } }] } };
        return pathname in lists
          ? Response.json(lists[pathname])
          : Response.json({ error: { code: 404, message: "File Not Found" } }, { status: 404 });
      }
      asked.push(await request.json());
      return await answer(asked.at(-1)!, asked.length);
    },
  );
  return {
    host: `http://127.0.0.1:${server.addr.port}`,
    asked,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** A whole reply of a dialect. */
export function makeReply(
  dialect: Dialect,
  { text = "Yes", shares, finish = "stop" }: {
    readonly text?: string;
    /** Probability by candidate of the first token. */
    readonly shares?: Readonly<Record<string, number>>;
    readonly finish?: string;
  },
): Record<string, unknown> {
  const candidates = Object.entries(shares ?? {})
    .map(([token, share]) => ({ token, logprob: Math.log(share) }));
  const first = { token: text, logprob: -0.1, top_logprobs: candidates };
  return dialect === "ollama"
    ? {
      message: { role: "assistant", content: text },
      done_reason: finish,
      prompt_eval_count: 120,
      eval_count: 1,
      ...(shares === undefined ? {} : { logprobs: [first] }),
    }
    : {
      choices: [{
        message: { role: "assistant", content: text },
        finish_reason: finish,
        ...(shares === undefined ? {} : { logprobs: { content: [first] } }),
      }],
      usage: { prompt_tokens: 120, completion_tokens: 1 },
    };
}
