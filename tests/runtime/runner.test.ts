import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import { type Finding, Plugins } from "../../plugins/plugin.ts";
import type { Config } from "../../runtime/config.ts";
import { UsageError } from "../../runtime/errors.ts";
import {
  type AnyStage,
  openRun,
  PipelineStop,
  type Run,
  type RunOptions,
  StageError,
} from "../../runtime/runner.ts";
import { defineStage } from "../../runtime/stage.ts";
import { openStore, type Step, type Store } from "../../runtime/store/store.ts";

/** Three stages that add, multiply and describe, and what they did. */
function makeStages(calls: string[] = []) {
  const one = defineStage<void, { value: number }, { start: number }>({
    name: "one",
    summary: "starts",
    params: z.strictObject({ start: z.number().default(1) }),
    run(_input, { start }, context) {
      calls.push("one");
      context.log("start", start);
      return Promise.resolve({ value: start });
    },
    describe: ({ value }) => `value ${value}`,
  });
  const two = defineStage<{ value: number }, { value: number }, { factor: number }>({
    name: "two",
    summary: "multiplies",
    params: z.strictObject({ factor: z.number().default(10) }),
    run({ value }, { factor }, context) {
      calls.push("two");
      context.report({ check: "range", severity: "warning", message: "high", subject: "GR" });
      context.log("product", value * factor, 3);
      context.log("nothing", NaN);
      return Promise.resolve({ value: value * factor });
    },
  });
  const three = defineStage<{ value: number }, string, unknown>({
    name: "three",
    summary: "writes",
    params: z.strictObject({}),
    run({ value }) {
      calls.push("three");
      return Promise.resolve(`is ${value}`);
    },
  });
  return { one, two, three, list: [one, two, three] as readonly AnyStage[] };
}

type Stages = ReturnType<typeof makeStages>;

async function runAll(run: Run, { one, two, three }: Stages): Promise<string> {
  return await run(three, await run(two, await run(one)));
}

function makeConfig(sections: Record<string, unknown> = {}, more: Partial<Config> = {}): Config {
  return {
    version: 1,
    name: "test",
    store: ":memory:",
    seed: 42,
    plugins: [],
    environment: "dev",
    sections: { one: { start: 1 }, two: { factor: 10 }, three: {}, ...sections },
    ...more,
  };
}

/** Opens, runs and finishes; gives the run, its answer and its error. */
async function execute(
  store: Store,
  stages: Stages,
  options: Partial<RunOptions> = {},
): Promise<{ run: Run; answer?: string; failure?: Error; lines: string[] }> {
  const run = await openRun({
    config: makeConfig(),
    store,
    plugins: new Plugins(),
    stages: stages.list,
    request: () => Promise.reject(new Error("No server in this test")),
    ...options,
  });
  let answer: string | undefined;
  let failure: unknown;
  try {
    answer = await runAll(run, stages);
  } catch (error) {
    failure = error;
  }
  await run.finish(failure);
  const lines = run.results.map(({ stage, status, reason }) => `${stage} ${status}: ${reason}`);
  return {
    run,
    lines,
    ...(answer === undefined ? {} : { answer }),
    ...(failure === undefined ? {} : { failure: failure as Error }),
  };
}

Deno.test("openRun() runs every stage the first time and none the second", async () => {
  await using store = await openStore(":memory:");
  const calls: string[] = [];
  const stages = makeStages(calls);
  const first = await execute(store, stages);
  assertEquals(first.answer, "is 10");
  assertEquals(first.lines, [
    "one done: first run",
    "two done: first run",
    "three done: first run",
  ]);
  assertEquals(first.run.results[0].summary, "value 1");
  const second = await execute(store, stages);
  assertEquals(second.answer, "is 10");
  assertEquals(
    second.lines,
    ["one", "two", "three"].map((name) => `${name} cached: unchanged since run ${first.run.id}`),
  );
  assertEquals(second.run.results[0].summary, "value 1");
  assertEquals(calls, ["one", "two", "three"]);
  assertEquals(await store.query("select count(*) as n from stage_runs"), [{ n: 3 }]);
  assertEquals(
    await store.query("select status, error, seed from runs order by started_at"),
    [1, 2].map(() => ({ status: "done", error: null, seed: 42 })),
  );
});

