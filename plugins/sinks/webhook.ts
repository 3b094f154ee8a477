/**
 * Posts events as one CloudEvent to a URL given by the environment, signed as our webhooks are.
 *
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
 * structured content mode
 * @module
 */
import { deliveryHeaders } from "../../numeric/signing.ts";
import type { AlertEvent } from "../plugin.ts";
import { type EndpointOptions, findEndpointObstacle, post, readVariable } from "./endpoint.ts";
import { defineSink, NoParams } from "./sink.ts";
import { describeEvent, toIso } from "./template.ts";

/** Variable that holds the URL; a URL often carries a secret, so it never stands in a config. */
const URL_VARIABLE = "GEOPHONE_WEBHOOK_URL";

/** Variable of the secret that signs; without one, deliveries are not signed. */
const SECRET_VARIABLE = "GEOPHONE_WEBHOOK_SECRET";

/** Where CloudEvents of alerts come from. */
const SOURCE = "urn:geophone:alerts";

/**
 * Gives the CloudEvents 1.0 envelope of events: its id is the delivery's, so that a repetition is known
 * as one; its time is when the latest of them happened.
 */
export function toCloudEvent(events: readonly AlertEvent[], id: string) {
  const times = events.map(({ startsAt, endsAt }) => endsAt ?? startsAt);
  return {
    specversion: "1.0",
    id,
    source: SOURCE,
    type: "geophone.alerts",
    time: toIso(Math.max(...times)),
    datacontenttype: "application/json",
    data: {
      events: events.map((event) => ({
        ...event,
        text: describeEvent(event),
        startsAt: toIso(event.startsAt),
        ...(event.endsAt === undefined ? {} : { endsAt: toIso(event.endsAt) }),
      })),
    },
  };
}

/** Makes the sink; `webhook` below is the one of the process's environment. */
export function createWebhook({ read = readVariable, timeoutMs }: EndpointOptions = {}) {
  const endpoint = { sink: "webhook", variable: URL_VARIABLE, read };
  return defineSink({
    name: "webhook",
    summary: `CloudEvent by POST to ${URL_VARIABLE}, signed by ${SECRET_VARIABLE}`,
    params: NoParams,
    timeoutMs,
    findObstacle: () => findEndpointObstacle(endpoint),
    async send(events, { id, signal }) {
      const payload = JSON.stringify(toCloudEvent(events, id));
      const timestamp = Math.floor(Date.now() / 1000);
      const secret = read(SECRET_VARIABLE) || null;
      await post(endpoint, {
        body: payload,
        headers: {
          "content-type": "application/cloudevents+json",
          ...deliveryHeaders(secret, { deliveryId: id, timestamp, payload }),
        },
        signal,
      });
    },
  });
}

/** One POST per delivery: a CloudEvent whose data are `{ "events": [...] }`. */
export const webhook = createWebhook();
