import { assertEquals, assertMatch } from "@std/assert";
import { Logger, type LoggerOptions } from "../../runtime/logger.ts";

function makeLogger(options: LoggerOptions = {}) {
  const lines: string[] = [];
  return { lines, logger: new Logger({ write: (text) => lines.push(text), ...options }) };
}

Deno.test("Logger writes sentences in text, one line each whatever the message holds", () => {
  const { lines, logger } = makeLogger();
  logger.info("listening", "Serving", { url: "http://127.0.0.1:1" });
  logger.error("request_failed", "Request failed: a\nforged line");
  assertEquals(lines, ["Serving\n", "Request failed: a forged line\n"]);
});

Deno.test("Logger writes an object per line in json, with the time, without what is null", () => {
  const { lines, logger } = makeLogger({ format: "json", now: () => new Date(1e12) });
  logger.warn("traffic", 'Canary "x"\nrolled back', { model: "rocks", version: 3, alias: null });
  assertMatch(lines[0], /^[^\n]+\n$/);
  assertEquals(JSON.parse(lines[0]), {
    time: "2001-09-09T01:46:40.000Z",
    level: "warning",
    event: "traffic",
    model: "rocks",
    version: 3,
    message: 'Canary "x"\nrolled back',
  });
});

Deno.test("Logger writes nothing when it is off, nor what matters less than the least level", () => {
  const off = makeLogger({ format: "off" });
  off.logger.error("log_failed", "No disk");
  assertEquals(off.lines, []);
  const { lines, logger } = makeLogger({ least: "warning" });
  logger.info("model_loaded", "Loaded");
  logger.warn("traffic", "Stopped");
  logger.error("log_failed", "No disk");
  assertEquals(lines, ["Stopped\n", "No disk\n"]);
});
