/**
 * Webhooks: receivers that hear of changes in the registry. A change puts its deliveries into an
 * outbox in its own transaction, so that none is lost; {@linkcode WebhookDispatcher} sends them.
 *
 * @module
 */
import { recordSteps } from "../audit.ts";
import { suggest, UsageError } from "../errors.ts";
import type { AttemptResult } from "../notifications/outbox.ts";
import type { Row, SqlValue, Step, Store } from "../store/store.ts";
import { parseEndpoint, resolveEndpoint } from "./address.ts";
import { checkEvents, splitEvent } from "./events.ts";
import { openSecret, readSecretKey, sealSecret } from "./secrets.ts";
import { sendDelivery, type SendOptions } from "./sender.ts";

/** Whether a webhook hears of new events; what waits for a disabled one is kept. */
export const webhookStatuses = ["ACTIVE", "DISABLED"] as const;

/** One of {@linkcode webhookStatuses}. */
export type WebhookStatus = typeof webhookStatuses[number];

/** A webhook, without its secret. */
export interface Webhook {
  readonly id: string;
  readonly name: string;
  readonly description: string | null;
  readonly url: string;
  readonly events: readonly string[];
  readonly status: WebhookStatus;
  readonly isSigned: boolean;
  /** Whether it may lead to private, loopback and link-local addresses. */
  readonly allowsLocal: boolean;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** What of a webhook can be given and changed. */
export interface WebhookFields {
  readonly name: string;
  readonly url: string;
  /** Names such as `model_version.created`. */
  readonly events: readonly string[];
  readonly description?: string | null;
  /** Signs deliveries, and is kept encrypted; `null` sends them unsigned. */
  readonly secret?: string | null;
  readonly status?: WebhookStatus;
}

/** Who changes a webhook. */
export interface WebhookActor {
  readonly by: string | null;
}

/** Most webhooks of a store: with the attempts at once of each, this bounds all of them. */
export const MAX_WEBHOOKS = 100;

const NAME = /^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,62}$/u;

/**
 * Makes a webhook.
 *
 * @throws {UsageError} when a field is wrong, the name is taken, the URL leads to an address that is
 * not public without `allowsLocal`, or there is a secret and no key to keep it with.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { setAlias } from "../registry/model_registry.ts";
 * import { openStore } from "../store/store.ts";
 * import { createWebhook, listWebhooks } from "./mod.ts";
 *
 * await using store = await openStore(":memory:");
 * await createWebhook(store, {
 *   name: "chat",
 *   url: "http://127.0.0.1:9/hook",
 *   events: ["model_version_alias.created"],
 *   allowsLocal: true,
 * }, { by: "ada" });
 * assertEquals((await listWebhooks(store)).map(({ name }) => name), ["chat"]);
 * ```
 */
export async function createWebhook(
  store: Store,
  entry: WebhookFields & { readonly allowsLocal?: boolean },
  { by }: WebhookActor,
): Promise<Webhook> {
  const { name, url, events, status = "ACTIVE", allowsLocal = false } = entry;
  const id = crypto.randomUUID();
  await checkFields(entry, allowsLocal);
  const now = new Date();
  await store.transaction([
    {
      sql: `insert into core.webhooks
        select ?, ?, ?, ?, ?::json::varchar[], ?, ?, ?::boolean, ?, ?, ?, null from (select 1)
        where not exists (select 1 from webhooks where name = ?)
          and (select count(*) from webhooks) < ${MAX_WEBHOOKS}`,
      params: [
        id,
        name,
        entry.description || null,
        url,
        JSON.stringify([...new Set(events)]),
        status,
        seal(id, entry.secret),
        allowsLocal,
        now,
        by,
        now,
        name,
      ],
    },
    ...recordWebhook("webhook.created", id, by),
  ]);
  const made = await readWebhook(store, id);
  if (made) return made;
  throw new UsageError(
    `Cannot create webhook "${name}": ${
      (await listWebhooks(store)).some((other) => other.name === name)
        ? "there is one of this name; choose another"
        : `there are ${MAX_WEBHOOKS} already; delete one`
    }`,
  );
}

/**
 * Changes fields of a webhook; what is left out stays.
 * @throws {UsageError} as {@linkcode createWebhook}, or when there is no such webhook.
 */
export async function updateWebhook(
  store: Store,
  reference: string,
  changes: Partial<WebhookFields>,
  { by }: WebhookActor,
): Promise<Webhook> {
  const { id, name, allowsLocal } = await findWebhook(store, reference);
  await checkFields({ name, ...changes }, allowsLocal);
  const columns: readonly [sql: string, value: SqlValue | undefined][] = [
    ["name = ?", changes.name],
    ["url = ?", changes.url],
    ["events = ?::json::varchar[]", changes.events && JSON.stringify([...new Set(changes.events)])],
    ["description = ?", changes.description],
    ["status = ?", changes.status],
    ["sealed_secret = ?", changes.secret === undefined ? undefined : seal(id, changes.secret)],
    ["updated_at = ?", new Date()],
  ];
  const given = columns.filter((column): column is [string, SqlValue] => column[1] !== undefined);
  await store.transaction([
    {
      sql: `update core.webhooks set ${given.map(([sql]) => sql).join(", ")}
        where webhook_id = ? and deleted_at is null
          and not exists (select 1 from webhooks where name = ? and webhook_id <> ?)`,
      params: [...given.map(([, value]) => value), id, changes.name ?? null, id],
    },
    ...recordWebhook("webhook.updated", id, by),
  ]);
  const updated = await findWebhook(store, id);
  if (changes.name === undefined || updated.name === changes.name) return updated;
  throw new UsageError(
    `Cannot rename webhook "${name}" to "${changes.name}": there is one of this name`,
  );
}

