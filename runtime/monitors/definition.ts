/**
 * What is computed of a model's windows: granularities, slices, methods and metrics of one's own. A
 * definition has a number that grows when its content changes; whoever changes it has every window
 * whose rows are still there computed anew.
 *
 * @module
 */
import { z } from "zod";
import { parseDuration } from "../../numeric/durations.ts";
import { canonicalJson } from "../registry/evidence.ts";
import { sha256 } from "../artifacts.ts";
import type { Store } from "../store/store.ts";
import { parseWindowing } from "./windows.ts";

const expression = z.string().trim().min(1);

/** Raises the definition's hash when the same definition would give other rows. */
const FORMAT = 2;

/** A metric of one's own. */
const CustomMetric = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9_]{0,62}$/).describe("small letters, digits and _"),
  kind: z.enum(["aggregate", "derived", "drift"]).describe(
    "aggregate: over the rows of a window or slice; derived: over other metrics of the row " +
      ":table; drift: over the structs current and base, two such rows",
  ),
  sql: expression.describe("SQL expression that gives a number"),
});

/** Section `monitoring.profile`: nothing of it need be written. */
export const ProfileParams = z.strictObject({
  granularities: z.array(z.string()).default(["1 day"])
    .describe('windows, such as "1 hour", "1 week" or "1000 rows"; an empty list is no profile'),
  lateness: z.string().default("0").describe("how long after its end a window is closed"),
  slices: z.array(expression).default(["slice"]).describe(
    "SQL expressions over a row: a predicate gives two slices, any other one per value, " +
      "the 100 most frequent ones",
  ),
  methods: z.array(z.string()).default([])
    .describe("drift methods by name, besides those that are always computed"),
  metrics: z.array(CustomMetric).default([]).describe("metrics of your own"),
  minRows: z.int().min(1).default(30)
    .describe("fewest values a side of a comparison; with less there is a reason, no result"),
}).superRefine((params, context) => {
  const report = (path: (string | number)[], message: string) =>
    context.addIssue({ code: "custom", path, message });
  params.granularities.forEach((text, i) => {
    try {
      if (parseWindowing(text).kind === "chunks") {
        report(
          ["granularities", i],
          `Cannot monitor "${text}": every new row would move them; count rows instead`,
        );
      }
    } catch (error) {
      report(["granularities", i], (error as Error).message);
    }
  });
  try {
    parseDuration(params.lateness);
  } catch (error) {
    report(["lateness"], (error as Error).message);
  }
  for (
    const [key, names] of [["slices", params.slices], [
      "metrics",
      params.metrics.map((m) => m.name),
    ]] as const
  ) {
    const twice = names.findIndex((name, i) => names.indexOf(name) < i);
    if (twice >= 0) report([key, twice], `Cannot use "${names[twice]}" twice: it is there already`);
  }
});

/** Parsed section `monitoring.profile`. */
export type ProfileDefinition = z.infer<typeof ProfileParams>;

/** A metric of one's own, parsed. */
export type CustomMetric = z.infer<typeof CustomMetric>;

/**
 * Gives the number of a definition, and writes it down when it is new. What says when windows close is
 * no part of its content.
 */
export async function numberDefinition(
  store: Store,
  model: string,
  { lateness: _, granularities: __, ...definition }: ProfileDefinition,
): Promise<number> {
  const content = canonicalJson(definition);
  const hash = await sha256(`${FORMAT} ${content}`);
  const read = async () =>
    (await store.query<{ monitor_version: number; hash: string }>(
      `select monitor_version, hash from core.monitor_definitions where model = ?
       order by monitor_version desc limit 1`,
      [model],
    ))[0];
  const last = await read();
  if (last?.hash === hash) return last.monitor_version;
  // Of two who write the same at once, the second one does nothing.
  await store.transaction([{
    sql: `insert into core.monitor_definitions
      select $1, coalesce(max(monitor_version), 0) + 1, $2, $3::json, $4
      from core.monitor_definitions where model = $1
      having coalesce(arg_max(hash, monitor_version), '') <> $2`,
    params: [model, hash, content, new Date()],
  }]);
  return (await read()).monitor_version;
}
