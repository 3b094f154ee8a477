/** What a server says of itself on standard error: sentences for people, or JSON for programs. */

/** How lines are written; `off` writes none. */
export const logFormats = ["text", "json", "off"] as const;

/** One of {@linkcode logFormats}. */
export type LogFormat = typeof logFormats[number];

/** How much a line matters, the least first. */
export const logLevels = ["info", "warning", "error"] as const;

/** One of {@linkcode logLevels}. */
export type LogLevel = typeof logLevels[number];

/** What a line is about, beside its sentence; `null` is left out. No payload and no secret. */
export type LogFields = Readonly<Record<string, string | number | boolean | null>>;

/** How a {@linkcode Logger} works. */
export interface LoggerOptions {
  /** Default `text`. */
  readonly format?: LogFormat;
  /** Lines that matter less are not written; default `info`. */
  readonly least?: LogLevel;
  /** Takes whole lines; default standard error. */
  readonly write?: (text: string) => void;
  /** Default the time of day. */
  readonly now?: () => Date;
}

/**
 * Writes one line per event: in `text` its sentence, in `json` an object of `time`, `level`, `event`,
 * the fields and `message`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Logger } from "./logger.ts";
 *
 * const lines: string[] = [];
 * const write = (text: string) => lines.push(text);
 * new Logger({ write }).info("model_loaded", "Model is loaded", { version: 3 });
 * new Logger({ write, format: "json", now: () => new Date(0) })
 *   .info("model_loaded", "Model is loaded", { version: 3, alias: null });
 * assertEquals(lines, [
 *   "Model is loaded\n",
 *   '{"time":"1970-01-01T00:00:00.000Z","level":"info","event":"model_loaded","version":3,' +
 *   '"message":"Model is loaded"}\n',
 * ]);
 * ```
 */
export class Logger {
  readonly #format: LogFormat;
  readonly #least: number;
  readonly #write: (text: string) => void;
  readonly #now: () => Date;

  constructor(
    { format = "text", least = "info", write = writeError, now = () => new Date() }: LoggerOptions =
      {},
  ) {
    this.#format = format;
    this.#least = logLevels.indexOf(least);
    this.#write = write;
    this.#now = now;
  }

  /** Says what happened as it should. */
  info(event: string, message: string, fields?: LogFields): void {
    this.#log("info", { event, message, fields });
  }

  /** Says what somebody should look at some time. */
  warn(event: string, message: string, fields?: LogFields): void {
    this.#log("warning", { event, message, fields });
  }

  /** Says what went wrong. */
  error(event: string, message: string, fields?: LogFields): void {
    this.#log("error", { event, message, fields });
  }

  #log(
    level: LogLevel,
    { event, message, fields = {} }: {
      readonly event: string;
      readonly message: string;
      readonly fields: LogFields | undefined;
    },
  ): void {
    if (this.#format === "off" || logLevels.indexOf(level) < this.#least) return;
    if (this.#format === "text") return this.#write(`${message.replaceAll("\n", " ")}\n`);
    const time = this.#now().toISOString();
    const known = Object.entries(fields).filter(([, value]) => value !== null);
    const line = { time, level, event, ...Object.fromEntries(known), message };
    this.#write(`${JSON.stringify(line)}\n`);
  }
}

const encoder = new TextEncoder();

/** Written at once, so that the last words of a process are not lost. */
function writeError(text: string): void {
  Deno.stderr.writeSync(encoder.encode(text));
}
