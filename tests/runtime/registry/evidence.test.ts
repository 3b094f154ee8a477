import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { DuckDBInstance } from "@duckdb/node-api";
import { artifactStep, sha256 } from "../../../runtime/artifacts.ts";
import { canonicalJson, EvidenceError, readEvidence } from "../../../runtime/registry/evidence.ts";
import {
  loadModel,
  type ModelVersion,
  registerVersion,
  resolveVersion,
  setAlias,
} from "../../../runtime/registry/model_registry.ts";
import { migrations } from "../../../runtime/schema/mod.ts";
import { readSignature } from "../../../runtime/registry/signature.ts";
import { openStore } from "../../../runtime/store/store.ts";
import { createModel, createVersion } from "../../../runtime/tracking/registry.ts";
import { buildTestModel, registerTestModel } from "../../model_fixture.ts";
import { makeReport } from "../../report_fixture.ts";
import { flipArtifact, tamperings } from "../../tampering.ts";

Deno.test("canonicalJson() gives the same text whatever the order of keys, and refuses what is no JSON", () => {
  const a = { z: 1, a: { y: [1, { c: null, b: 'ü"' }], x: 1e21 }, A: false };
  const b = { A: false, a: { x: 1e21, y: [1, { b: 'ü"', c: null }] }, z: 1 };
  assertEquals(canonicalJson(a), canonicalJson(b));
  assertEquals(canonicalJson(a), '{"A":false,"a":{"x":1e+21,"y":[1,{"b":"ü\\"","c":null}]},"z":1}');
  assertEquals(canonicalJson(JSON.parse(canonicalJson(a))), canonicalJson(a));
  assertThrows(() => canonicalJson(undefined), TypeError, "Cannot write a undefined as JSON");
});

Deno.test("registerVersion() keeps the evidence as an artifact of its own hash, the same in every store", async () => {
  await using one = await openStore(":memory:");
  await using other = await openStore(":memory:");
  await registerTestModel(other, { seed: 9 });
  const report = makeReport();
  const first = await registerTestModel(one, { report });
  const second = await registerTestModel(other, { report });
  assertEquals([first.version, second.version], [1, 2]);
  assertEquals(first.evidenceHash, second.evidenceHash);
  const { evidence, bytes, isDocumented } = await readEvidence(one, first);
  assertEquals(bytes, buildTestModel());
  assert(isDocumented);
  assertEquals(await sha256(canonicalJson(evidence)), first.evidenceHash);
  assertEquals(evidence.artifact, await sha256(buildTestModel()));
  assertEquals(evidence.signature, readSignature(buildTestModel()));
  assertEquals(evidence.report, JSON.parse(JSON.stringify(report)));
});

for (const { name, tamper, message } of tamperings) {
  Deno.test(`readEvidence() refuses a version when ${name}`, async () => {
    await using store = await openStore(":memory:");
    const golden = await artifactStep(new TextEncoder().encode("[1]"), "application/json");
    await store.transaction([golden.step]);
    const report = makeReport({ golden: golden.sha256 });
    const version = await registerTestModel(store, { report });
    const whole = await registerTestModel(store, { seed: 2, alias: null, report });
    assertEquals(await loadModel(store, version), buildTestModel());
    await tamper(store, version);
    const error = await assertRejects(() => readEvidence(store, version), EvidenceError, message);
    assertStringIncludes(error.message, 'Cannot use model "rocks" version 1: its ');
    await assertRejects(() => loadModel(store, version), EvidenceError, message);
    const point = () =>
      setAlias(store, { model: "rocks", alias: "next", version: 1, reason: "test" });
    await assertRejects(
      async () => {
        await point();
        // Where the entry itself names other bytes, the caller's own knowledge of it tells.
        await loadModel(store, version);
      },
      EvidenceError,
      message,
    );
    if (name !== "the golden batch has changed") await loadModel(store, whole);
  });
}

Deno.test("readEvidence() refuses a version that is not in the registry any more", async () => {
  await using store = await openStore(":memory:");
  const version = await registerTestModel(store, { alias: null });
  await store.query("delete from core.model_versions");
  await assertRejects(() => readEvidence(store, version), EvidenceError, "its entry changed");
});

Deno.test("readEvidence() binds what a client registered, also what nobody here can serve", async () => {
  await using store = await openStore(":memory:");
  await createModel(store, { name: "cores" }, { by: "ada" });
  const entry = { name: "cores", source: "s3://bucket/a" };
  const made = await createVersion(store, entry, { by: "ada" });
  await createVersion(store, entry, { by: "ada" });
  const versions = await Promise.all(["1", "2"].map((n) => resolveVersion(store, "cores", n)));
  assertEquals(made.version, 1);
  assert(versions[0].evidenceHash !== versions[1].evidenceHash, "a version of its own");
  const { evidence } = await readEvidence(store, versions[0]);
  assertEquals([evidence.signature, evidence.golden], [null, null]);
  await flipArtifact(store, versions[0].evidenceHash);
  await assertRejects(
    () => readEvidence(store, versions[0]),
    EvidenceError,
    "its evidence changed",
  );
  await readEvidence(store, versions[1]);
});

/** Writes a store as Geophone left it when the evidence was a hash and no document. */
async function writeOldStore(path: string): Promise<void> {
  const instance = await DuckDBInstance.create(path);
  const connection = await instance.connect();
  for (const migration of migrations.filter(({ version }) => version < 7)) {
    for (const sql of migration.statements) await connection.run(sql);
  }
  const report = JSON.stringify(makeReport());
  const now = "now() at time zone 'UTC'";
  // The second one is of a client, whose hash was over a random number, too.
  for (const [number, source] of [[1, null], [2, "s3://a"]] as const) {
    const bytes = buildTestModel({ seed: number });
    const artifact = await sha256(bytes);
    const hash = source === null ? await sha256(`${artifact}\n${report}`) : "e".repeat(64);
    await connection.run(
      `insert into core.artifacts values ('${artifact}', 'application/onnx', ${bytes.length},
        unhex('${bytes.toHex()}'), ${now})`,
    );
    await connection.run(
      `insert into core.model_versions values ('rocks', ${number}, '${artifact}', 'run', ['GR'], ['a'],
        $1, $2, '${hash}', ${now}, 'ada')`,
      [JSON.stringify(readSignature(bytes)), report],
    );
    await connection.run(
      `insert into core.version_details values
        ('rocks', ${number}, null, $1, null, null, null, ${now}, null)`,
      [source],
    );
  }
  connection.closeSync();
  instance.closeSync();
}

Deno.test("readEvidence() takes versions from before evidence was a document, and still refuses their changed bytes", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/store.duckdb`;
    await writeOldStore(path);
    await using store = await openStore(path, { publish: false });
    const versions: ModelVersion[] = [];
    for (const number of ["1", "2"]) versions.push(await resolveVersion(store, "rocks", number));
    for (const version of versions) {
      const { evidence, isDocumented } = await readEvidence(store, version);
      assertEquals([evidence.model, isDocumented], ["rocks", false]);
    }
    await store.query("update core.model_versions set report = '{}'");
    await assertRejects(
      () => readEvidence(store, versions[0]),
      EvidenceError,
      "its report changed",
    );
    for (const version of versions) await flipArtifact(store, version.artifact);
    for (const version of versions) {
      await assertRejects(() => readEvidence(store, version), EvidenceError, "model bytes changed");
    }
    // What is registered now has a document, whatever stood in the store before.
    const now = await registerVersion(store, {
      bytes: buildTestModel({ seed: 3 }),
      report: {},
      runId: "run",
    });
    assertEquals((await readEvidence(store, now)).isDocumented, true);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
