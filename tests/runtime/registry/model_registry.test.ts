import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { artifactStep, readArtifact, sha256 } from "../../../runtime/artifacts.ts";
import { UsageError } from "../../../runtime/errors.ts";
import {
  currentVersion,
  loadModel,
  registerVersion,
  resolveVersion,
  rollbackAlias,
  setAlias,
  userName,
  versionAt,
} from "../../../runtime/registry/model_registry.ts";
import { deleteVersion } from "../../../runtime/tracking/registry.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { buildTestModel, registerTestModel, testClasses } from "../../model_fixture.ts";

const register = (store: Store, seed: number, report: unknown = { score: 0.5 }, model = "rocks") =>
  registerVersion(store, { bytes: buildTestModel({ seed, model }), report, runId: `run-${seed}` });

const point = (store: Store, version: number, alias = "production") =>
  setAlias(store, { model: "rocks", alias, version, reason: `to ${version}` });

Deno.test("registerVersion() numbers versions of each model from 1 when bytes or report differ", async () => {
  await using store = await openStore(":memory:");
  const versions = [
    await register(store, 1),
    await register(store, 2),
    await register(store, 1, { score: 0.6 }),
    await register(store, 1, { score: 0.5 }, "others"),
  ];
  assertEquals(versions.map(({ model, version }) => `${model} ${version}`), [
    "rocks 1",
    "rocks 2",
    "rocks 3",
    "others 1",
  ]);
  assertEquals(versions[0].artifact, versions[2].artifact);
  assertNotEquals(versions[0].evidenceHash, versions[2].evidenceHash);
  const [row] = await store.query(
    "select version, run_id, class_names, input_names, report->>'score' as score from models where model = 'rocks' and version = 2",
  );
  assertEquals(row, {
    version: 2,
    run_id: "run-2",
    class_names: testClasses,
    input_names: ["GR", "RHOB", "NPHI"],
    score: "0.5",
  });
});

Deno.test("registerVersion() gives the same version when bytes and report are the same", async () => {
  await using store = await openStore(":memory:");
  const first = await register(store, 1);
  await register(store, 2);
  assertEquals(await register(store, 1), first);
  const [{ n }] = await store.query("select count(*) as n from core.model_versions");
  assertEquals(n, 2);
  const [{ m, e }] = await store.query(
    `select count(*) filter (media_type = 'application/onnx') as m,
       count(*) filter (media_type = 'application/json') as e from core.artifacts`,
  );
  assertEquals([m, e], [2, 2]);
});

Deno.test("registerVersion() gives different numbers when eight register at once, one when they are the same", async () => {
  await using store = await openStore(":memory:");
  const eight = [1, 2, 3, 4, 5, 6, 7, 8];
  const different = await Promise.all(eight.map((seed) => register(store, seed)));
  assertEquals(different.map(({ version }) => version).sort(), eight);
  const same = await Promise.all(eight.map(() => register(store, 9)));
  assertEquals(new Set(same.map(({ version }) => version)), new Set([9]));
});

Deno.test("registerVersion() leaves nothing behind when the bytes are no model", async () => {
  await using store = await openStore(":memory:");
  const bytes = new Uint8Array([1, 2, 3]);
  await assertRejects(() => registerVersion(store, { bytes, report: {}, runId: "r" }), SyntaxError);
  assertEquals(await store.query("from core.artifacts"), []);
});

Deno.test("resolveVersion() finds a version by number and by alias, also when the alias begins with v", async () => {
  await using store = await openStore(":memory:");
  await register(store, 1);
  await register(store, 2);
  for (const alias of ["production", "validated", "v2-candidate"]) await point(store, 2, alias);
  for (const reference of ["2", "v2", "production", "@production", "validated", "v2-candidate"]) {
    assertEquals((await resolveVersion(store, "rocks", reference)).version, 2, reference);
  }
  assertEquals((await resolveVersion(store, "rocks", "1")).runId, "run-1");
});

Deno.test("resolveVersion() lists what there is when model, version or alias does not exist", async () => {
  await using store = await openStore(":memory:");
  await assertRejects(
    () => resolveVersion(store, "rocks", "1"),
    UsageError,
    'Cannot find model "rocks": none is registered; run "deno task pipeline"',
  );
  await register(store, 1);
  await register(store, 2);
  await point(store, 2);
  await point(store, 2, "challenger");
  await assertRejects(
    () => resolveVersion(store, "stones", "1"),
    UsageError,
    'Cannot find model "stones": there are rocks',
  );
  for (const reference of ["3", "@champion", "", "99999999999999999999", "-1", "1.5"]) {
    await assertRejects(
      () => resolveVersion(store, "rocks", reference),
      UsageError,
      `Cannot find "${reference}" of model "rocks": there are versions 1, 2 @challenger @production`,
    );
  }
});

Deno.test("setAlias() records who, when, why, from and to, and nothing when nothing changes", async () => {
  await using store = await openStore(":memory:");
  await register(store, 1);
  await register(store, 2);
  assertEquals(await currentVersion(store, "rocks", "production"), null);
  for (const version of [1, 1, 2, 1]) await point(store, version);
  await point(store, 2, "challenger");
  assertEquals(await currentVersion(store, "rocks", "production"), 1);
  const history = await store.query(
    "select alias, from_version, to_version, reason, changed_by from alias_history order by change",
  );
  const changed_by = userName();
  assertEquals(history, [
    { alias: "production", from_version: null, to_version: 1, reason: "to 1", changed_by },
    { alias: "production", from_version: 1, to_version: 2, reason: "to 2", changed_by },
    { alias: "production", from_version: 2, to_version: 1, reason: "to 1", changed_by },
    { alias: "challenger", from_version: null, to_version: 2, reason: "to 2", changed_by },
  ]);
});

