/**
 * Sends events as one mail by SMTP.
 *
 * @see https://nodemailer.com/smtp
 * @module
 */
import { z } from "zod";
import { type AlertEvent, DeliveryError } from "../plugin.ts";
import {
  type EndpointOptions,
  findHostObstacle,
  type ReadVariable,
  readVariable,
} from "./endpoint.ts";
import { defineSink } from "./sink.ts";
import { fillTemplate, templateParam } from "./template.ts";

/** Variable of the server, with user and password, such as `smtps://user:password@host:465`. */
const VARIABLE = "GEOPHONE_SMTP_URL";

const Params = z.strictObject({
  from: z.string().min(1).default("geophone@localhost").describe("address of the sender"),
  to: z.array(z.string().min(1)).default([]).describe("addresses of the receivers"),
  subject: templateParam(
    "[{{severity}}] {{alert}}: {{text}}",
    "subject, of the first event; how many more there are is added",
  ),
  template: templateParam(
    "{{severity}} {{alert}} since {{startsAt}}\n{{text}}\n{{labels}}\n{{runbook}}\n",
    "text of each event",
  ),
});

/** Makes the sink; `email` below is the one of the process's environment. */
export function createEmail({ read = readVariable, timeoutMs }: EndpointOptions = {}) {
  return defineSink({
    name: "email",
    summary: `mail by the SMTP server in ${VARIABLE}`,
    params: Params,
    timeoutMs,
    findObstacle: (params) => findObstacle(params, read),
    async send(events, { params, id, signal }) {
      const state = await findObstacle(params, read);
      const url = readServer(read);
      if (state !== null || typeof url === "string") throw cannot(state ?? String(url));
      const transport = await openTransport(url);
      const { promise: aborted, reject } = Promise.withResolvers<never>();
      const stop = () => reject(cannot("the server did not answer in time"));
      signal.addEventListener("abort", stop, { once: true });
      if (signal.aborted) stop();
      try {
        await Promise.race([aborted, transport.sendMail(toMail(events, { params, id }))]);
      } catch (error) {
        throw error instanceof DeliveryError ? error : explain(error);
      } finally {
        signal.removeEventListener("abort", stop);
        transport.close();
      }
    },
  });
}

/** One mail of plain text per delivery. */
export const email = createEmail();

function cannot(state: string, status: number | null = null): DeliveryError {
  return new DeliveryError(`Cannot deliver to sink "email": ${state}`, { status });
}

async function findObstacle(
  { to }: z.infer<typeof Params>,
  read: ReadVariable,
): Promise<string | null> {
  if (to.length === 0) return "nobody gets it; name addresses in notifications.email.to";
  const url = readServer(read);
  if (typeof url === "string") return url;
  return await findHostObstacle(url.hostname, portOf(url));
}

function toMail(
  events: readonly AlertEvent[],
  { params, id }: { readonly params: z.infer<typeof Params>; readonly id: string },
) {
  const more = events.length === 1 ? "" : ` (and ${events.length - 1} more)`;
  return {
    from: params.from,
    to: [...params.to],
    subject: fillTemplate(params.subject, events[0], toOneLine) + more,
    text: events.map((event) => fillTemplate(params.template, event)).join("\n"),
    messageId: `<${id}@geophone>`,
    headers: { "x-geophone-delivery-id": id },
  };
}

/** Gives the URL of the server, or what is wrong with it. */
function readServer(read: ReadVariable): URL | string {
  const text = read(VARIABLE);
  if (!text) {
    return `${VARIABLE} is not set; set it to smtps://user:password@host:465`;
  }
  const url = URL.parse(text);
  return url !== null && /^smtps?:$/.test(url.protocol) && url.hostname !== ""
    ? url
    : `${VARIABLE} is no URL of smtp or smtps; set it to smtps://user:password@host:465`;
}

/** `smtp` begins in the clear and takes TLS when the server offers it, and must with a password. */
async function openTransport(url: URL) {
  const { createTransport } = await import("nodemailer");
  const isSecure = url.protocol === "smtps:";
  const user = decodeURIComponent(url.username);
  return createTransport({
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: portOf(url),
    secure: isSecure,
    // The name of this machine is nobody's business, and to ask for it is a permission.
    name: "geophone.local",
    requireTLS: user !== "",
    ...(user === "" ? {} : { auth: { user, pass: decodeURIComponent(url.password) } }),
  });
}

/** What nodemailer throws, without anything that holds the password. */
function explain(error: unknown): DeliveryError {
  const { code, responseCode } = error as { code?: string; responseCode?: number };
  return responseCode === undefined
    ? cannot(`the server cannot be used (${code ?? "unknown"}); is ${VARIABLE} right?`)
    : cannot(`the server answered ${responseCode}`, responseCode);
}

function portOf(url: URL): number {
  return Number(url.port || (url.protocol === "smtps:" ? 465 : 587));
}

function toOneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, " ").slice(0, 200);
}
