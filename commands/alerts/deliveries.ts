/** `deno task alerts deliveries|deliver|replay`: what is on its way to sinks. */
import { userName } from "../../runtime/registry/model_registry.ts";
import { deliveryStates } from "../../runtime/notifications/outbox.ts";
import {
  listNotifications,
  replayNotification,
  SinkDispatcher,
} from "../../runtime/notifications/sinks.ts";
import { formatTable, print, printError } from "../../runtime/terminal.ts";
import { tellDeps } from "../../run.ts";
import { deliverDue } from "../actions.ts";
import { checkName, readText } from "../options.ts";
import type { AlertsAction } from "./action.ts";

/** Actions on deliveries to sinks. */
export const deliveryActions: Readonly<Record<string, AlertsAction>> = {
  deliveries: {
    takes: [0, 0, ""],
    options: ["state"],
    async run({ store }, { options }) {
      const state = readText(options.state) ?? null;
      if (state !== null) checkName("state", state, deliveryStates);
      const rows = await listNotifications(store, { state });
      if (options.json === true) return print(JSON.stringify(rows));
      if (rows.length === 0) return print("no delivery");
      print(formatTable(Object.keys(rows[0]), rows.map((row) => Object.values(row))));
    },
  },
  deliver: {
    takes: [0, 0, ""],
    options: [],
    async run({ store, config, plugins }, { options, signal }) {
      const { sinks, notifications: params } = tellDeps(config, plugins);
      await using dispatcher = new SinkDispatcher(store, {
        sinks,
        ...(params === undefined ? {} : { params }),
        onError: printError,
      });
      return await deliverDue(dispatcher, { signal, isJson: options.json === true });
    },
  },
  replay: {
    takes: [1, 1, "DELIVERY_ID"],
    options: [],
    async run({ store }, { options }, [id]) {
      await replayNotification(store, id, { by: userName() });
      print(
        options.json === true
          ? JSON.stringify({ replayed: id })
          : `delivery ${id} is due again: a server sends it now, or "deno task alerts deliver"`,
      );
    },
  },
};
