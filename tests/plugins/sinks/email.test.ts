import { assert, assertEquals, assertRejects } from "@std/assert";
import { DeliveryError } from "../../../plugins/plugin.ts";
import { createEmail } from "../../../plugins/sinks/email.ts";
import { sampleEvents } from "../../contract.ts";
import { openSmtpServer } from "./smtp_server.ts";

const { signal } = new AbortController();
const to = ["team@example.com", "ada@example.com"];

function makeSink(url: string | undefined, timeoutMs = 5_000) {
  return createEmail({ read: () => url, timeoutMs });
}

Deno.test("deliver() sends one mail of all events to everybody, with the delivery's id", async () => {
  await using server = openSmtpServer();
  const delivery = { id: "d-1", params: { from: "Geophone <geophone@example.com>", to } };
  await makeSink(server.url).deliver(sampleEvents, signal, delivery);
  const [{ headers, text, ...envelope }] = server.mails;
  assertEquals(envelope, { from: "geophone@example.com", to });
  assertEquals(headers.subject, "[critical] first_alert: first message of two lines (and 1 more)");
  assertEquals(headers["message-id"], "<d-1@geophone>");
  assertEquals(headers["x-geophone-delivery-id"], "d-1");
  for (const part of ["since 2026-03-04T05:06:07.000Z", "resolved: zweite Nachricht µ 漢 <b>&"]) {
    assert(text.includes(part), text);
  }
});

Deno.test("deliver() lets no line break of a message make a header", async () => {
  await using server = openSmtpServer();
  const event = { ...sampleEvents[0], message: "a\r\nBcc: evil@example.com\r\n\r\nb" };
  await makeSink(server.url).deliver([event], signal, { id: "d-2", params: { to: [to[0]] } });
  const [mail] = server.mails;
  assertEquals(mail.to, [to[0]]);
  assert(!("bcc" in mail.headers));
  assertEquals(mail.headers.subject, "[critical] first_alert: a Bcc: evil@example.com b");
});

Deno.test("deliver() rejects with the status when the server refuses, and says nothing of the URL", async () => {
  await using server = openSmtpServer((command) => command === "MAIL" ? "451 later" : undefined);
  const deliver = (url: string) =>
    makeSink(url).deliver(sampleEvents, signal, { id: "d-3", params: { to } });
  const error = await assertRejects(() => deliver(server.url), DeliveryError, "answered 451");
  assertEquals(error.status, 451);
  // With a password it wants TLS, which this server does not have.
  const secret = server.url.replace("//", "//ada:s3cret@");
  const refused = await assertRejects(() => deliver(secret), DeliveryError, "answered 502");
  const closed = openSmtpServer();
  await closed[Symbol.asyncDispose]();
  const gone = closed.url.replace("//", "//ada:s3cret@");
  const lost = await assertRejects(
    () => deliver(gone),
    DeliveryError,
    "is GEOPHONE_SMTP_URL right?",
  );
  for (const each of [refused, lost]) assert(!Deno.inspect(each).includes("s3cret"));
  assertEquals(server.mails, []);
});

Deno.test("deliver() rejects when the server hangs", async () => {
  await using server = openSmtpServer((command) => command === "MAIL" ? null : undefined);
  await assertRejects(
    () => makeSink(server.url, 200).deliver(sampleEvents, signal, { id: "d-4", params: { to } }),
    DeliveryError,
    "did not answer in time",
  );
});

Deno.test("findObstacle() and deliver() say what is missing: receivers, the variable, a host", async () => {
  const cases: readonly [url: string | undefined, to: readonly string[], part: string][] = [
    ["smtp://127.0.0.1:25", [], "notifications.email.to"],
    [undefined, to, "GEOPHONE_SMTP_URL is not set"],
    ["https://127.0.0.1", to, "GEOPHONE_SMTP_URL is no URL of smtp"],
    ["smtps://mail.example.com", to, '"mail.example.com"; add it to "net"'],
  ];
  for (const [url, receivers, part] of cases) {
    const sink = makeSink(url);
    const params = { to: receivers };
    assert((await sink.findObstacle!(params))!.includes(part), part);
    await assertRejects(() => sink.deliver(sampleEvents, signal, { id: "d", params }), Error, part);
  }
});
