/** Who may call: an API key, or the loopback address alone. */
import { createHash, timingSafeEqual } from "node:crypto";
import { UsageError } from "../runtime/errors.ts";
import { HttpError } from "./http_error.ts";

/** Environment variable of the key that callers must give. */
export const API_KEY_VARIABLE = "GEOPHONE_API_KEY";

/** Whether `host` is this machine's own address, by name or number. */
export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host);
}

/**
 * Refuses to open a server without a key to others.
 * @throws {UsageError} when `host` is not loopback and there is no key.
 */
export function checkHost(host: string, apiKey: string | undefined): void {
  if (apiKey || isLoopback(host)) return;
  throw new UsageError(
    `Cannot listen on "${host}": others could call without a key; ` +
      `set ${API_KEY_VARIABLE} to a secret that callers send as X-API-Key, or listen on 127.0.0.1`,
  );
}

/** Checks the key of requests. */
export class Access {
  readonly #digest: Uint8Array | null;
  readonly #isLocal: boolean;
  /** Names the key in the inference table without giving it away. */
  readonly #requester: string | null;

  /** Without a key everyone may call, since only this machine can. */
  constructor(apiKey: string | undefined, host: string) {
    this.#digest = apiKey ? digest(apiKey) : null;
    this.#isLocal = isLoopback(host);
    this.#requester = this.#digest ? `key-${this.#digest.toHex().slice(0, 8)}` : null;
  }

  /**
   * Gives the name of the caller, `null` when nobody needs one.
   * @throws {HttpError} 401 without a key, 403 with a wrong one; without keys 403 when a web page of
   * another origin asks, since its visitor did not.
   */
  check(headers: Headers): string | null {
    if (this.#digest === null) {
      refuseOtherOrigin(headers);
      return null;
    }
    const given = headers.get("x-api-key") ??
      /^Bearer +(.+)$/i.exec(headers.get("authorization") ?? "")?.[1];
    if (given === undefined) {
      throw new HttpError("Cannot answer without a key: send X-API-Key or Bearer", "unauthorized", {
        headers: { "www-authenticate": "Bearer" },
      });
    }
    if (!timingSafeEqual(digest(given), this.#digest)) {
      throw new HttpError("Cannot answer: the API key is not valid", "forbidden");
    }
    return this.#requester;
  }

  /**
   * Checks that a caller may see everything in the store.
   * @throws {HttpError} 403 unless a key was checked or the caller is this machine, by its own name:
   * a web page cannot reach the store through a host name that it points at loopback.
   */
  checkStore(request: Request): void {
    if (this.#digest !== null) return;
    if (this.#isLocal && isLoopback(new URL(request.url).hostname)) return;
    throw new HttpError(
      `Cannot query the store: only callers on this machine may, or those with a key; set ${API_KEY_VARIABLE}`,
      "forbidden",
    );
  }
}

/** A browser names the page that asks; programs do not, and a page of this server has its host. */
function refuseOtherOrigin(headers: Headers): void {
  const origin = headers.get("origin");
  if (origin === null) return;
  const host = URL.parse(origin)?.host;
  if (host !== undefined && host === headers.get("host")) return;
  throw new HttpError(
    `Cannot answer a page of another origin: set ${API_KEY_VARIABLE} and send the key`,
    "forbidden",
  );
}

/** Digests have one length, so that a comparison tells nothing about the key's. */
function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
