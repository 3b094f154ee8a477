/**
 * Webhooks in the MLflow protocol. Its events are six of ours: a webhook that has others, too, is shown
 * with those that a client can read and keeps the rest; one that has only others is not shown.
 */
import { z } from "zod";
import { UsageError } from "../../runtime/errors.ts";
import type { Store } from "../../runtime/store/store.ts";
import { invalid, missing } from "../../runtime/tracking/error.ts";
import { mlflowEvents, splitEvent } from "../../runtime/webhooks/events.ts";
import {
  createWebhook,
  deleteWebhook,
  listWebhooks,
  testWebhook,
  updateWebhook,
  type Webhook,
  webhookStatuses,
} from "../../runtime/webhooks/mod.ts";
import { type MlflowRoute, route } from "./route.ts";
import { list, page, text } from "./wire.ts";

const WEBHOOKS = "/2.0/mlflow/webhooks";
const ONE = `${WEBHOOKS}/:webhook_id`;

const id = { webhook_id: text };
const admin = { role: "admin" } as const;

/** The client names both parts in capitals. */
const event = z.object({ entity: z.string(), action: z.string() }).transform((parts) =>
  `${parts.entity}.${parts.action}`.toLowerCase()
);

const optionalFields = {
  description: text.optional(),
  secret: text.optional(),
  status: z.enum(webhookStatuses).optional(),
};

/** Every route of webhooks; they tell where a server posts to, so that all need an `admin`. */
export const webhookRoutes: readonly MlflowRoute[] = [
  route(
    "POST",
    WEBHOOKS,
    { name: text, url: text, events: list(event), ...optionalFields },
    ({ name, url, events, ...rest }, { store, by }) =>
      refusing(async () => ({
        webhook: writeWebhook(
          await createWebhook(store, { name, url, events, ...given(rest) }, { by }),
        ),
      })),
    admin,
  ),
  route("GET", WEBHOOKS, page(100, 1_000), async (fields, { store }) => {
    const all = (await listWebhooks(store)).filter(isShown)
      .filter(({ name }) => fields.page_token === undefined || name > fields.page_token);
    const shown = all.slice(0, fields.max_results);
    return {
      webhooks: shown.map(writeWebhook),
      next_page_token: all.length > shown.length ? shown.at(-1)!.name : undefined,
    };
  }, admin),
  route("GET", ONE, id, async ({ webhook_id: id }, { store }) => ({
    webhook: writeWebhook(await find(store, id)),
  }), admin),
  route(
    "PATCH",
    ONE,
    {
      ...id,
      name: text.optional(),
      url: text.optional(),
      events: list(event),
      ...optionalFields,
    },
    async ({ webhook_id: id, events, ...rest }, { store, by }) => {
      const before = await find(store, id);
      const others = before.events.filter((name) => !isMlflowEvent(name));
      return await refusing(async () => ({
        webhook: writeWebhook(
          await updateWebhook(store, id, {
            ...given(rest),
            // The client leaves the list out, or sends an empty one, when it is to stay.
            ...(events.length === 0 ? {} : { events: [...events, ...others] }),
          }, { by }),
        ),
      }));
    },
    admin,
  ),
  route("DELETE", ONE, id, async ({ webhook_id: id }, { store, by }) => {
    await find(store, id);
    await refusing(() => deleteWebhook(store, id, { by }));
    return {};
  }, admin),
  route(
    "POST",
    `${ONE}/test`,
    { ...id, event: event.optional() },
    async ({ webhook_id: id, event }, { store, exchange }) => {
      const { events } = await find(store, id);
      const { isDelivered, status, body, error } = await refusing(() =>
        testWebhook(store, id, {
          event: event ?? events.find(isMlflowEvent)!,
          signal: exchange.request.signal,
        })
      );
      return {
        result: {
          success: isDelivered,
          response_status: status ?? undefined,
          response_body: status === null ? undefined : body,
          error_message: error ?? undefined,
        },
      };
    },
    admin,
  ),
];

function isMlflowEvent(event: string): boolean {
  return (mlflowEvents as readonly string[]).includes(event);
}

function isShown({ events }: Webhook): boolean {
  return events.some(isMlflowEvent);
}

async function find(store: Store, id: string): Promise<Webhook> {
  const found = (await listWebhooks(store)).find((webhook) => webhook.id === id);
  if (found && isShown(found)) return found;
  throw missing(`Cannot find webhook "${id}": there is none of this id with an event of MLflow`);
}

/** Leaves out what was not sent: it is not the same as to empty it. */
function given<T extends Record<string, unknown>>(fields: T) {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as { [K in keyof T]: Exclude<T[K], undefined> };
}

async function refusing<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw error instanceof UsageError ? invalid(error.message) : error;
  }
}

function writeWebhook(webhook: Webhook) {
  return {
    webhook_id: webhook.id,
    name: webhook.name,
    description: webhook.description ?? undefined,
    url: webhook.url,
    events: webhook.events.filter(isMlflowEvent).map((name) => {
      const { entity, action } = splitEvent(name);
      return { entity: entity.toUpperCase(), action: action.toUpperCase() };
    }),
    status: webhook.status,
    creation_timestamp: webhook.createdAt.getTime(),
    last_updated_timestamp: webhook.updatedAt.getTime(),
  };
}