Deno.test("setAlias() refuses a version that does not exist and a name that reads as a number", async () => {
  await using store = await openStore(":memory:");
  await register(store, 1);
  await assertRejects(() => point(store, 7), UsageError, 'Cannot find "7"');
  for (const alias of ["1", "v1", "", "@x", "a b", "Prod", "x".repeat(64)]) {
    await assertRejects(() => point(store, 1, alias), UsageError, `Cannot set alias "${alias}"`);
  }
  assertEquals(await store.query("from alias_history"), []);
});

Deno.test("rollbackAlias() goes back to the version before the last change", async () => {
  await using store = await openStore(":memory:");
  for (const seed of [1, 2, 3]) await register(store, seed);
  for (const version of [1, 3]) await point(store, version);
  assertEquals(await rollbackAlias(store, "rocks", "production", "it was worse"), 1);
  assertEquals(await currentVersion(store, "rocks", "production"), 1);
  const [row] = await store.query(
    "select from_version, to_version, reason from alias_history order by change desc limit 1",
  );
  assertEquals(row, { from_version: 3, to_version: 1, reason: "it was worse" });
});

Deno.test("rollbackAlias() goes further back each time and never forward again", async () => {
  await using store = await openStore(":memory:");
  for (const seed of [1, 2, 3]) await register(store, seed);
  for (const version of [1, 2, 3]) await point(store, version);
  const rollback = () => rollbackAlias(store, "rocks", "production", "it was worse");
  assertEquals([await rollback(), await rollback()], [2, 1]);
  await assertRejects(rollback, UsageError, "it has no earlier version");
  await point(store, 3);
  assertEquals(await rollback(), 1);
});

Deno.test("rollbackAlias() goes back from a version that was moved to twice", async () => {
  await using store = await openStore(":memory:");
  for (const seed of [1, 2]) await register(store, seed);
  for (const version of [1, 2, 1]) await point(store, version);
  assertEquals(await rollbackAlias(store, "rocks", "production", "it was worse"), 2);
});

Deno.test("rollbackAlias() explains when there is no earlier version, alias or model", async () => {
  await using store = await openStore(":memory:");
  await register(store, 1);
  await point(store, 1);
  const rollback = (model: string, alias: string) => () => rollbackAlias(store, model, alias, "x");
  await assertRejects(rollback("rocks", "production"), UsageError, "it has no earlier version");
  await assertRejects(rollback("rocks", "champion"), UsageError, 'Cannot find "@champion"');
  await assertRejects(rollback("rocks", "1"), UsageError, 'Cannot find "@1"');
  await assertRejects(rollback("stones", "production"), UsageError, 'Cannot find model "stones"');
});

Deno.test("versionAt() gives what the alias pointed to at a time", async () => {
  await using store = await openStore(":memory:");
  await register(store, 1);
  await register(store, 2);
  const before = new Date(Date.now() - 1000);
  await point(store, 1);
  await new Promise((resolve) => setTimeout(resolve, 5));
  const between = new Date();
  await new Promise((resolve) => setTimeout(resolve, 5));
  await point(store, 2);
  const ask = (time: Date) => versionAt(store, "rocks", "production", time);
  assertEquals(await ask(before), null);
  assertEquals(await ask(between), 1);
  assertEquals(await ask(new Date()), 2);
  assertEquals(await versionAt(store, "rocks", "challenger", new Date()), null);
});

Deno.test("loadModel() gives the bytes of a version", async () => {
  await using store = await openStore(":memory:");
  const version = await registerTestModel(store, { seed: 3 });
  assertEquals(await loadModel(store, version), buildTestModel({ seed: 3 }));
});

Deno.test("readArtifact() refuses content when a byte has changed, is cut or gone", async () => {
  await using store = await openStore(":memory:");
  const bytes = Uint8Array.from({ length: 300 }, (_, i) => i % 256);
  const { sha256: address, step } = await artifactStep(bytes, "application/octet-stream");
  await store.transaction([step, step]);
  assertEquals(await store.query("select size, media_type from core.artifacts"), [
    { size: 300, media_type: "application/octet-stream" },
  ]);
  assertEquals(await readArtifact(store, address), bytes);
  for (const changed of [bytes.with(7, 9), bytes.subarray(0, 299)]) {
    await store.query("update core.artifacts set content = ?", [changed]);
    const error = await assertRejects(() => readArtifact(store, address), Error, address);
    assert(error.message.includes(`now hashes to ${await sha256(changed)}`), error.message);
  }
  await store.query("delete from core.artifacts");
  await assertRejects(() => readArtifact(store, address), Error, "the store has none of this hash");
});

Deno.test("sha256() hashes bytes and text as FIPS 180-4 does", async () => {
  const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  assertEquals(await sha256("abc"), abc);
  assertEquals(await sha256(new TextEncoder().encode("abc")), abc);
});

Deno.test("resolveVersion() does not find a deleted version, and its number is never used again", async () => {
  await using store = await openStore(":memory:");
  const first = await register(store, 1);
  await deleteVersion(store, { name: "rocks", version: first.version }, { by: "test" });
  const find = () => resolveVersion(store, "rocks", String(first.version));
  await assertRejects(find, UsageError, "Cannot find");
  const again = await register(store, 1);
  assertEquals(again.version, first.version + 1);
  assertEquals((await resolveVersion(store, "rocks", "2")).artifact, first.artifact);
});
