import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { matrix } from "../../numeric/matrix.ts";
import { artifactStep } from "../../runtime/artifacts.ts";
import { setAlias } from "../../runtime/registry/model_registry.ts";
import { Predictor } from "../../runtime/predict/predictor.ts";
import { aliasSteps } from "../../runtime/registry/registry_steps.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { HttpError } from "../../serving/http_error.ts";
import { Models } from "../../serving/models.ts";
import { makeLayout, readRecords } from "../../serving/records.ts";
import { buildTestModel, registerTestModel, testRecord } from "../model_fixture.ts";

const options = {
  model: "rocks",
  preference: ["production", "challenger"],
  maxBatchRows: 64,
  queueRows: 100,
};

function point(store: Store, alias: string, version: number): Promise<void> {
  return setAlias(store, { model: "rocks", alias, version, reason: "test" });
}

async function waitFor(isTrue: () => boolean): Promise<void> {
  const deadline = Date.now() + 5_000;
  while (!isTrue()) {
    assert(Date.now() < deadline, "Expected a change within 5 s");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const versionOf = (models: Models) => models.default?.model.version.version;

Deno.test("Models.open() serves production, else the next alias in order, and follows what is set later", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { seed: 1, alias: "staging" });
  const models = await Models.open(store, options);
  try {
    assertEquals(models.default, null);
    const error = assertThrows(() => models.acquire(), HttpError, "no version has the alias");
    assertEquals([error.status, error.code], [503, "no_model"]);
    await point(store, "challenger", 1);
    await waitFor(() => models.default?.alias === "challenger");
    await registerTestModel(store, { seed: 2 });
    await waitFor(() => models.default?.alias === "production");
    assertEquals(versionOf(models), 2);
  } finally {
    await models.close();
  }
});

Deno.test("Models swaps between two requests when an alias moves, and closes the old session after its last user", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { seed: 1 });
  await registerTestModel(store, { seed: 2, alias: null });
  const models = await Models.open(store, options);
  const held = await models.acquire();
  await point(store, "production", 2);
  await models.refresh();
  assertEquals(versionOf(models), 2);
  assertEquals(held.model.isClosed, false);
  const layout = makeLayout(held.model.signature);
  const records = readRecords({ records: [testRecord(1)] }, layout, { maxRows: 1 });
  assertEquals((await held.model.predict(records)).labels.length, 1);
  held.model.release();
  assert(held.model.isClosed);
  await models.close();
});

Deno.test("Models keeps serving the old version when the new one cannot be loaded, and says so", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { seed: 1 });
  const bad = await registerTestModel(store, { seed: 2, alias: null });
  await store.transaction([{
    sql: "update core.artifacts set content = 'x'::blob where sha256 = ?",
    params: [bad.artifact],
  }]);
  const models = await Models.open(store, options);
  // setAlias() refuses such a version: its byte changed after the alias had moved.
  const move = { model: "rocks", alias: "production", version: 2, reason: "test" };
  await store.transaction(aliasSteps(move, null));
  await models.refresh();
  assertEquals(versionOf(models), 1);
  assertEquals(models.aliases.get("production"), 1);
  assertEquals(models.failures.map(({ alias, version }) => [alias, version]), [["production", 2]]);
  await registerTestModel(store, { seed: 3 });
  await models.refresh();
  assertEquals([versionOf(models), models.failures], [3, []]);
  await models.close();
});

Deno.test("Models serves a version only when it answers its golden batch as training saw it", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { seed: 1 });
  const register = async (seed: number, probabilities: readonly number[]) => {
    const batch = JSON.stringify({ features: [[100, 2.5, 0.25]], probabilities: [probabilities] });
    const golden = await artifactStep(new TextEncoder().encode(batch), "application/json");
    await store.transaction([golden.step]);
    return await registerTestModel(store, { seed, report: { golden: golden.sha256 } });
  };
  const models = await Models.open(store, options);
  await register(2, [0.2, 0.3, 0.5]);
  await models.refresh();
  assertEquals(versionOf(models), 1);
  assertStringIncludes(models.failures[0].message, "golden row 0 answers");

  const predictor = await Predictor.open(buildTestModel({ seed: 3 }));
  const seen = await predictor.classify(matrix(1, 3, Float32Array.of(100, 2.5, 0.25)));
  await predictor.close();
  await register(3, [...seen.probabilities.data]);
  await models.refresh();
  assertEquals([versionOf(models), models.failures], [3, []]);
  await models.close();
});

Deno.test("Models.acquire() loads other versions on request, remembers a few, and names those there are", async () => {
  await using store = await openStore(":memory:");
  for (let seed = 1; seed <= 8; seed++) await registerTestModel(store, { seed });
  const models = await Models.open(store, options);
  for (let version = 1; version <= 8; version++) {
    const { model, alias } = await models.acquire({ version });
    assertEquals([model.version.version, alias], [version, null]);
    model.release();
  }
  assert(models.loadedVersions.length <= 6, `${models.loadedVersions}`);
  assert(models.loadedVersions.includes(8));
  await point(store, "staging", 3);
  const { model, alias } = await models.acquire({ alias: "staging" });
  assertEquals([model.version.version, alias], [3, "staging"]);
  model.release();
  const unknown = await assertRejects(
    async () => await models.acquire({ alias: "stagging" }),
    HttpError,
    "@staging",
  );
  assertEquals(unknown.status, 404);
  await assertRejects(async () => await models.acquire({ version: 99 }), HttpError, "versions 1,");
  await models.close();
});

Deno.test("Models.acquire() loads a version once when many ask at the same time", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { seed: 1, alias: null });
  await registerTestModel(store, { seed: 2 });
  const models = await Models.open(store, options);
  const held = await Promise.all(
    Array.from({ length: 20 }, async () => await models.acquire({ version: 1 })),
  );
  assertEquals(new Set(held.map(({ model }) => model)).size, 1);
  for (const { model } of held) model.release();
  await models.close();
});

Deno.test("Models.unload() closes the session after its last request, and load() opens another", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { seed: 1 });
  const models = await Models.open(store, options);
  const held = await models.acquire();
  await models.unload();
  assertEquals([models.default, models.loadedVersions, models.isUnloaded()], [null, [], true]);
  assertEquals(held.model.isClosed, false);
  const layout = makeLayout(held.model.signature);
  const records = readRecords({ records: [testRecord(1)] }, layout, { maxRows: 1 });
  assertEquals((await held.model.predict(records)).labels.length, 1);
  held.model.release();
  assert(held.model.isClosed);
  for (const reference of [undefined, { alias: "production" }, { version: 1 }]) {
    const error = await assertRejects(
      async () => await models.acquire(reference),
      HttpError,
      "it is unloaded",
    );
    assertEquals(error.code, "no_model");
  }
  const again = await models.load();
  assert(again.model !== held.model && !again.model.isClosed);
  again.model.release();
  assertEquals([versionOf(models), models.isUnloaded()], [1, false]);
  await models.close();
});

Deno.test("Models.unload() of the default's version lets no other alias take its place", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { seed: 1 });
  await registerTestModel(store, { seed: 2, alias: "challenger" });
  const models = await Models.open(store, options);
  await models.unload({ alias: "production" });
  await models.refresh();
  assertThrows(() => models.acquire(), HttpError, "version 1 is unloaded");
  const { model } = await models.acquire({ alias: "challenger" });
  assertEquals(model.version.version, 2);
  model.release();
  await assertRejects(() => models.unload({ version: 9 }), HttpError, "there are versions");
  await models.close();
});
