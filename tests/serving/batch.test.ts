import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { createApiKey } from "../../runtime/api_keys.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { createApp, type GeophoneApp, serve } from "../../server.ts";
import { findJobPaths } from "../../serving/batch/directory.ts";
import { Jobs } from "../../serving/batch/jobs.ts";
import { HttpError } from "../../serving/http_error.ts";
import type { ServingParams } from "../../serving/params.ts";
import { registerTestModel, testRecord } from "../model_fixture.ts";

interface Bench {
  readonly store: Store;
  readonly app: GeophoneApp;
  /** The batch directory. */
  readonly dir: string;
  post(body: unknown, headers?: Record<string, string>): Promise<Response>;
  // deno-lint-ignore no-explicit-any
  finish(id: string, headers?: Record<string, string>): Promise<any>;
}

async function withBench(
  options: { readonly isWindowed?: boolean; readonly serving?: Partial<ServingParams> },
  action: (bench: Bench) => Promise<void>,
): Promise<void> {
  const outer = await Deno.makeTempDir();
  const dir = `${outer}/batch`;
  await Deno.mkdir(dir);
  try {
    await using store = await openStore(":memory:");
    await registerTestModel(store, { isWindowed: options.isWindowed ?? false, kind: "trees" });
    await using app = await createApp({
      store,
      model: "rocks",
      quiet: true,
      serving: { batchDirectory: dir, ...options.serving },
    });
    const ended = new Set(["succeeded", "failed", "cancelled"]);
    await action({
      store,
      app,
      dir,
      post: (body, headers = {}) =>
        app.request("/batch_predict", { method: "POST", body: JSON.stringify(body), headers }),
      async finish(id, headers = {}) {
        for (;;) {
          const job = await (await app.request(`/batch_predict/jobs/${id}`, { headers })).json();
          if (ended.has(job.state) || job.error?.code) return job;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      },
    });
  } finally {
    await Deno.remove(outer, { recursive: true });
  }
}

/** A CSV of test records. */
function makeCsv(rows: number, hasDepth = false): string {
  const records = Array.from({ length: rows }, (_, i) => testRecord(i, hasDepth));
  const lines = records.map((record) => Object.values(record).map((v) => v ?? "").join(","));
  return `${Object.keys(records[0]).join(",")}\n${lines.join("\n")}\n`;
}

const listFiles = (dir: string) => [...Deno.readDirSync(dir)].map(({ name }) => name).sort();

for (const isWindowed of [false, true]) {
  Deno.test(`POST /batch_predict of a path answers like one body, windowed: ${isWindowed}`, () =>
    withBench({ isWindowed }, async ({ store, app, dir, post, finish }) => {
      const rows = 5000;
      await Deno.writeTextFile(`${dir}/in.csv`, makeCsv(rows, isWindowed));
      const taken = await post({ path: "in.csv", output: "out.parquet", slice: "P-1" }, {
        "x-request-id": "night",
      });
      assertEquals([taken.status, taken.headers.get("location")], [
        202,
        "/batch_predict/jobs/night",
      ]);
      const first = await taken.json();
      assertEquals([first.job, first.rows_written], ["night", 0]);
      assert(["queued", "running"].includes(first.state), first.state);
      const job = await finish("night");
      assertEquals([job.state, job.error], ["succeeded", null]);
      assertEquals([job.rows, job.rows_read, job.rows_written], [rows, rows, rows]);
      assertEquals([job.model, job.version, job.path], ["rocks", 1, "in.csv"]);
      assertEquals(listFiles(dir), ["in.csv", "out.parquet"]);

      const records = Array.from({ length: rows }, (_, i) => testRecord(i, isWindowed));
      const inline = await (await app.request("/batch_predict", {
        method: "POST",
        body: JSON.stringify({ records, include_probabilities: true }),
      })).json();
      const written = await store.query(`select * from '${dir}/out.parquet'`);
      assertEquals(
        written.map((row) => [row.prediction, Math.fround(row.confidence as number)]),
        inline.predictions.map((p: { label: string; confidence: number }) => [
          p.label,
          Math.fround(p.confidence),
        ]),
      );

      // Monitoring sees each record once, with its values, in one request per chunk.
      const [logged] = await store.query(
        `select count(*) as n, count(distinct (request_id, row)) as distinct_rows,
           min(slice) as slice, count(distinct request_id) > 1 as is_in_parts
         from inferences where request_id like 'night#%'`,
      );
      assertEquals(logged, { n: rows, distinct_rows: rows, slice: "P-1", is_in_parts: true });
      const [same] = await store.query<{ n: number }>(
        `select count(*) as n from inferences a join inferences b on b.request_id = '${inline.request_id}'
           and map_values(a.features) is not distinct from map_values(b.features)
           and a.order_value is not distinct from b.order_value and a.label = b.label
         where a.request_id like 'night#%'`,
      );
      assert(same.n >= rows, `${same.n}`);
      assertEquals(
        await store.query(
          "select status_code, row_count, alias from requests where request_id = 'night'",
        ),
        [{ status_code: 202, row_count: 0, alias: "production" }],
      );
    }));
}

Deno.test("POST /batch_predict of a path logs requests alone when logBatch is off, and reports findings", () =>
  withBench({ serving: { logBatch: false } }, async ({ store, dir, post, finish }) => {
    await Deno.writeTextFile(`${dir}/in.csv`, "GR,RHOB\n-5,2.4\n50,2.5\n");
    const { job: id } = await (await post({ path: "in.csv", output: "out.csv" })).json();
    const job = await finish(id);
    assertEquals([job.state, job.missing], ["succeeded", ["NPHI"]]);
    assertStringIncludes(job.findings[0].message, "1 of 2 values of GR lie outside [0, 300]");
    assertEquals(await store.query("select * from inferences"), []);
    assertEquals(await store.query("select row_count from requests where request_id like '%#1'"), [
      { row_count: 2 },
    ]);
  }));

Deno.test("POST /batch_predict of a path fails as a job when the file is wrong, and says why", () =>
  withBench({ isWindowed: true }, async ({ dir, post, finish }) => {
    await Deno.writeTextFile(`${dir}/a.csv`, "GR,RHOB\n1,2\n");
    await Deno.writeTextFile(`${dir}/b.csv`, "x,y\n1,2\n");
    await Deno.writeTextFile(`${dir}/c.csv`, "");
    await Deno.writeTextFile(`${dir}/d.csv`, "DEPT,GR\n1,2\n1,2,3\n");
    for (
      const [path, message] of [
        ["a.csv", 'Cannot predict "a.csv": it lacks the column "DEPT"'],
        ["b.csv", 'Cannot predict "b.csv": it has none of the columns GR, RHOB, NPHI'],
        ["c.csv", 'Cannot read "c.csv": the file is empty'],
        ["d.csv", "line 3 has 3 cells"],
      ]
    ) {
      const { job: id } = await (await post({ path, output: "out.csv" })).json();
      const job = await finish(id);
      assertEquals([job.state, job.rows_written], ["failed", 0]);
      assertStringIncludes(job.error, message);
      assert(!job.error.includes(dir), job.error);
    }
    assertEquals(listFiles(dir), ["a.csv", "b.csv", "c.csv", "d.csv"]);
  }));

Deno.test("POST /batch_predict refuses every path that is no plain file of the directory", async (t) => {
  await withBench({}, async ({ dir, post, store }) => {
    const outside = `${dir}/../secret.csv`;
    await Deno.writeTextFile(outside, "GR\n1\n");
    await Deno.writeTextFile(`${dir}/in.csv`, "GR\n1\n");
    await Deno.writeTextFile(`${dir}/there.csv`, "mine");
    await Deno.mkdir(`${dir}/sub`);
    await Deno.mkdir(`${dir}/../other`);
    await Deno.symlink("../secret.csv", `${dir}/link.csv`);
    await Deno.symlink("../other", `${dir}/away`);
    await Deno.symlink("/etc", `${dir}/etc`);
    await Deno.symlink("in.csv", `${dir}/alias.csv`);
    await Deno.symlink("nowhere.csv", `${dir}/dangling.csv`);
    await Deno.link(`${dir}/in.csv`, `${dir}/twin.csv`);
    const good = { path: "in.csv", output: "out.csv" };
    for (
      const [body, message] of [
        [{ path: "../secret.csv" }, "an empty part or one that begins"],
        [{ path: "sub/../../secret.csv" }, "an empty part or one that begins"],
        [{ path: outside }, "it is absolute"],
        [{ path: "/etc/passwd" }, "it is absolute"],
        [{ path: "in.csv\0.parquet" }, "control characters"],
        [{ path: "in\n.csv" }, "control characters"],
        [{ path: "..\\secret.csv" }, 'it has "\\" or ":"'],
        [{ path: "C:/in.csv" }, 'it has "\\" or ":"'],
        [{ path: "file:///etc/passwd" }, 'it has "\\" or ":"'],
        [{ path: "*.csv" }, "characters of a pattern"],
        [{ path: "./in.csv" }, "an empty part or one that begins"],
        [{ path: "sub//in.csv" }, "an empty part or one that begins"],
        [{ path: ".hidden.csv" }, "an empty part or one that begins"],
        [{ path: "x".repeat(1001) }, "longer than 1000"],
        [{ path: "" }, "Cannot read the body"],
        [{ path: 7 }, "Cannot read the body"],
        [{ path: "gone.csv" }, "there is no such file"],
        [{ path: "sub" }, "it is no file"],
        [{ path: "link.csv" }, "it leads out"],
        [{ path: "etc/passwd" }, "it leads out"],
        [{ path: "dangling.csv" }, "there is no such file"],
        [{ output: "../out.csv" }, "an empty part or one that begins"],
        [{ output: "/elsewhere/out.csv" }, "it is absolute"],
        [{ output: "away/out.csv" }, "it leads out"],
        [{ output: "nowhere/out.csv" }, "there is no such file or folder"],
        [{ output: "in.csv/out.csv" }, "it cannot be written"],
        [{ output: "in.csv", overwrite: true }, "it is the input"],
        [{ output: "twin.csv", overwrite: true }, "it is the input"],
        [{ output: "alias.csv", overwrite: true }, "it is a symbolic link"],
        [{ output: "dangling.csv", overwrite: true }, "it is a symbolic link"],
        [{ output: "sub", overwrite: true }, "it is no file"],
        [{ output: "there.csv" }, "it is there already"],
        [{ output: "out.xlsx" }, "the ending must be one of"],
        [{ output: undefined }, "Cannot read the body"],
        [{ records: [] }, "Cannot read the body"],
        [{ slice: "" }, "Cannot read the body"],
      ] as const
    ) {
      await t.step(JSON.stringify(body).slice(0, 60), async () => {
        const response = await post({ ...good, ...body });
        const { error } = await response.json();
        assertEquals([response.status, error.code], [422, "invalid_input"]);
        assertStringIncludes(error.message, message);
        const isAsked = JSON.stringify(body).includes(dir);
        assert(isAsked || !error.message.includes(dir), error.message);
      });
    }
    assertEquals(await Deno.readTextFile(`${dir}/there.csv`), "mine");
    assertEquals(await Deno.readTextFile(`${dir}/in.csv`), "GR\n1\n");
    assertEquals(listFiles(`${dir}/../other`), []);
    assertEquals(await store.query("select * from inferences"), []);
  });
});

Deno.test("findJobPaths() follows links that stay inside, and overwrites when told so", () =>
  withBench({}, async ({ dir }) => {
    await Deno.mkdir(`${dir}/sub`);
    await Deno.writeTextFile(`${dir}/sub/in.csv`, "GR\n1\n");
    await Deno.writeTextFile(`${dir}/out.csv`, "old");
    await Deno.symlink("sub", `${dir}/here`);
    const root = await Deno.realPath(dir);
    assertEquals(
      await findJobPaths(dir, { path: "here/in.csv", output: "here/new.csv", overwrite: false }),
      { root, input: "sub/in.csv", output: `${root}/sub/new.csv` },
    );
    const over = { path: "here/in.csv", output: "out.csv", overwrite: true };
    assertEquals((await findJobPaths(dir, over)).output, `${root}/out.csv`);
    await assertRejects(() => findJobPaths(`${dir}/none`, over), HttpError, "is not there");
  }));

Deno.test("POST /batch_predict of a path says what to set when there is no directory", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const body = JSON.stringify({ path: "in.csv", output: "out.csv" });
  const response = await app.request("/batch_predict", { method: "POST", body });
  assertEquals(response.status, 422);
  assertStringIncludes((await response.json()).error.message, 'set "serving.batchDirectory"');
});

