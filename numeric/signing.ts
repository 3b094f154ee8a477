/** Signatures of deliveries, so that a receiver knows who sends and that nobody changed it. */
import { createHmac } from "node:crypto";

/** What is signed. */
export interface SignedDelivery {
  readonly deliveryId: string;
  /** Seconds of Unix time. */
  readonly timestamp: number;
  readonly payload: string;
}

/**
 * Gives the signature of a delivery, `v1,<base64>`: HMAC-SHA256 over `deliveryId.timestamp.payload`
 * with the UTF-8 bytes of `secret` as key. MLflow and Standard Webhooks sign the same bytes; a library
 * of the latter wants the secret as `whsec_` and the base64 of these bytes.
 *
 * @see https://www.standardwebhooks.com (specification, "Signature scheme")
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { signDelivery } from "./signing.ts";
 *
 * // By Python: base64(hmac.new(b"secret", b'id-1.1700000000.{"a":1}', "sha256").digest())
 * const signature = signDelivery("secret", {
 *   deliveryId: "id-1",
 *   timestamp: 1_700_000_000,
 *   payload: '{"a":1}',
 * });
 * assertEquals(signature, "v1,26pwlE8p4lfI2hZnvDAsYExOsz2j5qWu0P9FqBXV8Fo=");
 * ```
 */
export function signDelivery(
  secret: string,
  { deliveryId, timestamp, payload }: SignedDelivery,
): string {
  const mac = createHmac("sha256", secret).update(`${deliveryId}.${timestamp}.${payload}`);
  return `v1,${mac.digest("base64")}`;
}

/**
 * Gives the headers of a delivery under the names of MLflow and of Standard Webhooks; without a secret
 * (`null`) it is not signed.
 */
export function deliveryHeaders(
  secret: string | null,
  delivery: SignedDelivery,
): Record<string, string> {
  const { deliveryId, timestamp } = delivery;
  const signature = secret === null ? null : signDelivery(secret, delivery);
  return {
    "user-agent": "Geophone",
    "x-mlflow-delivery-id": deliveryId,
    "x-mlflow-timestamp": String(timestamp),
    "webhook-id": deliveryId,
    "webhook-timestamp": String(timestamp),
    ...(signature === null
      ? {}
      : { "x-mlflow-signature": signature, "webhook-signature": signature }),
  };
}
