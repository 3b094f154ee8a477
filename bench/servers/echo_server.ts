/** What a request costs at least here: Deno reads a body and writes an answer of the same size as ours. */
const answer =
  `{"request_id":"g0123456789ab-zzzzz","model":"bench","version":1,"alias":"production",` +
  `"predictions":[{"label":"a","confidence":0.84222645,"probabilities":{"a":0.84222645,"b":0.015425944,"c":0.14234763}}]}`;

Deno.serve(
  { port: Number(Deno.args[0]), hostname: "127.0.0.1", onListen() {} },
  async (request) => {
    await request.text();
    return new Response(answer, { headers: { "content-type": "application/json" } });
  },
);