Deno.test("openRun() hands out what it took from the cache, not what ran last", async () => {
  await using store = await openStore(":memory:");
  const stages = makeStages();
  const other = { config: makeConfig({ two: { factor: 3 } }) };
  const outputs = async (
    options: Partial<RunOptions>,
  ) => [...(await execute(store, stages, options)).run.outputs.values()];
  assertEquals(await outputs({}), [{ value: 1 }, { value: 10 }, "is 10"]);
  assertEquals(await outputs(other), [{ value: 1 }, { value: 3 }, "is 3"]);
  assertEquals(await outputs({}), [{ value: 1 }, { value: 10 }, "is 10"]);
});

Deno.test("openRun() says why a stage runs again", async () => {
  await using store = await openStore(":memory:");
  const stages = makeStages();
  await execute(store, stages);
  const factor = makeConfig({ two: { factor: 20 } });
  assertEquals((await execute(store, stages, { config: factor })).lines.slice(1), [
    "two done: parameters changed: factor",
    "three done: input changed",
  ]);
  const both = makeConfig({ one: { start: 2 }, two: { factor: 30 } });
  assertEquals((await execute(store, stages, { config: both })).lines, [
    "one done: parameters changed: start",
    "two done: input changed, parameters changed: factor",
    "three done: input changed",
  ]);
  // What ran before the last time is remembered, too.
  const back = await execute(store, stages);
  assertEquals(back.run.results.map(({ status }) => status), ["cached", "cached", "cached"]);
  const name = await execute(store, stages, { config: makeConfig({}, { name: "other" }) });
  assertEquals(name.lines[0], "one done: first run");
});

Deno.test("openRun() runs a stage again when its code is another", async () => {
  await using store = await openStore(":memory:");
  await execute(store, makeStages());
  const other = makeStages();
  const changed: Stages = {
    ...other,
    three: { ...other.three, run: ({ value }) => Promise.resolve(`was ${value}`) },
  };
  const code = await execute(store, changed);
  assertEquals([code.answer, code.lines[2]], ["was 10", "three done: code changed"]);
});

Deno.test("openRun() runs every stage again when the seed is another", async () => {
  await using store = await openStore(":memory:");
  const stages = makeStages();
  await execute(store, stages);
  const { lines } = await execute(store, stages, { config: makeConfig({}, { seed: 7 }) });
  assertEquals(lines, ["one", "two", "three"].map((name) => `${name} done: seed changed`));
});

