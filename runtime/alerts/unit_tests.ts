/**
 * Tests of an alert: rows of the views, and what the alert is to say of them at which time. They stand
 * in a YAML file beside it.
 *
 * ```yaml
 * - name: fires when it held for ten minutes
 *   rows:
 *     requests:
 *       - { request_time: -1m, endpoint: /predict, status_code: 500, repeat: 30 }
 *   at:
 *     - { time: 0m, state: pending }
 *     - { time: 10m, state: firing, findings: [{ subject: error_rate, failed: 30 }] }
 * ```
 *
 * @module
 */
import { parse } from "@std/yaml";
import { z } from "zod";
import { parseDuration } from "../../numeric/durations.ts";
import type { Finding, Plugin } from "../../plugins/plugin.ts";
import { parseParams } from "../config.ts";
import { describeError, UsageError } from "../errors.ts";
import { openStore } from "../store/store.ts";
import { AsOf } from "./as_of.ts";
import { clocksOf, TIMEOUT_MS } from "./engine.ts";
import { buildRows } from "./fixtures.ts";
import { observe, type Seen } from "./observe.ts";
import { type AlertMemory, step } from "./state.ts";

const Expected = z.strictObject({
  time: z.string().describe("span since the start, such as 10m"),
  state: z.enum(["ok", "pending", "firing", "no_data", "error"]),
  findings: z.array(z.record(z.string(), z.unknown())).optional()
    .describe("cells of each finding, in any order; those left out are not compared"),
  series: z.record(z.string(), z.enum(["pending", "firing"])).optional()
    .describe("every series that is pending or firing"),
  error: z.string().optional().describe("part of the reason of state error"),
});

const UnitTest = z.strictObject({
  name: z.string().min(1),
  start: z.iso.datetime().default("2026-01-01T00:00:00Z"),
  rows: z.record(z.string(), z.array(z.record(z.string(), z.unknown()))).default({}),
  at: z.array(Expected).min(1),
});

const UnitTests = z.array(UnitTest).min(1);

/** What became of one test. */
export interface UnitTestResult {
  readonly alert: string;
  readonly test: string;
  /** What was otherwise than expected; none when it passed. */
  readonly failures: readonly string[];
}

/**
 * Runs the tests of one file.
 * @throws {UsageError} when the file is no such YAML, or names a view or column that is not there.
 */
export async function testAlert(
  alert: Plugin<"alert">,
  text: string,
): Promise<UnitTestResult[]> {
  const place = `the tests of alert "${alert.name}"`;
  let values: unknown;
  try {
    values = parse(text);
  } catch (error) {
    throw new UsageError(`Cannot read ${place}: they are no YAML`, { cause: error });
  }
  const tests = parseParams(UnitTests, values, place);
  const results: UnitTestResult[] = [];
  for (const test of tests) {
    results.push({ alert: alert.name, test: test.name, failures: await run(alert, test) });
  }
  return results;
}

async function run(
  alert: Plugin<"alert">,
  { start: startText, rows: fixtures, at }: z.infer<typeof UnitTest>,
): Promise<string[]> {
  await using store = await openStore(":memory:");
  const start = Date.parse(startText);
  const rows = await buildRows(store, fixtures, start);
  const failures: string[] = [];
  let memory: AlertMemory | null = null;
  let last = -1;
  for (const expected of at) {
    const after = readSpan(expected.time);
    if (after <= last) {
      throw new UsageError(
        `Cannot test alert "${alert.name}" at ${expected.time}: it comes after a later time`,
      );
    }
    last = after;
    const time = start + after;
    const seen = await observe(new AsOf(store, { time, rows }), alert, { timeoutMs: TIMEOUT_MS });
    memory = step(memory, seen.observation, { now: time, clocks: clocksOf(alert) }).memory;
    failures.push(
      ...compare(expected, memory, seen).map((failure) => `at ${expected.time}: ${failure}`),
    );
  }
  return failures;
}

function readSpan(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    throw new UsageError(describeError(error), { cause: error });
  }
}

function compare(
  expected: z.infer<typeof Expected>,
  memory: AlertMemory,
  { findings, observation }: Seen,
): string[] {
  const failures: string[] = [];
  const reason = observation.kind === "error" ? ` (${observation.reason})` : "";
  if (memory.state !== expected.state) {
    failures.push(`state is ${memory.state}${reason}, expected ${expected.state}`);
  }
  if (expected.error !== undefined && !reason.includes(expected.error)) {
    failures.push(`the reason${reason || " is none"}, expected "${expected.error}"`);
  }
  if (expected.series !== undefined) {
    const actual = Object.fromEntries(memory.series.map(({ series, state }) => [series, state]));
    const [a, b] = [actual, expected.series].map(sorted);
    if (a !== b) failures.push(`series are ${a}, expected ${b}`);
  }
  if (expected.findings !== undefined) {
    failures.push(...compareFindings(expected.findings, findings));
  }
  return failures;
}

function compareFindings(
  expected: readonly Readonly<Record<string, unknown>>[],
  actual: readonly Finding[],
): string[] {
  const rest = actual.map(({ rows, message }) => ({ ...rows?.[0], message }) as FindingCells);
  const missing = expected.filter((cells) => {
    const i = rest.findIndex((row) =>
      Object.entries(cells).every(([name, value]) => isAlike(row[name], value))
    );
    if (i >= 0) rest.splice(i, 1);
    return i < 0;
  });
  return [
    ...missing.map((cells) => `no finding ${JSON.stringify(cells)}`),
    ...rest.map((row) => `one finding more: ${JSON.stringify(row)}`),
  ];
}

type FindingCells = Readonly<Record<string, unknown>>;

/** Numbers are alike to nine digits: aggregates round. */
function isAlike(actual: unknown, expected: unknown): boolean {
  if (typeof actual === "number" && typeof expected === "number") {
    return Math.abs(actual - expected) <= 1e-9 * Math.max(1, Math.abs(expected));
  }
  return JSON.stringify(actual) === JSON.stringify(expected);
}

function sorted(record: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.fromEntries(Object.entries(record).toSorted()));
}