/**
 * Deletes a webhook; what still waits for it is not sent.
 * @throws {UsageError} when there is no such webhook.
 */
export async function deleteWebhook(
  store: Store,
  reference: string,
  { by }: WebhookActor,
): Promise<Webhook> {
  const webhook = await findWebhook(store, reference);
  await store.transaction([
    ...recordWebhook("webhook.deleted", webhook.id, by),
    {
      sql: "update core.webhooks set deleted_at = ?, sealed_secret = null where webhook_id = ?",
      params: [new Date(), webhook.id],
    },
    {
      sql: `update core.webhook_outbox set state = 'dropped', next_at = null
        where webhook_id = ? and state = 'pending'`,
      params: [webhook.id],
    },
  ]);
  return webhook;
}

/**
 * Sends one example of an event, once and beside the outbox; gives how that ended.
 * @throws {UsageError} when there is no such webhook or event, or its secret cannot be opened.
 */
export async function testWebhook(
  store: Store,
  reference: string,
  { event, ...options }: { readonly event?: string } & SendOptions = {},
): Promise<AttemptResult> {
  const { id, url, events, allowsLocal } = await findWebhook(store, reference);
  const name = event ?? events[0];
  checkEvents([name]);
  const [{ sealed_secret: sealed }] = await store.query<{ sealed_secret: string | null }>(
    "select sealed_secret from core.webhooks where webhook_id = ?",
    [id],
  );
  const payload = {
    ...splitEvent(name),
    timestamp: new Date().toISOString(),
    data: { name: "example_model", version: "1", is_test: true },
  };
  return await sendDelivery({
    url,
    allowsLocal,
    secret: sealed === null ? null : openSecret(sealed, { owner: id, key: readSecretKey() }),
    deliveryId: crypto.randomUUID(),
    payload: JSON.stringify(payload),
  }, options);
}

/** Gives all webhooks in the order of their names. */
export async function listWebhooks(store: Store): Promise<Webhook[]> {
  return (await store.query(`${selectWebhooks} order by name`)).map(toWebhook);
}

/** Gives the webhook of an id, `null` when there is none. */
export async function readWebhook(store: Store, id: string): Promise<Webhook | null> {
  const [row] = await store.query(`${selectWebhooks} and webhook_id = ?`, [id]);
  return row === undefined ? null : toWebhook(row);
}

/**
 * Gives the webhook of a name or an id.
 * @throws {UsageError} that names the nearest one when there is none.
 */
export async function findWebhook(store: Store, reference: string): Promise<Webhook> {
  const all = await listWebhooks(store);
  const found = all.find(({ id, name }) => id === reference || name === reference);
  if (found) return found;
  const names = all.map(({ name }) => name);
  const near = suggest(reference, names);
  throw new UsageError(
    `Cannot find webhook "${reference}"${near ? `; did you mean "${near}"? There` : ": there"} ${
      names.length === 0 ? "are none" : `are ${names.join(", ")}`
    }`,
  );
}

const selectWebhooks = `select webhook_id, name, description, url, events, status,
    sealed_secret is not null as is_signed, allows_local, created_at, updated_at
  from core.webhooks where deleted_at is null`;

function toWebhook(row: Row): Webhook {
  return {
    id: row.webhook_id as string,
    name: row.name as string,
    description: row.description as string | null,
    url: row.url as string,
    events: row.events as string[],
    status: row.status as WebhookStatus,
    isSigned: row.is_signed as boolean,
    allowsLocal: row.allows_local as boolean,
    createdAt: new Date(row.created_at as string),
    updatedAt: new Date(row.updated_at as string),
  };
}

/** Records what a webhook is now; of its URL only where it leads. */
function recordWebhook(
  action: "webhook.created" | "webhook.updated" | "webhook.deleted",
  id: string,
  by: string | null,
): Step[] {
  return recordSteps({
    action,
    by,
    rows:
      `select name as subject, json_object('webhook_id', webhook_id, 'name', name, 'origin', origin,
        'events', events, 'status', status, 'is_signed', is_signed, 'allows_local', allows_local)
        as details from webhooks where webhook_id = ?`,
    params: [id],
  });
}

async function checkFields(
  { name, url, events }: Partial<WebhookFields> & { readonly name: string },
  allowsLocal: boolean,
): Promise<void> {
  if (!NAME.test(name)) {
    throw new UsageError(
      `Cannot take webhook name "${name.slice(0, 80)}": a name is of at most 63 letters, digits, ` +
        "spaces, dots, _ and -, and begins with a letter or digit",
    );
  }
  if (events !== undefined) checkEvents(events);
  if (url !== undefined) {
    await resolveEndpoint(parseEndpoint(url, { allowsLocal }), { allowsLocal });
  }
}

function seal(owner: string, secret: string | null | undefined): string | null {
  return secret ? sealSecret(secret, { owner, key: readSecretKey() }) : null;
}
