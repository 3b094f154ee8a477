/** Posts findings as JSON to a URL given by the environment. */
import { definePlugin } from "../plugin.ts";

/** Variable that holds the URL; a URL often carries a secret, so it never stands in a config. */
const VARIABLE = "GEOPHONE_WEBHOOK_URL";

/** How long a receiver may take. */
const TIMEOUT_MS = 10_000;

/** Makes the sink; `webhook` below is the one with the URL from the environment. */
export function createWebhook(
  { url: readUrl = () => Deno.env.get(VARIABLE), timeoutMs = TIMEOUT_MS }: {
    readonly url?: () => string | undefined;
    readonly timeoutMs?: number;
  } = {},
) {
  return definePlugin({
    kind: "sink",
    name: "webhook",
    summary: `POST of {"findings": [...]} to the URL in ${VARIABLE}`,
    async deliver(findings, signal) {
      const url = readUrl();
      if (!url) {
        throw new Error(`Cannot deliver to sink "webhook": set ${VARIABLE} to the receiver's URL`);
      }
      let response: Response;
      try {
        response = await fetch(url, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ findings }),
          // A redirect would turn the POST into a GET that delivers nothing.
          redirect: "manual",
          signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
        });
      } catch (error) {
        throw new Error(`Cannot deliver to sink "webhook": ${explain(error)}`);
      }
      await response.body?.cancel();
      if (!response.ok) {
        throw new Error(`Cannot deliver to sink "webhook": it answered ${response.status}`);
      }
    },
  });
}

/** One POST per delivery: `{ "findings": [...] }`. */
export const webhook = createWebhook();

/** Why a request failed, without the URL that fetch puts into its messages: it is a secret. */
function explain(error: unknown): string {
  if (error instanceof DOMException) return `the receiver did not answer (${error.name})`;
  if (error instanceof Deno.errors.NotCapable) {
    return 'this task may not reach the receiver; add its host to "net" in deno.json';
  }
  return `the receiver cannot be reached; is the URL in ${VARIABLE} right?`;
}
