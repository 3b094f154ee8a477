/** Writes events to standard error, one line each. */
import { z } from "zod";
import { defineSink } from "./sink.ts";
import { fillTemplate, templateParam } from "./template.ts";

const encoder = new TextEncoder();

const Params = z.strictObject({
  template: templateParam("{{severity}} alert:{{alert}}: {{text}}", "one line per event"),
});

/** One line per event on standard error, for a terminal or a log collector. */
export const log = defineSink({
  name: "log",
  summary: "one line per event on standard error",
  params: Params,
  send(events, { params }) {
    const lines = events.map((event) =>
      // Messages carry data: a line break in one must not make a second event of it.
      fillTemplate(params.template, event).replace(/\p{Cc}/gu, " ") + "\n"
    );
    const bytes = encoder.encode(lines.join(""));
    try {
      // In one go, so that deliveries at the same time do not mix.
      for (let offset = 0; offset < bytes.length;) {
        offset += Deno.stderr.writeSync(bytes.subarray(offset));
      }
      return Promise.resolve();
    } catch (error) {
      return Promise.reject(error);
    }
  },
});
