/** Who may call, and what: a key and its role, or the loopback address alone. */
import { createHash, timingSafeEqual } from "node:crypto";
import { type ApiKeys, hasRole, type Limits, noLimits, type Role } from "../runtime/api_keys.ts";
import { UsageError } from "../runtime/errors.ts";
import { HttpError } from "./http_error.ts";

/** Environment variable of a key with every right, beside those of the store. */
export const API_KEY_VARIABLE = "GEOPHONE_API_KEY";

/** Whether `host` is this machine's own address, by name or number. */
export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host);
}

/**
 * Refuses to open a server without a key to others.
 * @throws {UsageError} when `host` is not loopback and there is no key.
 */
export function checkHost(host: string, hasKey: boolean): void {
  if (hasKey || isLoopback(host)) return;
  throw new UsageError(
    `Cannot listen on "${host}": others could call without a key; ` +
      `create one with "deno task keys create NAME --role ROLE", set ${API_KEY_VARIABLE} to a secret ` +
      "that callers send as X-API-Key, or listen on 127.0.0.1",
  );
}

/** Who calls: the holder of a key. */
export interface Caller extends Limits {
  /** Stands in the inference table, and shares its limits among all secrets of the name. */
  readonly name: string;
  readonly role: Role;
  /** In milliseconds of Unix time. */
  readonly expiresAt: number | null;
  readonly isRotated: boolean;
  readonly isRevoked: boolean;
}

/** What {@linkcode Access} needs. */
export interface AccessOptions {
  /** The keys of the store. */
  readonly keys: Pick<ApiKeys, "find" | "size">;
  /** Address that the server listens on. */
  readonly host: string;
  /** A key beside them, with every right: the one to make the first others with. */
  readonly apiKey?: string | undefined;
  /** Milliseconds of Unix time; default `Date.now`. */
  readonly now?: () => number;
}

/** Checks the key of requests, and what it may do. */
export class Access {
  readonly #keys: AccessOptions["keys"];
  readonly #digest: Uint8Array | null;
  readonly #isLocal: boolean;
  readonly #now: () => number;
  /** Whoever has the key of the environment; the name does not give it away. */
  readonly #admin: Caller | null;

  constructor({ keys, host, apiKey, now = Date.now }: AccessOptions) {
    this.#keys = keys;
    this.#digest = apiKey ? digest(apiKey) : null;
    this.#isLocal = isLoopback(host);
    this.#now = now;
    this.#admin = this.#digest && {
      name: `key-${this.#digest.toHex().slice(0, 8)}`,
      role: "admin",
      ...noLimits,
      expiresAt: null,
      isRotated: false,
      isRevoked: false,
    };
  }

  /**
   * Whether callers need a key. One key in the store is enough, whatever became of it: the end of the
   * last key must not open the server.
   */
  get needsKey(): boolean {
    return this.#admin !== null || this.#keys.size > 0;
  }

  /**
   * Gives the caller, `null` when nobody needs a key. What the caller may do, and whether the key still
   * works, {@linkcode authorize} says.
   * @throws {HttpError} 401 without a key, 403 with a wrong one; without keys 403 when a web page of
   * another origin asks, since its visitor did not.
   */
  identify(headers: Headers): Caller | null {
    if (!this.needsKey) {
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
    if (this.#digest !== null && timingSafeEqual(digest(given), this.#digest)) return this.#admin;
    const key = this.#keys.find(given);
    if (key === null) throw new HttpError("Cannot answer: the API key is not valid", "invalid_key");
    return key;
  }

  /**
   * Checks that the key still works, and that its role is `least` or more.
   * @throws {HttpError} 403 with a code that says what is wrong.
   */
  authorize(caller: Caller | null, least: Role): void {
    if (caller === null) return;
    const { name, role, expiresAt } = caller;
    if (caller.isRevoked) {
      throw new HttpError(`Cannot answer: API key "${name}" is revoked`, "revoked_key");
    }
    if (expiresAt !== null && expiresAt <= this.#now()) {
      throw new HttpError(
        caller.isRotated
          ? `Cannot answer: this secret of API key "${name}" was replaced; send the new one`
          : `Cannot answer: API key "${name}" has expired`,
        "expired_key",
      );
    }
    if (!hasRole(role, least)) {
      throw new HttpError(
        `Cannot answer API key "${name}" here: its role is ${role}, and ${least} is needed`,
        "role_too_low",
      );
    }
  }

  /**
   * Checks that a caller without a key may see everything in the store; with one, the route's role
   * has said so.
   * @throws {HttpError} 403 unless the caller has a key or is this machine, by its own name: a web
   * page cannot reach the store through a host name that it points at loopback.
   */
  checkStore({ request, requester }: {
    readonly request: Request;
    readonly requester: string | null;
  }): void {
    if (requester !== null) return;
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
