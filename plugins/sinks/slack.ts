/**
 * Posts events as one message to an incoming webhook of Slack, or of a chat that takes the same JSON
 * (Mattermost, Rocket.Chat, Discord with `/slack` at the end of its URL).
 *
 * @see https://api.slack.com/messaging/webhooks
 * @see https://api.slack.com/reference/surfaces/formatting#escaping
 * @module
 */
import { z } from "zod";
import { type EndpointOptions, findEndpointObstacle, post, readVariable } from "./endpoint.ts";
import { defineSink } from "./sink.ts";
import { fillTemplate, templateParam } from "./template.ts";

const VARIABLE = "GEOPHONE_SLACK_URL";

/** Most characters of a message. Slack cuts a text after 40,000. */
const MAX_CHARS = 39_000;

const Params = z.strictObject({
  template: templateParam(
    "*{{severity}}* `{{alert}}`: {{text}}",
    "one line per event, in Slack's mrkdwn",
  ),
});

/** Makes the sink; `slack` below is the one of the process's environment. */
export function createSlack({ read = readVariable, timeoutMs }: EndpointOptions = {}) {
  const endpoint = { sink: "slack", variable: VARIABLE, read };
  return defineSink({
    name: "slack",
    summary: `message to the incoming webhook in ${VARIABLE}`,
    params: Params,
    timeoutMs,
    findObstacle: () => findEndpointObstacle(endpoint),
    async send(events, { params, signal }) {
      const lines = events.map((event) => fillTemplate(params.template, event, escapeMrkdwn));
      await post(endpoint, {
        body: JSON.stringify({ text: cutLines(lines) }),
        headers: { "content-type": "application/json" },
        signal,
      });
    },
  });
}

/** One message per delivery, with a line for each event. */
export const slack = createSlack();

/** So that data make no link, no mention and no second line. */
function escapeMrkdwn(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
    .replace(/\p{Cc}/gu, " ");
}

/** Whole lines as far as they fit, and how many were left out. */
function cutLines(lines: readonly string[]): string {
  let length = 0;
  const fit = lines.filter((line) => (length += line.length + 1) <= MAX_CHARS);
  const left = lines.length - fit.length;
  return [...fit, ...(left === 0 ? [] : [`… and ${left} more`])].join("\n");
}