Deno.test("DELETE /batch_predict/jobs/{id} cancels a job without half an output; others wait their turn", () =>
  withBench({}, async ({ app, dir, post, finish }) => {
    await Deno.writeTextFile(`${dir}/in.csv`, makeCsv(30_000));
    const start = async (output: string) =>
      (await (await post({ path: "in.csv", output })).json()) as { job: string; state: string };
    const running = await start("a.csv");
    const waiting = await start("b.csv");
    const last = await start("c.csv");
    assertEquals([running.state, waiting.state], ["running", "queued"]);
    const twice = await post({ path: "in.csv", output: "c.csv" });
    assertEquals(twice.status, 422);
    assertStringIncludes((await twice.json()).error.message, "another one writes to the same");
    const cancel = async (id: string) =>
      await (await app.request(`/batch_predict/jobs/${id}`, { method: "DELETE" })).json();
    assertEquals((await cancel(waiting.job)).state, "cancelled");
    await cancel(running.job);
    const ended = await finish(running.job);
    assertEquals([ended.state, ended.error], ["cancelled", "cancelled by a client"]);
    const done = await finish(last.job);
    assertEquals([done.state, done.rows_written], ["succeeded", 30_000]);
    assertEquals((await cancel(last.job)).state, "succeeded");
    assertEquals(listFiles(dir), ["c.csv", "in.csv"]);
    const { jobs } = await (await app.request("/batch_predict/jobs")).json();
    assertEquals(jobs.map(({ state }: { state: string }) => state), [
      "cancelled",
      "cancelled",
      "succeeded",
    ]);
    const missing = await app.request("/batch_predict/jobs/none");
    assertEquals((await missing.json()).error.code, "not_found");
    const wrong = await app.request(`/batch_predict/jobs/${last.job}`, { method: "PUT" });
    assertEquals([wrong.status, wrong.headers.get("allow")], [405, "GET, HEAD, DELETE"]);
    await wrong.body?.cancel();
  }));

