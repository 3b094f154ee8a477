/**
 * Secrets of webhooks: kept encrypted, since the signature of each delivery needs them again.
 *
 * The key stands in the environment alone, so that a copy of the store gives nothing away. That is
 * the one way for every secret: an MLflow client sends its own with the webhook, and could not name a
 * variable of the server's environment that holds it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { UsageError } from "../errors.ts";

/** Environment variable of the key: 32 random bytes in base64 or hexadecimal digits. */
export const SECRET_KEY_VARIABLE = "GEOPHONE_SECRET_KEY";

/** Bytes of the key, of the nonce and of the tag. @see NIST SP 800-38D for nonce and tag */
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Reads the key from the environment.
 * @throws {UsageError} when there is none, or it has not 32 bytes.
 */
export function readSecretKey(): Uint8Array {
  let text: string | undefined;
  try {
    text = Deno.env.get(SECRET_KEY_VARIABLE);
  } catch {
    // Not permitted to look: then nobody has set one for us.
  }
  if (!text) {
    throw new UsageError(
      `Cannot keep a secret: ${SECRET_KEY_VARIABLE} is not set; set it to what ` +
        '"openssl rand -base64 32" prints, for every process that makes or sends webhooks, or make ' +
        "the webhook unsigned, without a secret",
    );
  }
  const key = /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, "hex") : Buffer.from(text, "base64");
  if (key.length === KEY_BYTES) return key;
  throw new UsageError(
    `Cannot use ${SECRET_KEY_VARIABLE}: it has ${key.length} bytes, not ${KEY_BYTES}; set it to what ` +
      '"openssl rand -base64 32" prints',
  );
}

/**
 * Encrypts `secret` with AES-256-GCM. What is sealed opens only for the same `owner`, so that nobody
 * gives a row the secret of another one.
 *
 * @example
 * ```ts
 * import { assertEquals, assertThrows } from "@std/assert";
 * import { openSecret, sealSecret } from "./secrets.ts";
 *
 * const key = crypto.getRandomValues(new Uint8Array(32));
 * const sealed = sealSecret("sand", { owner: "hook-1", key });
 * assertEquals(openSecret(sealed, { owner: "hook-1", key }), "sand");
 * assertThrows(() => openSecret(sealed, { owner: "hook-2", key }));
 * ```
 */
export function sealSecret(
  secret: string,
  { owner, key }: { readonly owner: string; readonly key: Uint8Array },
): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  cipher.setAAD(Buffer.from(owner));
  const body = Buffer.concat([cipher.update(secret, "utf8"), cipher.final()]);
  return Buffer.concat([nonce, body, cipher.getAuthTag()]).toString("base64");
}

/**
 * Decrypts what {@linkcode sealSecret} gave.
 * @throws {Error} when key or owner are not those it was sealed with.
 */
export function openSecret(
  sealed: string,
  { owner, key }: { readonly owner: string; readonly key: Uint8Array },
): string {
  const bytes = Buffer.from(sealed, "base64");
  try {
    const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, NONCE_BYTES));
    decipher.setAAD(Buffer.from(owner));
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    const body = bytes.subarray(NONCE_BYTES, -TAG_BYTES);
    return Buffer.concat([decipher.update(body), decipher.final()]).toString("utf8");
  } catch (cause) {
    throw new Error(
      `Cannot open the secret of "${owner}": ${SECRET_KEY_VARIABLE} is not the key it was kept with; ` +
        "set that key, or give the webhook a new secret",
      { cause },
    );
  }
}
