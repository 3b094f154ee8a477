/** `deno task webhooks …`. */
import { UsageError } from "../runtime/errors.ts";
import { userName } from "../runtime/registry/model_registry.ts";
import { deliveryStates } from "../runtime/notifications/outbox.ts";
import { formatTable, print, printError } from "../runtime/terminal.ts";
import { WebhookDispatcher } from "../runtime/webhooks/dispatcher.ts";
import { replayDelivery } from "../runtime/webhooks/outbox.ts";
import {
  createWebhook,
  deleteWebhook,
  testWebhook,
  updateWebhook,
  type WebhookFields,
  webhookStatuses,
} from "../runtime/webhooks/mod.ts";
import { type Action, deliverDue, readLimit, runAction } from "./actions.ts";
import type { Arguments } from "./arguments.ts";
import { checkName, readText } from "./options.ts";

/** Runs one action on the webhooks of the store. */
export function run(args: Arguments): Promise<number | void> {
  return runAction("webhooks", actions, args);
}

type Options = Arguments["options"];

const actions: Readonly<Record<string, Action>> = {
  list: {
    positionals: [],
    options: [],
    async handle(store, { options }) {
      const rows = await store.query(
        `select w.name, w.origin, w.events, w.status, w.is_signed as signed,
           count(*) filter (d.state = 'pending') as pending, count(*) filter (d.state = 'dead') as dead,
           w.webhook_id
         from webhooks w left join webhook_deliveries d using (webhook_id) group by all order by w.name`,
      );
      printRows(
        rows,
        options,
        'no webhook yet: "deno task webhooks create NAME --url URL --event EVENT"',
      );
    },
  },
  create: {
    positionals: ["NAME"],
    options: ["url", "event", "description", "secret-env", "unsigned", "allow-local"],
    async handle(store, { options }, name) {
      const { url, events, ...rest } = readFields(options);
      if (url === undefined || events === undefined) {
        throw new UsageError(
          `Cannot create webhook "${name}" without --${url === undefined ? "url" : "event"}: ` +
            "say where to send, and what",
        );
      }
      const secret = readSecret(options) ??
        (options.unsigned === true ? null : crypto.getRandomValues(new Uint8Array(24)).toHex());
      const webhook = await createWebhook(store, {
        name,
        url,
        events,
        ...rest,
        secret,
        allowsLocal: options["allow-local"] === true,
      }, { by: userName() });
      const isNew = secret !== null && options["secret-env"] === undefined;
      if (options.json === true) {
        return print(JSON.stringify({ ...webhook, ...(isNew ? { secret } : {}) }));
      }
      const { host } = new URL(url);
      printError(
        `webhook "${name}" (${webhook.id}) sends ${
          events.join(", ")
        } to ${host}; a server does when ` +
          `the host is in "net" of its permission set in deno.json, and "deno task webhooks deliver" ` +
          `always${isNew ? "; its secret is not shown again:" : ""}`,
      );
      if (isNew) print(secret);
    },
  },
  update: {
    positionals: ["NAME|ID"],
    options: ["url", "event", "description", "secret-env", "unsigned", "status"],
    async handle(store, { options }, reference) {
      const status = readText(options.status)?.toUpperCase();
      const secret = readSecret(options) ?? (options.unsigned === true ? null : undefined);
      const webhook = await updateWebhook(store, reference, {
        ...readFields(options),
        ...(secret === undefined ? {} : { secret }),
        ...(status === undefined ? {} : { status: checkName("status", status, webhookStatuses) }),
      }, { by: userName() });
      print(
        options.json === true
          ? JSON.stringify(webhook)
          : `webhook "${webhook.name}" is ${webhook.status} and sends ${webhook.events.join(", ")}`,
      );
    },
  },
  delete: {
    positionals: ["NAME|ID"],
    options: [],
    async handle(store, { options }, reference) {
      const { id, name } = await deleteWebhook(store, reference, { by: userName() });
      print(options.json === true ? JSON.stringify({ deleted: id }) : `deleted webhook "${name}"`);
    },
  },
  deliver: {
    positionals: [],
    options: [],
    async handle(store, { options, signal }) {
      await using dispatcher = new WebhookDispatcher(store, { onError: printError });
      return await deliverDue(dispatcher, { signal, isJson: options.json === true });
    },
  },
  deliveries: {
    positionals: [],
    options: ["state", "limit"],
    async handle(store, args) {
      const { options } = args;
      const state = readText(options.state);
      if (state !== undefined) checkName("state", state, deliveryStates);
      const rows = await store.query(
        `select created_at, webhook, event, state, attempts, status_code, error, next_at, delivery_id
         from webhook_deliveries where state = coalesce(?::varchar, state)
         order by created_at desc, delivery_id limit ?`,
        [state ?? null, readLimit(args)],
      );
      printRows(rows, options, "no delivery");
    },
  },
  replay: {
    positionals: ["DELIVERY_ID"],
    options: [],
    async handle(store, { options }, id) {
      await replayDelivery(store, id, { by: userName() });
      print(
        options.json === true
          ? JSON.stringify({ replayed: id })
          : `delivery ${id} is due again: a server sends it now, or "deno task webhooks deliver"`,
      );
    },
  },
  test: {
    positionals: ["NAME|ID"],
    options: ["event"],
    async handle(store, { options, signal }, reference) {
      const [event, ...more] = readFields(options).events ?? [];
      if (more.length > 0) {
        throw new UsageError("Cannot test several events at once: give one --event");
      }
      const result = await testWebhook(store, reference, {
        signal,
        ...(event === undefined ? {} : { event }),
      });
      print(
        options.json === true
          ? JSON.stringify(result)
          : result.error ?? `the receiver answered ${result.status} in ${result.ms.toFixed(0)} ms`,
      );
      return result.isDelivered ? 0 : 1;
    },
  },
};

function readFields(
  options: Options,
): Partial<Pick<WebhookFields, "url" | "events" | "description">> {
  const url = readText(options.url);
  const description = readText(options.description);
  return {
    ...(url === undefined ? {} : { url }),
    ...(Array.isArray(options.event) ? { events: options.event } : {}),
    ...(description === undefined ? {} : { description }),
  };
}

/** Only by the environment: a command line is seen by others, and kept in a history. */
function readSecret(options: Options): string | undefined {
  const variable = readText(options["secret-env"]);
  if (variable === undefined) return undefined;
  if (options.unsigned === true) {
    throw new UsageError("Cannot use --secret-env with --unsigned: choose one");
  }
  const secret = /^GEOPHONE_[A-Z0-9_]+$/.test(variable) ? Deno.env.get(variable) : undefined;
  if (secret) return secret;
  throw new UsageError(
    `Cannot read a secret from "${variable}": there is none; set a variable whose name begins with GEOPHONE_`,
  );
}

function printRows(rows: readonly Record<string, unknown>[], options: Options, none: string): void {
  if (options.json === true) return print(JSON.stringify(rows));
  if (rows.length === 0) return print(none);
  print(
    formatTable(
      Object.keys(rows[0]),
      rows.map((row) =>
        Object.values(row).map((value) => Array.isArray(value) ? value.join(", ") : value)
      ),
    ),
  );
}
