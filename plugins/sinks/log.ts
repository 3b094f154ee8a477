/** Writes findings to standard error, one line each. */
import { definePlugin } from "../plugin.ts";

const encoder = new TextEncoder();

/** One line per finding on standard error, for a terminal or a log collector. */
export const log = definePlugin({
  kind: "sink",
  name: "log",
  summary: "one line per finding on standard error",
  deliver(findings) {
    const lines = findings.map(({ severity, check, message }) =>
      // Messages carry data: a line break in one must not make a second finding of it.
      `${severity.toUpperCase()} ${check}: ${message}`.replace(/\p{Cc}/gu, " ") + "\n"
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