Deno.test("openRun() runs again when a third-party plugin's file differs", async () => {
  const dir = await Deno.makeTempDir();
  await using store = await openStore(":memory:");
  try {
    const stages = makeStages();
    for (const name of ["a", "b"]) {
      await Deno.mkdir(`${dir}/${name}`);
      await Deno.writeTextFile(`${dir}/${name}/mine.ts`, `export default "${name}";`);
    }
    const config = makeConfig({}, { plugins: ["./mine.ts"] });
    await execute(store, stages, { config, baseDir: `${dir}/a` });
    const same = await execute(store, stages, { config, baseDir: `${dir}/a` });
    assertEquals(same.run.results[0].status, "cached");
    const other = await execute(store, stages, { config, baseDir: `${dir}/b` });
    assertEquals(other.lines[0], "one done: code changed");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("openRun() runs a stage again when a plugin that it depends on is another", async () => {
  await using store = await openStore(":memory:");
  const stages = makeStages();
  const list = stages.list.map((stage) =>
    stage.name === "two"
      ? Object.assign(stage, {
        dependsOn: (_params: unknown, plugins: Plugins) =>
          plugins.list("alert").map(({ sql }) => sql),
      })
      : stage
  );
  const withAlert = (sql: string) => ({
    stages: list,
    plugins: new Plugins([
      { kind: "alert", name: "a", summary: "one", severity: "info", empty: "ok", sql },
    ]),
  });
  await execute(store, stages, withAlert("select 1"));
  const same = await execute(store, stages, withAlert("select 1"));
  assertEquals(same.run.results.map(({ status }) => status), ["cached", "cached", "cached"]);
  const other = await execute(store, stages, withAlert("select 2"));
  assertEquals(other.run.results.map(({ status }) => status), ["cached", "done", "cached"]);
  assertEquals(other.run.results[1].reason, "plugins changed");
});

Deno.test("openRun() takes a stage's code from its module", async () => {
  const dir = await Deno.makeTempDir();
  await using store = await openStore(":memory:");
  try {
    const at = async (name: string) => {
      await Deno.writeTextFile(`${dir}/${name}.ts`, `export const name = "${name}";`);
      const stages = makeStages();
      const one = { ...stages.one, module: pathToFileURL(`${dir}/${name}.ts`).href };
      return (await execute(store, { ...stages, one })).lines[0].replace(/run .*/, "run …");
    };
    assertEquals(await at("a"), "one done: first run");
    assertEquals(await at("a"), "one cached: unchanged since run …");
    assertEquals(await at("b"), "one done: code changed");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("openRun() runs a stage again when what it made is gone or cannot be checked", async () => {
  await using store = await openStore(":memory:");
  const calls: string[] = [];
  let check: () => Promise<boolean> = () => Promise.resolve(true);
  const stages = makeStages(calls);
  const two = { ...stages.two, isCurrent: () => check() };
  const list = [stages.one, two, stages.three];
  const statuses = async () =>
    (await execute(store, { ...stages, two, list })).run.results.map(({ status }) => status);
  assertEquals(await statuses(), ["done", "done", "done"]);
  assertEquals(await statuses(), ["cached", "cached", "cached"]);
  check = () => Promise.resolve(false);
  const gone = await execute(store, { ...stages, two, list });
  assertEquals(gone.lines[1], "two done: what it made is gone or out of date");
  assertEquals(gone.run.results[2].status, "cached");
  check = () => Promise.reject(new Error("No such table"));
  assertEquals(await statuses(), ["cached", "done", "cached"]);
});

Deno.test("run() gives on JSON, so that a cached output is what the first run had", async () => {
  await using store = await openStore(":memory:");
  const odd = defineStage<void, Record<string, unknown>, unknown>({
    name: "odd",
    summary: "gives what JSON lacks",
    params: z.strictObject({}),
    run: () => Promise.resolve({ at: new Date(0), none: undefined, nan: NaN, list: [undefined] }),
  });
  const nothing = defineStage<void, void, unknown>({
    name: "nothing",
    summary: "gives nothing",
    params: z.strictObject({}),
    run: () => Promise.resolve(),
    describe: () => "described",
  });
  const outputs = [];
  for (let i = 0; i < 2; i++) {
    const run = await openRun({
      config: makeConfig(),
      store,
      plugins: new Plugins(),
      stages: [odd, nothing],
      request: () => Promise.reject(new Error("No server")),
    });
    outputs.push([await run(odd), await run(nothing)]);
    assertEquals(run.results.map(({ summary }) => summary), ["", ""]);
    await run.finish();
  }
  const expected = { at: "1970-01-01T00:00:00.000Z", nan: null, list: [null] };
  for (const [first, second] of outputs) {
    assertEquals(JSON.stringify(first), JSON.stringify(expected));
    assertEquals(second, null);
  }
});

Deno.test("openRun() takes what lies before --from from the last run and stops after --to", async () => {
  await using store = await openStore(":memory:");
  const calls: string[] = [];
  const stages = makeStages(calls);
  const first = await execute(store, stages);
  calls.length = 0;
  const from = await execute(store, stages, { selection: { from: "two" } });
  assertEquals(from.answer, "is 10");
  assertEquals(from.lines, [
    `one skipped: taken from run ${first.run.id}`,
    "two done: asked for by --from",
    `three cached: unchanged since run ${first.run.id}`,
  ]);
  assertEquals(calls, ["two"]);
  const only = await execute(store, stages, { selection: { from: "two", to: "two" } });
  assert(only.failure instanceof PipelineStop);
  assertEquals(only.run.results.map(({ status }) => status), ["skipped", "done"]);
  const to = await execute(store, stages, { selection: { to: "one" } });
  assert(to.failure instanceof PipelineStop);
  assertEquals(to.run.results.map(({ stage, status }) => `${stage} ${status}`), ["one cached"]);
  assertEquals(await store.query("select distinct status, error from runs"), [
    { status: "done", error: null },
  ]);
  const old = await execute(store, stages, {
    selection: { from: "three" },
    config: makeConfig({ one: { start: 5 } }),
  });
  assertEquals(old.lines.map((line) => line.replace(/run [\w-]+/, "run …")), [
    "one skipped: taken from run …, though out of date",
    "two skipped: taken from run …",
    "three done: asked for by --from",
  ]);
});

Deno.test("openRun() explains when a selection names what is not there or never ran", async () => {
  await using store = await openStore(":memory:");
  const stages = makeStages();
  for (const selection of [{ from: "four" }, { to: "four" }]) {
    await assertRejects(
      () => execute(store, stages, { selection }),
      UsageError,
      'Cannot find stage "four": there are one, two, three',
    );
  }
  assertEquals(await store.query("from runs"), []);
  const { failure } = await execute(store, stages, { selection: { from: "two" } });
  assert(failure instanceof UsageError);
  assertStringIncludes(failure.message, 'stage "one" has never finished');
  assertEquals(await store.query("select status from runs"), [{ status: "failed" }]);
});

Deno.test("openRun() says what would run and changes nothing when it is a dry run", async () => {
  await using store = await openStore(":memory:");
  const calls: string[] = [];
  const stages = makeStages(calls);
  const dry = { selection: { isDryRun: true } };
  const empty = await execute(store, stages, dry);
  assert(empty.failure instanceof PipelineStop);
  assertEquals(empty.lines, [
    "one would run: first run",
    "two would run: follows one",
    "three would run: follows two".replace("two", "one"),
  ]);
  for (const table of ["runs", "stage_runs", "metrics"]) {
    assertEquals(await store.query(`from ${table}`), [], table);
  }
  await execute(store, stages);
  calls.length = 0;
  const config = makeConfig({ two: { factor: 3 } });
  const partly = await execute(store, stages, {
    config,
    selection: { isDryRun: true, to: "two" },
  });
  assertEquals(partly.lines.slice(1), ["two would run: parameters changed: factor"]);
  const cached = await execute(store, stages, dry);
  assertEquals(cached.run.results.map(({ status }) => status), ["cached", "cached", "cached"]);
  assertEquals(calls, []);
  assertEquals(await store.query("select count(*) as n from runs"), [{ n: 1 }]);
});

Deno.test("openRun() records a failed stage with its error, metrics and findings", async () => {
  await using store = await openStore(":memory:");
  const stages = makeStages();
  const shown: Finding[] = [];
  const broken: Stages = {
    ...stages,
    two: {
      ...stages.two,
      async run(input, params, context) {
        await stages.two.run(input, params, context);
        context.report({
          check: "rows",
          severity: "error",
          message: "bad rows",
          rows: [{ id: 12345678901234567890n }],
        });
        throw new RangeError("Cannot divide", { cause: new Error("The divisor is zero") });
      },
    },
  };
  const { failure, run } = await execute(store, broken, {
    reporter: { finding: (finding) => shown.push(finding) },
  });
  assert(failure instanceof StageError);
  assertEquals([failure.stage, failure.message], ["two", 'Cannot finish stage "two"']);
  assert(failure.cause instanceof RangeError);
  assertEquals(run.results.map(({ stage, status }) => `${stage} ${status}`), [
    "one done",
    "two failed",
  ]);
  assertEquals(run.findings.map(({ check }) => check), ["range", "rows"]);
  assertEquals(shown, [...run.findings]);
  assertEquals(
    await store.query("select stage, status, error from stage_runs order by started_at"),
    [
      { stage: "one", status: "done", error: null },
      { stage: "two", status: "failed", error: "Cannot divide: The divisor is zero" },
    ],
  );
  assertEquals(await store.query("select status, error from runs"), [
    { status: "failed", error: 'Cannot finish stage "two": Cannot divide: The divisor is zero' },
  ]);
  assertEquals(
    await store.query(
      "select run_id, stage, check_name, severity, subject, message, rows from findings order by check_name",
    ),
    [
      {
        run_id: run.id,
        stage: "two",
        check_name: "range",
        severity: "warning",
        subject: "GR",
        message: "high",
        rows: null,
      },
      {
        run_id: run.id,
        stage: "two",
        check_name: "rows",
        severity: "error",
        subject: null,
        message: "bad rows",
        rows: '[{"id":"12345678901234567890"}]',
      },
    ],
  );
  // The next run goes on: what was done is kept, what failed is no cache.
  const next = await execute(store, stages);
  assertEquals(next.run.results.map(({ status }) => status), ["cached", "done", "done"]);
  assertEquals(next.lines[1], "two done: first run");
});

Deno.test("openRun() fails a stage whose output is no JSON", async () => {
  await using store = await openStore(":memory:");
  const stages = makeStages();
  const loop: Record<string, unknown> = {};
  loop.self = loop;
  for (const output of [{ n: 1n }, loop]) {
    const one = { ...stages.one, run: () => Promise.resolve(output as never) };
    const { failure } = await execute(store, { ...stages, one });
    assert(failure instanceof StageError && failure.cause instanceof TypeError);
  }
  assertEquals(await store.query("select distinct stage, status from stage_runs"), [
    { stage: "one", status: "failed" },
  ]);
});

Deno.test("openRun() writes a stage's row, metrics and findings in one transaction", async () => {
  await using store = await openStore(":memory:");
  const transactions: (readonly Step[])[] = [];
  let isFull = false;
  const watched: Store = {
    path: store.path,
    isOwner: true,
    query: (sql, params) => store.query(sql, params),
    readColumns: (sql, params) => store.readColumns(sql, params),
    queryReadOnly: (sql, limits) => store.queryReadOnly(sql, limits),
    check: () => store.check(),
    onCommit: (listener) => store.onCommit(listener),
    interruptReads: (reason) => store.interruptReads(reason),
    holdBack: (settle) => store.holdBack(settle),
    recoveries: [],
    close: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
    async transaction(steps) {
      if (isFull && steps.some((step) => "sql" in step && /core\.metrics/.test(step.sql))) {
        throw new Error("No space left");
      }
      transactions.push(steps);
      await store.transaction(steps);
    },
  };
  await execute(watched, makeStages(), { selection: { to: "two" } });
  const tables = transactions.map((steps) =>
    steps.map((step) =>
      "sql" in step ? step.sql.match(/core\.\w+/)![0] : "append" in step && step.append
    )
  );
  assertEquals(tables.slice(1, -1), [
    ["core.stage_runs", "core.metrics"],
    ["core.stage_runs", "core.metrics", "core.metrics", "core.findings"],
  ]);
  assertEquals(
    await store.query("select stage, metric, value, step from metrics order by metric"),
    [
      { stage: "two", metric: "nothing", value: null, step: 0 },
      { stage: "two", metric: "product", value: 10, step: 3 },
      { stage: "one", metric: "start", value: 1, step: 0 },
    ],
  );
  isFull = true;
  const config = makeConfig({ one: { start: 2 } });
  const { failure } = await execute(watched, makeStages(), { config });
  assert(failure instanceof StageError);
  assertEquals(failure.stage, "one");
  assertEquals((failure.cause as Error).message, "No space left");
  const [{ n }] = await store.query("select count(*) as n from stage_runs where status = 'done'");
  assertEquals(n, 2);
});

Deno.test("openRun() ends as cancelled when its signal is aborted within or between stages", async () => {
  for (const place of ["one", "two"]) {
    await using store = await openStore(":memory:");
    const controller = new AbortController();
    const stages = makeStages();
    const stopping: Stages = {
      ...stages,
      one: {
        ...stages.one,
        run(input, params, context) {
          controller.abort(new Error("Stopped by SIGINT"));
          if (place === "one") context.signal.throwIfAborted();
          return stages.one.run(input, params, context);
        },
      },
    };
    const { failure, run } = await execute(store, stopping, { signal: controller.signal });
    assert(failure instanceof StageError);
    assertEquals(run.results.at(-1)!.status, "cancelled");
    assertEquals(failure.stage, place);
    assertEquals((failure.cause as Error).message, "Stopped by SIGINT");
    assertEquals(await store.query("select status from runs"), [{ status: "cancelled" }]);
    assertEquals(
      await store.query("select stage from stage_runs where status = 'done'"),
      place === "one" ? [] : [{ stage: "one" }],
    );
  }
});

Deno.test("openRun() checks every stage before the first one runs", async () => {
  await using store = await openStore(":memory:");
  const calls: string[] = [];
  const stages = makeStages(calls);
  const three = {
    ...stages.three,
    validate(_params: unknown, plugins: Plugins) {
      plugins.get("drift", "no such method");
    },
  };
  await assertRejects(
    () => execute(store, { ...stages, list: [stages.one, stages.two, three] }),
    UsageError,
    'Cannot use three: Cannot find drift "no such method": there are none',
  );
  const strict = { ...stages.two, params: z.strictObject({ factor: z.number() }) };
  await assertRejects(
    () =>
      execute(store, { ...stages, list: [stages.one, strict] }, {
        config: makeConfig({ two: undefined }),
      }),
    UsageError,
    "Cannot use two: factor: expected number",
  );
  assertEquals(calls, []);
  assertEquals(await store.query("from runs"), []);
});

Deno.test("run() gives a stage that no list names its defaults, or says what is wrong", async () => {
  await using store = await openStore(":memory:");
  const { one, two } = makeStages();
  const run = await openRun({
    config: makeConfig({ one: undefined, two: { factor: "x" } }),
    store,
    plugins: new Plugins(),
    stages: [],
    request: () => Promise.reject(new Error("No server")),
  });
  assertEquals(await run(one), { value: 1 });
  await assertRejects(() => run(two, { value: 1 }), UsageError, "Cannot use two: factor: expected");
  await run.finish();
});

Deno.test("openRun() gives a listed stage its defaults when the config has no section of it", async () => {
  await using store = await openStore(":memory:");
  const stages = makeStages();
  const { answer } = await execute(store, stages, { config: makeConfig({}, { sections: {} }) });
  assertEquals(answer, "is 10");
});

Deno.test("openRun() marks runs of its name that a killed process left running", async () => {
  const dir = await Deno.makeTempDir();
  try {
    {
      await using store = await openStore(`${dir}/s.duckdb`);
      const stages = makeStages();
      const open = (name: string) =>
        openRun({
          config: makeConfig({}, { name }),
          store,
          plugins: new Plugins(),
          stages: stages.list,
          request: () => Promise.reject(new Error("No server")),
        });
      const run = await open("test");
      await run(stages.one);
      await open("other");
    }
    await using store = await openStore(`${dir}/s.duckdb`);
    const next = await execute(store, makeStages());
    assertEquals(next.run.results.map(({ status }) => status), ["cached", "done", "done"]);
    assertEquals(await store.query("select name, status from runs order by started_at"), [
      { name: "test", status: "interrupted" },
      { name: "other", status: "running" },
      { name: "test", status: "done" },
    ]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("run() gives an output the method by which a cell draws it, and JSON does not see it", async () => {
  await using store = await openStore(":memory:");
  const stages = makeStages();
  const one = { ...stages.one, display: ({ value }: { value: number }) => `<b>${value}</b>` };
  const run = await openRun({
    config: makeConfig(),
    store,
    plugins: new Plugins(),
    stages: [one],
    request: () => Promise.reject(new Error("No server")),
  });
  const output = await run(one) as { [display: symbol]: () => unknown };
  assertEquals(output[Symbol.for("Jupyter.display")](), {
    "text/plain": "one: value 1",
    "text/html": "<b>1</b>",
  });
  assertEquals(JSON.stringify(output), '{"value":1}');
  await run.finish();
});
