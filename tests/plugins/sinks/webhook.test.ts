import { assert, assertEquals, assertRejects } from "@std/assert";
import { createWebhook } from "../../../plugins/sinks/webhook.ts";
import type { Finding } from "../../../plugins/plugin.ts";
import { openReceiver } from "./receiver.ts";

const findings: Finding[] = [
  { check: "alert:error_rate", severity: "critical", message: "5 % failed", rows: [{ n: 5 }] },
];
const { signal } = new AbortController();

Deno.test("deliver() posts the findings as JSON when the receiver answers 2xx", async () => {
  await using receiver = openReceiver();
  await createWebhook({ url: () => receiver.url }).deliver(findings, signal);
  assertEquals(receiver.deliveries.map(({ body, ...rest }) => ({ ...rest, ...JSON.parse(body) })), [
    { method: "POST", contentType: "application/json", findings },
  ]);
});

Deno.test("deliver() rejects with the status when the receiver answers 500 or a redirect", async () => {
  for (const status of [500, 404, 302]) {
    await using receiver = openReceiver(() =>
      new Response(null, { status, headers: status === 302 ? { location: "/elsewhere" } : {} })
    );
    const deliver = () => createWebhook({ url: () => receiver.url }).deliver(findings, signal);
    await assertRejects(deliver, Error, `it answered ${status}`);
    assertEquals(receiver.deliveries.length, 1);
  }
});

Deno.test("deliver() names the variable when it is absent", async () => {
  for (const url of [undefined, ""]) {
    const deliver = () => createWebhook({ url: () => url }).deliver(findings, signal);
    await assertRejects(deliver, Error, "GEOPHONE_WEBHOOK_URL");
  }
});

Deno.test("deliver() keeps the URL, which is a secret, out of its messages when it fails", async () => {
  const receiver = openReceiver();
  await receiver[Symbol.asyncDispose]();
  for (const url of [receiver.url, "no url s3cret"]) {
    const error = await assertRejects(
      () => createWebhook({ url: () => url }).deliver(findings, signal),
      Error,
      "cannot be reached",
    );
    assert(!Deno.inspect(error).includes("s3cret"));
  }
});

Deno.test("deliver() rejects when the receiver hangs or the signal is aborted", async () => {
  const gate = Promise.withResolvers<Response>();
  await using receiver = openReceiver(() => gate.promise);
  const sink = createWebhook({ url: () => receiver.url, timeoutMs: 100 });
  await assertRejects(() => sink.deliver(findings, signal), Error, "TimeoutError");
  await assertRejects(() => sink.deliver(findings, AbortSignal.abort()), Error, "AbortError");
  gate.resolve(new Response("late"));
});
