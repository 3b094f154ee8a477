/**
 * Sends what the outbox of webhooks holds.
 *
 * @module
 */
import { describeError } from "../errors.ts";
import {
  type DispatchOptions as OutboxOptions,
  type Obstacle,
  OutboxDispatcher,
  type Recipient,
} from "../notifications/dispatcher.ts";
import type { Store } from "../store/store.ts";
import { hostOf, parseEndpoint } from "./address.ts";
import { webhookOutbox } from "./outbox.ts";
import { openSecret, readSecretKey } from "./secrets.ts";
import { sendDelivery, type SendOptions } from "./sender.ts";

/** How to dispatch. */
export type DispatchOptions = OutboxOptions & Omit<SendOptions, "signal">;

interface ReceiverRow extends Record<string, unknown> {
  readonly webhook_id: string;
  readonly name: string;
  readonly url: string;
  readonly sealed_secret: string | null;
  readonly allows_local: boolean;
}

/** Sends the deliveries of a store to its webhooks until it is closed. */
export class WebhookDispatcher extends OutboxDispatcher {
  constructor(store: Store, options: DispatchOptions = {}) {
    super(store, {
      outbox: webhookOutbox,
      noun: "webhook",
      open: (ids) => openWebhooks(store, ids, options),
    }, options);
  }

  /** Sends from now on whatever is due: soon after a commit of this process, else every two seconds. */
  static start(store: Store, options: DispatchOptions = {}): WebhookDispatcher {
    return new WebhookDispatcher(store, options).start();
  }
}

async function openWebhooks(
  store: Store,
  ids: readonly string[],
  options: DispatchOptions,
): Promise<Map<string, Recipient | Obstacle>> {
  const rows = await store.query<ReceiverRow>(
    `select webhook_id, name, url, sealed_secret, allows_local from core.webhooks
     where webhook_id in (select unnest(?::json::varchar[]))`,
    [JSON.stringify(ids)],
  );
  const opened = rows.map(async (row): Promise<[string, Recipient | Obstacle]> => {
    const { webhook_id: id, name } = row;
    try {
      return [id, toRecipient(row, await prepare(row), options)];
    } catch (error) {
      return [id, { name, reason: describeError(error) }];
    }
  });
  return new Map(await Promise.all(opened));
}

function toRecipient(
  { url, allows_local: allowsLocal }: ReceiverRow,
  secret: string | null,
  options: DispatchOptions,
): Recipient {
  return {
    send: ({ delivery_id: deliveryId, payload }, signal) =>
      sendDelivery({ url, allowsLocal, secret, deliveryId, payload }, { ...options, signal }),
  };
}

/**
 * Gives the secret of a webhook that this process can serve.
 * @throws {Error} when it may not reach the host, or cannot open the secret.
 */
async function prepare(receiver: ReceiverRow): Promise<string | null> {
  const url = parseEndpoint(receiver.url, { allowsLocal: receiver.allows_local });
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const host = `${url.hostname}:${port}`;
  const { state } = await Deno.permissions.query({ name: "net", host });
  if (state !== "granted") {
    throw new Error(
      `this task may not reach "${
        hostOf(url)
      }"; add it to "net" of its permission set in deno.json, ` +
        'or run "deno task webhooks deliver"',
    );
  }
  if (receiver.sealed_secret === null) return null;
  return openSecret(receiver.sealed_secret, { owner: receiver.webhook_id, key: readSecretKey() });
}