Deno.test("a server that ends cancels its jobs and leaves no half output", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await using store = await openStore(":memory:");
    await registerTestModel(store);
    await Deno.writeTextFile(`${dir}/in.csv`, makeCsv(30_000));
    const serving = { port: 0, batchDirectory: dir };
    const served = await serve({ store, model: "rocks", quiet: true, serving });
    const body = JSON.stringify({ path: "in.csv", output: "out.csv" });
    const response = await fetch(`${served.url}/batch_predict`, { method: "POST", body });
    assertEquals(response.status, 202);
    await response.body?.cancel();
    await served.shutdown();
    assertEquals(listFiles(dir), ["in.csv"]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a job waits for the limits of its key, and other keys do not see it", () =>
  withBench({}, async ({ store, app, dir, post, finish }) => {
    const [mine, other, boss] = await Promise.all([
      createApiKey(store, { name: "mine", role: "predictor", rowsPerMinute: 6000 }),
      createApiKey(store, { name: "other", role: "predictor" }),
      createApiKey(store, { name: "boss", role: "operator" }),
    ]);
    await app.refresh();
    const as = (key: { secret: string }) => ({ "x-api-key": key.secret });
    await Deno.writeTextFile(`${dir}/in.csv`, makeCsv(6100));
    const { job: id } = await (await post({ path: "in.csv", output: "out.csv" }, as(mine))).json();
    const look = async (key: { secret: string }) =>
      (await app.request(`/batch_predict/jobs/${id}`, { headers: as(key) })).status;
    assertEquals([await look(mine), await look(other), await look(boss)], [200, 404, 200]);
    const { jobs } = await (await app.request("/batch_predict/jobs", { headers: as(other) }))
      .json();
    assertEquals(jobs, []);
    const foreign = await app.request(`/batch_predict/jobs/${id}`, {
      method: "DELETE",
      headers: as(other),
    });
    assertEquals(foreign.status, 404);
    await foreign.body?.cancel();
    const job = await finish(id, as(mine));
    assertEquals([job.state, job.rows_written], ["succeeded", 6100]);
    const [{ limited, logged }] = await store.query(
      `select count(*) filter (status_code = 429) > 0 as limited,
         sum(row_count) filter (status_code = 200) as logged
       from requests where request_id like '${id}#%' and requester = 'mine'`,
    );
    assertEquals([limited, logged], [true, 6100]);
  }));

Deno.test("a job fails when its key may never send a chunk of it", () =>
  withBench({}, async ({ store, app, dir, post, finish }) => {
    const key = await createApiKey(store, { name: "few", role: "predictor", rowsPerMinute: 100 });
    await app.refresh();
    const headers = { "x-api-key": key.secret };
    await Deno.writeTextFile(`${dir}/in.csv`, makeCsv(101));
    const { job: id } = await (await post({ path: "in.csv", output: "out.csv" }, headers)).json();
    const job = await finish(id, headers);
    assertEquals(job.state, "failed");
    assertStringIncludes(job.error, "101");
    assertEquals(listFiles(dir), ["in.csv"]);
  }));

Deno.test("Jobs keeps the last that ended, refuses more than may wait, and none when closed", async () => {
  const jobs = new Jobs({ maxRunning: 1, maxQueued: 1, maxEnded: 2 });
  const released: string[] = [];
  const add = (id: string, run: (signal: AbortSignal) => Promise<void>) =>
    jobs.add({
      id,
      requester: null,
      output: id,
      details: {},
      run,
      release: () => void released.push(id),
    });
  const hang = (signal: AbortSignal) =>
    new Promise<void>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  add("a", hang);
  add("b", () => Promise.reject(new Error("Broken")));
  const full = await assertRejects(
    () => Promise.reject(catchError(() => add("c", hang))),
    HttpError,
  );
  assertEquals(full.status, 503);
  jobs.cancel("a", "not wanted");
  while (jobs.get("b")?.state !== "failed") await new Promise((resolve) => setTimeout(resolve, 1));
  assertEquals([jobs.get("a")?.error, jobs.get("b")?.error], ["not wanted", "Broken"]);
  add("d", () => Promise.resolve());
  await jobs.close();
  assertEquals(jobs.list().map(({ id, state }) => [id, state]), [["b", "failed"], [
    "d",
    "succeeded",
  ]]);
  assertEquals(released, ["a", "b", "d"]);
  assertStringIncludes(String(catchError(() => add("e", hang))), "the server is ending");
});

function catchError(action: () => unknown): unknown {
  try {
    return action();
  } catch (error) {
    return error;
  }
}
