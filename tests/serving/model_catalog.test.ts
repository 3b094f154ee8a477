import { assertEquals, assertStringIncludes } from "@std/assert";
import { openStore } from "../../runtime/store/store.ts";
import { createApp, type GeophoneApp } from "../../server.ts";
import { registerTestModel, testRecord } from "../model_fixture.ts";

// deno-lint-ignore no-explicit-any
type Body = any;

async function withModels(
  action: (app: GeophoneApp, query: (sql: string) => Promise<Body[]>) => Promise<void>,
) {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { seed: 1 });
  await registerTestModel(store, { model: "sands", seed: 2, kind: "trees" });
  await registerTestModel(store, { model: "sands", seed: 3, alias: "challenger" });
  await registerTestModel(store, { model: "hidden", seed: 4 });
  await using app = await createApp({
    store,
    model: "rocks",
    quiet: true,
    serving: { models: ["sands", "unborn"] },
  });
  await action(app, (sql) => store.query(sql));
}

async function post(app: GeophoneApp, path: string, body: unknown): Promise<Body> {
  const response = await app.request(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: response.status, ...await response.json() };
}

const records = { records: [testRecord(1)] };
const tensors = { inputs: [{ name: "input", shape: [1, 3], datatype: "FP32", data: [1, 2, 0.1] }] };

Deno.test("one server answers for several models, in every protocol, and each row has its own model", () =>
  withModels(async (app, query) => {
    const paths = ["", "?model=sands", "?model=sands&alias=challenger", "?model=sands&version=1"];
    for (const [i, path] of paths.entries()) {
      const { status, model, version } = await post(app, `/predict${path}`, records);
      assertEquals([status, model, version], [200, i === 0 ? "rocks" : "sands", i === 2 ? 2 : 1]);
    }
    const sands = await post(app, "/v2/models/sands/infer", tensors);
    assertEquals([sands.model_name, sands.model_version], ["sands", "1"]);
    const rocks = await post(app, "/v2/models/rocks/infer", tensors);
    assertEquals(rocks.model_name, "rocks");
    const challenger = await post(app, "/v2/models/sands@challenger/infer", tensors);
    assertEquals(challenger.model_version, "2");
    const invoked = await post(app, "/invocations?model=sands", { instances: [[1, 2, 0.1]] });
    assertEquals(invoked.predictions.length, 1);
    const stream = await app.request("/predict/stream?model=sands", {
      method: "POST",
      body: JSON.stringify(testRecord(1)),
    });
    assertEquals(JSON.parse(await stream.text()).model, "sands");
    const info = await (await app.request("/model_info?model=sands")).json();
    assertEquals(info.model, "sands");
    const { models } = await (await app.request("/models")).json();
    assertEquals(
      models.filter((row: Body) => row.is_served).map((row: Body) => [row.model, row.version]),
      [["rocks", 1], ["sands", 1]],
    );
    assertEquals(
      await query("select model, version, count(*) as n from inferences group by all order by all"),
      [
        { model: "rocks", version: 1, n: 2 },
        { model: "sands", version: 1, n: 5 },
        { model: "sands", version: 2, n: 2 },
      ],
    );
    const { model_stats: all } = await (await app.request("/v2/models/sands/stats")).json();
    assertEquals(all.map((each: Body) => [each.name, each.version]), [["sands", "1"], [
      "sands",
      "2",
    ]]);
  }));

Deno.test("a model that the server does not answer for is 404, one without a version 503 under its own name", () =>
  withModels(async (app, query) => {
    const hidden = await post(app, "/predict?model=hidden", records);
    assertEquals([hidden.status, hidden.error.code], [404, "not_found"]);
    assertStringIncludes(hidden.error.message, 'serves "rocks", "sands", "unborn"');
    assertEquals((await post(app, "/v2/models/hidden/infer", tensors)).status, 404);
    const unborn = await post(app, "/predict?model=unborn", records);
    assertEquals([unborn.status, unborn.error.code], [503, "no_model"]);
    assertStringIncludes(unborn.error.message, '"unborn"');
    assertEquals(
      await query("select model, count(*) as n from requests group by all order by all"),
      [{ model: "rocks", n: 2 }, { model: "unborn", n: 1 }],
    );
  }));

Deno.test("unloading one model leaves the others to answer", () =>
  withModels(async (app) => {
    await post(app, "/v2/repository/models/sands/unload", {});
    assertEquals((await post(app, "/predict?model=sands", records)).status, 503);
    assertEquals((await post(app, "/predict", records)).status, 200);
    assertEquals((await app.request("/ready")).status, 200);
    await post(app, "/v2/repository/models/sands/load", {});
    assertEquals((await post(app, "/predict?model=sands", records)).status, 200);
  }));

Deno.test("X-Priority and X-Timeout-Ms are refused when they are neither, and before a version is charged", () =>
  withModels(async (app, query) => {
    const send = (headers: Record<string, string>) =>
      app.request("/predict", { method: "POST", headers, body: JSON.stringify(records) });
    for (
      const headers of [{ "x-priority": "high" }, { "x-priority": "low", "x-timeout-ms": "60000" }]
    ) {
      assertEquals((await send(headers as Record<string, string>)).status, 200);
    }
    const wrong = await send({ "x-priority": "HIGH" });
    assertEquals(wrong.status, 400);
    assertStringIncludes((await wrong.json()).error.message, "there are high, normal, low");
    for (const timeout of ["0", "-1", "1.5", "soon"]) {
      const response = await send({ "x-timeout-ms": timeout });
      assertEquals(response.status, 400, timeout);
      assertStringIncludes((await response.json()).error.message, "no positive integer");
    }
    assertEquals(
      await query("select count(*) as n from requests where status_code = 400 and version is null"),
      [{ n: 5 }],
    );
  }));
