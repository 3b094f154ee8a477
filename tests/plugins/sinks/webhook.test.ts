import { assert, assertEquals, assertRejects } from "@std/assert";
import { createWebhook } from "../../../plugins/sinks/webhook.ts";
import { DeliveryError } from "../../../plugins/plugin.ts";
import { sampleEvents } from "../../contract.ts";
import { assertSigned, startReceiver } from "../../webhook_receiver.ts";
import { openReceiver } from "./receiver.ts";

const { signal } = new AbortController();
const delivery = { id: "delivery-1", params: {} };

function makeSink(url: string | undefined, { secret, timeoutMs }: {
  readonly secret?: string;
  readonly timeoutMs?: number;
} = {}) {
  const read = (name: string) => name === "GEOPHONE_WEBHOOK_URL" ? url : secret;
  return createWebhook({ read, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
}

Deno.test("deliver() posts one CloudEvent of the delivery's id when the receiver answers 2xx", async () => {
  await using receiver = startReceiver();
  await makeSink(receiver.url).deliver(sampleEvents, signal, delivery);
  const [{ headers, body }] = receiver.received;
  assertEquals(headers.get("content-type"), "application/cloudevents+json");
  assertEquals([headers.get("webhook-id"), headers.get("webhook-signature")], ["delivery-1", null]);
  const { data, ...envelope } = body;
  assertEquals(envelope, {
    specversion: "1.0",
    id: "delivery-1",
    source: "urn:geophone:alerts",
    type: "geophone.alerts",
    time: "2026-03-04T06:00:00.000Z",
    datacontenttype: "application/json",
  });
  assertEquals(data.events[1], {
    kind: "resolved",
    alert: "second_alert",
    series: "well=P-130",
    severity: "info",
    labels: { well: "P-130" },
    value: null,
    message: "zweite Nachricht µ 漢 <b>&",
    startsAt: "2026-03-04T05:06:07.000Z",
    endsAt: "2026-03-04T06:00:00.000Z",
    runbook: null,
    text: "resolved: zweite Nachricht µ 漢 <b>&",
  });
  assertEquals(data.events[0].endsAt, undefined);
});

Deno.test("deliver() signs for both kinds of receivers when there is a secret", async () => {
  await using receiver = startReceiver();
  await makeSink(receiver.url, { secret: "sänd" }).deliver(sampleEvents, signal, delivery);
  await assertSigned(receiver.received[0], "sänd");
});

Deno.test("deliver() rejects with status and Retry-After when the receiver answers 500 or a redirect", async () => {
  for (const status of [503, 404, 302]) {
    await using receiver = openReceiver(() =>
      new Response(null, { status, headers: { location: "/elsewhere", "retry-after": "7" } })
    );
    const deliver = () => makeSink(receiver.url).deliver(sampleEvents, signal);
    const error = await assertRejects(deliver, DeliveryError, `it answered ${status}`);
    assertEquals([error.status, error.retryAfter], [status, "7"]);
    assertEquals(receiver.deliveries.length, 1);
  }
});

Deno.test("deliver() and findObstacle() name the variable when it is absent or no URL", async () => {
  for (const url of [undefined, "", "ftp://host/", "no url"]) {
    const sink = makeSink(url);
    await assertRejects(() => sink.deliver(sampleEvents, signal), Error, "GEOPHONE_WEBHOOK_URL");
    assert((await sink.findObstacle!({}))!.includes("GEOPHONE_WEBHOOK_URL"));
  }
});

Deno.test("findObstacle() names the host when this task may not reach it", async () => {
  const sink = makeSink("https://hooks.example.com/s3cret");
  const obstacle = await sink.findObstacle!({});
  assert(obstacle!.includes('"hooks.example.com"; add it to "net"'), obstacle!);
  assert(!obstacle!.includes("s3cret"));
});

Deno.test("deliver() keeps the URL, which is a secret, out of its messages when it fails", async () => {
  const receiver = openReceiver();
  await receiver[Symbol.asyncDispose]();
  for (const url of [receiver.url, "no url s3cret"]) {
    const error = await assertRejects(
      () => makeSink(url).deliver(sampleEvents, signal),
      DeliveryError,
      "cannot be reached",
    );
    assert(!Deno.inspect(error).includes("s3cret"));
  }
});

Deno.test("deliver() rejects when the receiver hangs or the signal is aborted", async () => {
  const gate = Promise.withResolvers<Response>();
  await using receiver = openReceiver(() => gate.promise);
  const sink = makeSink(receiver.url, { timeoutMs: 100 });
  await assertRejects(() => sink.deliver(sampleEvents, signal), Error, "TimeoutError");
  await assertRejects(() => sink.deliver(sampleEvents, AbortSignal.abort()), Error, "AbortError");
  gate.resolve(new Response("late"));
});
