/** `deno task alerts silence|silences|unsilence|snooze|ack`: what people say to alerts. */
import type { Project } from "../../run.ts";
import { formatMatcher, type Matcher, parseMatcher } from "../../runtime/alerts/matchers.ts";
import { addMark, endMark, type MarkKind } from "../../runtime/alerts/silences.ts";
import { userName } from "../../runtime/registry/model_registry.ts";
import { formatTable, print } from "../../runtime/terminal.ts";
import type { Arguments } from "../arguments.ts";
import { choosePlugins, readText } from "../options.ts";
import { type AlertsAction, formatTime, readSpan } from "./action.ts";

/** Actions that put marks down, list them and end them. */
export const markActions: Readonly<Record<string, AlertsAction>> = {
  silence: {
    takes: [1, 20, "MATCHER…"],
    options: ["for", "note"],
    run: (project, args, texts) => put("silence", texts.map(parseMatcher), { project, args }),
  },
  snooze: {
    takes: [1, 1, "NAME"],
    options: ["for", "note"],
    run: (project, args, [name]) => put("snooze", [byName(project, name)], { project, args }),
  },
  ack: {
    takes: [1, 20, "NAME [MATCHER…]"],
    options: ["for", "note"],
    run: (project, args, [name, ...texts]) =>
      put("ack", [byName(project, name), ...texts.map(parseMatcher)], { project, args }),
  },
  unsilence: {
    takes: [1, 1, "ID"],
    options: [],
    async run({ store }, { options }, [id]) {
      await endMark(store, id, { by: userName() ?? "unknown" });
      print(options.json === true ? JSON.stringify({ id, state: "expired" }) : `${id} has ended`);
    },
  },
  silences: {
    takes: [0, 0, ""],
    options: [],
    async run({ store }, { options }) {
      const rows = await store.query(
        `select silence_id, kind, matchers, created_by, created_at, ends_at, note from silences
         where state = 'active' order by created_at, silence_id`,
      );
      if (options.json === true) return print(JSON.stringify(rows));
      if (rows.length === 0) return print("nothing is silenced");
      print(formatTable(Object.keys(rows[0]), rows.map((row) => Object.values(row))));
    },
  },
};

function byName({ plugins }: Project, name: string): Matcher {
  const [alert] = choosePlugins(plugins, "alert", [name]);
  return { name: "alert", operator: "=", value: alert.name };
}

/** How long a silence holds that says nothing else. */
const DEFAULT_MS = 2 * 3_600_000;

async function put(
  kind: MarkKind,
  matchers: readonly Matcher[],
  { project, args: { options } }: { readonly project: Project; readonly args: Arguments },
): Promise<void> {
  const note = readText(options.note);
  const forMs = readSpan("for", options.for) ?? (kind === "ack" ? undefined : DEFAULT_MS);
  const now = Date.now();
  const id = await addMark(project.store, {
    kind,
    matchers,
    by: userName() ?? "unknown",
    now,
    ...(note === undefined ? {} : { note }),
    ...(forMs === undefined ? {} : { forMs }),
  });
  const endsAt = forMs === undefined ? null : now + forMs;
  const texts = matchers.map(formatMatcher);
  if (options.json === true) {
    return print(JSON.stringify({
      id,
      kind,
      matchers: texts,
      ends_at: endsAt === null ? null : new Date(endsAt),
    }));
  }
  print(
    `${id}: ${kind} of ${texts.join(", ")} until ${
      endsAt === null ? "what fires now resolves" : `${formatTime(endsAt)} UTC`
    }; end it with "deno task alerts unsilence ${id}"`,
  );
}
