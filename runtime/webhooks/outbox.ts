/**
 * The outbox of webhooks. What waits for a disabled webhook is kept, and what waited for a deleted one
 * was dropped.
 *
 * @module
 */
import { recordSteps } from "../audit.ts";
import { UsageError } from "../errors.ts";
import { type Outbox, renewStep } from "../notifications/outbox.ts";
import type { Store } from "../store/store.ts";
import type { WebhookActor } from "./mod.ts";

/** Deliveries to webhooks, and the attempts at them. */
export const webhookOutbox: Outbox = {
  table: "core.webhook_outbox",
  attempts: "core.webhook_attempts",
  receiver: "webhook_id",
  isOpen: "webhook_id in (select webhook_id from webhooks where status = 'ACTIVE')",
};

/** What can be sent anew. */
const isSettled =
  "delivery_id = ? and state <> 'pending' and webhook_id in (select webhook_id from webhooks)";

/**
 * Sends a delivery anew, with all its attempts and under its old id, whatever became of it: a receiver
 * that has it already knows it by the id.
 * @throws {UsageError} when there is no such delivery, it still waits, or its webhook was deleted.
 */
export async function replayDelivery(
  store: Store,
  id: string,
  { by }: WebhookActor,
): Promise<void> {
  const [found] = await store.query<{ state: string; has_webhook: boolean }>(
    `select state, webhook_id in (select webhook_id from webhooks) as has_webhook
     from core.webhook_outbox where delivery_id = ?`,
    [id],
  );
  const obstacle = found === undefined
    ? 'there is none of this id; "deno task webhooks deliveries" lists them'
    : !found.has_webhook
    ? "its webhook was deleted"
    : found.state === "pending"
    ? 'it still waits; "deno task webhooks deliver" sends what is due'
    : null;
  if (obstacle !== null) throw new UsageError(`Cannot replay delivery "${id}": ${obstacle}`);
  await store.transaction([
    ...recordSteps({
      action: "webhook.replayed",
      by,
      rows: `select delivery_id as subject, json_object('delivery_id', delivery_id, 'webhook_id',
          webhook_id, 'event', event, 'state', state, 'series', series + 1) as details
        from core.webhook_outbox where ${isSettled}`,
      params: [id],
    }),
    renewStep(webhookOutbox, { condition: isSettled, id }),
  ]);
}
