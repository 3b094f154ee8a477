/** Alerts and sinks for tests. */
import type { Plugin } from "../../../plugins/plugin.ts";

/** An alert that says `<name> happened`. */
export function makeAlert(
  name: string,
  sql: string,
  more: Partial<Plugin<"alert">> = {},
): Plugin<"alert"> {
  return {
    kind: "alert",
    name,
    severity: "warning",
    summary: `${name} happened`,
    empty: "ok",
    sql,
    ...more,
  };
}

/** A sink that does as `deliver` says. */
export function makeSink(name: string, deliver: Plugin<"sink">["deliver"]): Plugin<"sink"> {
  return { kind: "sink", name, summary: "a test", deliver };
}

/** A sink that keeps the messages it was given. */
export function makeMailbox(name = "mailbox") {
  const messages: string[] = [];
  const sink = makeSink(name, (events) => {
    for (const event of events) {
      if ("check" in event) throw new TypeError("Cannot take a finding: alerts send events");
      const { kind, alert, message } = event;
      messages.push(`${alert}: ${kind === "firing" ? "" : `${kind}: `}${message}`);
    }
    return Promise.resolve();
  });
  /** Gives what came since it was asked last. */
  return { sink, read: () => messages.splice(0) };
}
