/** What a config says of the sinks that are used. */
import { z } from "zod";
import type { Plugin } from "../../plugins/plugin.ts";
import { parseParams } from "../config.ts";
import { suggest, UsageError } from "../errors.ts";

/** Deliveries a minute that a sink gets at most when the config does not say. */
const PER_MINUTE = 30;

/** Of a sink that has none. */
const NoParams: z.ZodType = z.strictObject({});

/** Parses section `notifications` of a config: by the name of a sink its own parameters, and `perMinute`. */
export const NotificationParams = z.record(
  z.string(),
  z.looseObject({
    perMinute: z.int().positive().default(PER_MINUTE).describe(
      "most attempts at deliveries in a minute; what is more waits",
    ),
  }),
).describe("parameters of sinks by name");

/** Parsed {@linkcode NotificationParams}. */
export type NotificationParams = z.infer<typeof NotificationParams>;

/** A sink with what the config says of it. */
export interface ConfiguredSink {
  readonly sink: Plugin<"sink">;
  readonly perMinute: number;
  /** Parsed by the sink's own schema. */
  readonly params: unknown;
}

/**
 * Gives every sink with its parameters.
 * @throws {UsageError} when `given` names a sink that is none, or a parameter is wrong.
 */
export function configureSinks(
  sinks: readonly Plugin<"sink">[],
  given: NotificationParams = {},
): ConfiguredSink[] {
  const names = sinks.map(({ name }) => name);
  for (const name of Object.keys(given)) {
    if (names.includes(name)) continue;
    const near = suggest(name, names);
    throw new UsageError(
      `Cannot configure sink "${name}": there is none of this name; ${
        near ? `did you mean "${near}"? There` : "there"
      } are ${names.join(", ")}`,
    );
  }
  return sinks.map((sink) => {
    const { perMinute = PER_MINUTE, ...rest } = given[sink.name] ?? {};
    const params = parseParams(sink.params ?? NoParams, rest, `notifications.${sink.name}`);
    return { sink, perMinute, params };
  });
}
