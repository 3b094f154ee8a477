/** A receiver of HTTP whose URL stands in the environment alone: it often is a secret. */
import { DeliveryError } from "../plugin.ts";

/** Who is posted to. */
export interface Endpoint {
  /** Name of the sink. */
  readonly sink: string;
  /** Variable of the environment that holds the URL. */
  readonly variable: string;
  readonly read: ReadVariable;
}

/** Gives a variable of the environment, `undefined` when there is none. */
export type ReadVariable = (name: string) => string | undefined;

/** How a sink with an endpoint is made. */
export interface EndpointOptions {
  /** Default the environment of the process. */
  readonly read?: ReadVariable;
  /** Milliseconds that one delivery may take. */
  readonly timeoutMs?: number;
}

/** What is posted. */
export interface Post {
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Path below the URL, such as `/api/v2/alerts`. */
  readonly path?: string;
}

/** Gives a variable of the environment; `undefined` when it is not set or may not be read. */
export function readVariable(name: string): string | undefined {
  try {
    return Deno.env.get(name) || undefined;
  } catch {
    // Not permitted to look: then nobody has set one for us.
    return undefined;
  }
}

/** Says why nothing can be posted to the URL of a variable, `null` when it can. */
export async function findEndpointObstacle(
  { variable, read }: Pick<Endpoint, "variable" | "read">,
): Promise<string | null> {
  const text = read(variable);
  if (!text) return `${variable} is not set; set it to the receiver's URL`;
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    return `${variable} is no URL of http or https; set it to the receiver's URL`;
  }
  return await findHostObstacle(url.hostname, url.port || (url.protocol === "https:" ? 443 : 80));
}

/** Says why this process may not reach a host, `null` when it may. */
export async function findHostObstacle(
  hostname: string,
  port: number | string,
): Promise<string | null> {
  const { state } = await Deno.permissions.query({ name: "net", host: `${hostname}:${port}` });
  return state === "granted"
    ? null
    : `this task may not reach "${hostname}"; add it to "net" of its permission set in deno.json`;
}

/**
 * Posts to an endpoint; a redirect is a failure.
 * @throws {DeliveryError} when the answer is not 2xx or none came; the URL is not in its message.
 */
export async function post(
  { sink, variable, read }: Endpoint,
  { body, headers, signal, path = "" }: Post,
): Promise<void> {
  const cannot = (state: string) => `Cannot deliver to sink "${sink}": ${state}`;
  const url = read(variable);
  if (!url) {
    throw new DeliveryError(cannot(`set ${variable} to the receiver's URL`));
  }
  let response: Response;
  try {
    response = await fetch(join(url, path), {
      method: "POST",
      headers,
      body,
      // A redirect would turn the POST into a GET that delivers nothing.
      redirect: "manual",
      signal,
    });
  } catch (error) {
    throw new DeliveryError(cannot(explain(error, variable)));
  }
  await response.body?.cancel();
  if (response.ok) return;
  throw new DeliveryError(cannot(`it answered ${response.status}`), {
    status: response.status,
    retryAfter: response.headers.get("retry-after"),
  });
}

/** A URL with a path behind its own; a text that is none is left to fetch to refuse. */
function join(text: string, path: string): string {
  const url = URL.parse(text);
  if (url === null) return text;
  url.pathname = url.pathname.replace(/\/*$/, path === "" ? "$&" : path);
  return url.href;
}

/** Why a request failed, without the URL that fetch puts into its messages. */
function explain(error: unknown, variable: string): string {
  if (error instanceof DOMException) return `the receiver did not answer (${error.name})`;
  if (error instanceof Deno.errors.NotCapable) {
    return 'this task may not reach the receiver; add its host to "net" in deno.json';
  }
  return `the receiver cannot be reached; is the URL in ${variable} right?`;
}
