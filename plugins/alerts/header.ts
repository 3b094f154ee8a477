/**
 * What stands at the head of an alert's file, checked.
 *
 * @module
 */
import { Cron } from "croner";
import { z } from "zod";
import { parseDuration } from "../../numeric/durations.ts";
import { suggest } from "../../numeric/suggest.ts";
import { type Alert, thresholdAggregations, thresholdOperators } from "../plugin.ts";

const Duration = z.string().or(z.literal(0)).transform((text, context) => {
  try {
    return parseDuration(String(text));
  } catch (error) {
    context.addIssue({ code: "custom", message: (error as Error).message });
    return z.NEVER;
  }
});

const Column = z.strictObject({
  column: z.string().min(1),
  aggregation: z.enum(thresholdAggregations).optional(),
});

const withoutValue = ["IS_NULL", "IS_NOT_NULL"];

const ThresholdHeader = z.strictObject({
  ...Column.shape,
  operator: z.enum(thresholdOperators),
  value: z.union([z.number(), z.string(), z.boolean(), Column]).optional(),
}).refine(({ operator, value }) => (value === undefined) === withoutValue.includes(operator), {
  message: "a threshold has a value unless its operator is IS_NULL or IS_NOT_NULL",
}).refine(
  ({ aggregation, value }) =>
    (aggregation !== undefined) ||
    typeof value !== "object" || value.aggregation === undefined,
  {
    message: "without an aggregation of its own it compares row by row: its value has none either",
  },
);

/** Keys of a header, in the spelling of the file. */
export const Header = z.strictObject({
  severity: z.enum(["info", "warning", "error", "critical"]),
  summary: z.string().min(1),
  empty: z.enum(["ok", "no_data", "firing", "error"]).default("ok"),
  schedule: z.string().min(1).optional(),
  timezone: z.string().min(1).optional(),
  paused: z.boolean().optional(),
  for: Duration.optional(),
  keep_firing_for: Duration.optional(),
  threshold: ThresholdHeader.optional(),
  group_by: z.array(z.string().min(1)).min(1).optional(),
  notify: z.strictObject({
    sinks: z.array(z.string().min(1)).optional(),
    on_ok: z.boolean().optional(),
  }).optional(),
  retrigger: z.int().min(0).optional(),
  labels: z.record(
    z.string().regex(/^[A-Za-z_]\w*$/, "a label's name has letters, digits and _"),
    z.string(),
  ).optional(),
  runbook: z.string().min(1).optional(),
});

/** How often an alert is evaluated that says nothing else. */
const DEFAULT_CRON = "*/15 * * * *";

/**
 * Checks the values of a header and gives what they say of an alert.
 * @throws {SyntaxError} that names each key that is wrong, with the nearest known one.
 */
export function readHeader(name: string, values: unknown): Omit<Alert, "sql"> {
  const result = Header.safeParse(values ?? {});
  if (!result.success) throw refuse(name, result.error.issues);
  const header = result.data;
  const { severity, summary, empty, retrigger, labels, runbook } = header;
  const hasSchedule = [header.schedule, header.timezone, header.paused].some((v) =>
    v !== undefined
  );
  return dropMissing({
    severity,
    summary,
    empty,
    schedule: hasSchedule ? readSchedule(name, header) : undefined,
    forMs: header.for,
    keepFiringForMs: header.keep_firing_for,
    threshold: header.threshold && dropMissing(header.threshold),
    groupBy: header.group_by,
    notify: header.notify &&
      dropMissing({ sinks: header.notify.sinks, onOk: header.notify.on_ok }),
    retrigger,
    labels,
    runbook,
  }) as Omit<Alert, "sql">;
}

function readSchedule(
  name: string,
  { schedule: cron = DEFAULT_CRON, timezone, paused }: z.infer<typeof Header>,
) {
  try {
    if (timezone !== undefined) new Intl.DateTimeFormat("en", { timeZone: timezone });
  } catch {
    throw new SyntaxError(
      `Cannot load alert "${name}": timezone: there is no "${timezone}"; write one such as Europe/Berlin`,
    );
  }
  try {
    new Cron(cron, { paused: true });
  } catch (error) {
    const reason = (error as Error).message.replace(/^CronPattern: /, "").replace(/\.$/, "");
    throw new SyntaxError(
      `Cannot load alert "${name}": schedule: "${cron}" is no cron expression: ${reason}`,
      { cause: error },
    );
  }
  return dropMissing({ cron, timezone, isPaused: paused });
}

/** Keys without a value are left out, as the contract wants it. */
function dropMissing(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/** Says what is wrong with the values of an alert's file, key by key. */
export function refuse(
  name: string,
  issues: readonly z.core.$ZodIssue[],
  schema: z.ZodType = Header,
): SyntaxError {
  const lines = issues.flatMap((issue) => {
    const path = issue.path.join(".");
    if (issue.code === "invalid_key") return [`${path}: ${issue.issues[0].message}`];
    if (issue.code !== "unrecognized_keys") return [`${path || "header"}: ${issue.message}`];
    const known = keysAt(schema, issue.path);
    return issue.keys.map((key) => {
      const near = suggest(key, known);
      return `${path ? `${path}: ` : ""}unknown key "${key}"; ${
        near ? `did you mean "${near}"?` : `there are ${known.join(", ")}`
      }`;
    });
  });
  return new SyntaxError(`Cannot load alert "${name}": ${lines.join("; ")}`);
}

function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  // deno-lint-ignore no-explicit-any -- a tree of JSON Schema
  let node: any = z.toJSONSchema(schema, { unrepresentable: "any", io: "input", reused: "inline" });
  for (const key of path) node = node?.properties?.[key] ?? node?.items;
  return Object.keys(node?.properties ?? {});
}
