/** A stage's context over a fresh in-memory store, for tests. */
import type { Finding, Plugin } from "../plugins/plugin.ts";
import { Plugins } from "../plugins/plugin.ts";
import type { Context } from "../runtime/stage.ts";
import { openStore } from "../runtime/store/store.ts";

/** A context that remembers what a stage logged and reported. */
export interface TestContext extends Context, AsyncDisposable {
  readonly metrics: Map<string, number>;
  readonly findings: Finding[];
}

/** Opens a context named `test` with seed 42 over an empty in-memory store. */
export async function openTestContext(
  plugins: Iterable<Plugin> = [],
  overrides: Partial<Context> = {},
): Promise<TestContext> {
  const store = await openStore(":memory:");
  const metrics = new Map<string, number>();
  const findings: Finding[] = [];
  return {
    runId: "run-test",
    name: "test",
    environment: "dev",
    seed: 42,
    store,
    plugins: new Plugins(plugins),
    signal: new AbortController().signal,
    baseDir: new URL("..", import.meta.url).pathname,
    request: () => Promise.reject(new Error("Cannot reach a server: this test has none")),
    tell: () => Promise.resolve(new Map()),
    metrics,
    findings,
    log: (metric, value) => void metrics.set(metric, value),
    report: (finding) => void findings.push(finding),
    progress: () => {},
    ...overrides,
    async [Symbol.asyncDispose]() {
      await store.close();
    },
  };
}
