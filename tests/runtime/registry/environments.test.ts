import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { artifactStep, readArtifact } from "../../../runtime/artifacts.ts";
import { decideOn, listApprovals, readRegistrar } from "../../../runtime/registry/approvals.ts";
import { verifyAudit } from "../../../runtime/audit.ts";
import { listOrigins, pushVersion } from "../../../runtime/registry/environments.ts";
import { UsageError } from "../../../runtime/errors.ts";
import { EvidenceError, readEvidence } from "../../../runtime/registry/evidence.ts";
import {
  loadModel,
  type ModelVersion,
  resolveVersion,
} from "../../../runtime/registry/model_registry.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { deleteVersion } from "../../../runtime/tracking/registry.ts";
import { buildTestModel, registerTestModel, testRecord } from "../../model_fixture.ts";
import { makeReport } from "../../report_fixture.ts";
import { flipArtifact, tamperings } from "../../tampering.ts";

interface Stores {
  readonly dev: Store;
  readonly staging: Store;
  readonly version: ModelVersion;
  readonly golden: string;
  push(version?: ModelVersion): ReturnType<typeof pushVersion>;
}

async function withStores(action: (stores: Stores) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await using dev = await openStore(join(folder, "dev.duckdb"), { publish: false });
    await using staging = await openStore(join(folder, "staging.duckdb"), { publish: false });
    const golden = await artifactStep(new TextEncoder().encode("[1]"), "application/json");
    await dev.transaction([golden.step]);
    const version = await registerTestModel(dev, { report: makeReport({ golden: golden.sha256 }) });
    await action({
      dev,
      staging,
      version,
      golden: golden.sha256,
      push: (of = version) =>
        pushVersion({
          version: of,
          from: { store: dev, environment: "dev" },
          to: { store: staging, environment: "staging" },
          by: "ada",
        }),
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function dump(store: Store): Promise<unknown> {
  return await Promise.all(
    ["model_versions", "artifacts", "version_origins", "audit_log", "alias_log", "approvals"].map(
      (table) => store.query(`select count(*) as n from core.${table}`),
    ),
  );
}

Deno.test("pushVersion() copies every byte under its hash, says where from, and sets no alias", () =>
  withStores(async ({ dev, staging, version, golden, push }) => {
    await dev.query("update core.model_versions set created_by = 'grace'");
    await decideOn(dev, version, { decision: "approved", by: "bob", role: "admin" });
    await registerTestModel(staging, { seed: 7, alias: null });
    const pushed = await push();
    assertEquals([pushed.version.version, pushed.isNew], [2, true]);
    assertEquals(pushed.version.evidenceHash, version.evidenceHash);
    assertEquals(pushed.version.runId, version.runId);
    assertEquals(await loadModel(staging, pushed.version), buildTestModel());
    const [here, there] = [
      await readEvidence(dev, version),
      await readEvidence(staging, pushed.version),
    ];
    assertEquals([there.evidence, there.report], [here.evidence, here.report]);
    assertEquals(await readArtifact(staging, golden), await readArtifact(dev, golden));
    const types = "select media_type from core.artifacts where sha256 in (?, ?) order by 1";
    assertEquals(await staging.query(types, [golden, version.artifact]), [
      { media_type: "application/json" },
      { media_type: "application/onnx" },
    ]);
    const [origin, ...none] = await listOrigins(staging, pushed.version);
    assertEquals([origin.environment, origin.store, origin.version, origin.by, none], [
      "dev",
      dev.path,
      1,
      "ada",
      [],
    ]);
    // Who registered it there still is who registered it: four eyes are to be others.
    assertEquals(await readRegistrar(staging, pushed.version), "grace");
    assertEquals(await staging.query("from aliases"), []);
    assertEquals(await listApprovals(staging, pushed.version), []);
    const actions = await staging.query(
      "select action, actor from audit where subject = 'rocks/2'",
    );
    assertEquals(actions, [
      { action: "model_version.created", actor: "grace" },
      { action: "model_version.pushed", actor: "ada" },
    ]);
    assertEquals((await verifyAudit(staging)).firstBroken, null);
  }));

Deno.test("pushVersion() changes nothing the second time, and makes a new version of a deleted one", () =>
  withStores(async ({ staging, push }) => {
    const first = await push();
    const before = await dump(staging);
    const second = await push();
    assertEquals([second.version, second.isNew], [first.version, false]);
    assertEquals(await dump(staging), before);
    const both = await Promise.all([push(), push()]);
    assertEquals(both.map(({ version }) => version.version), [1, 1]);
    assertEquals(await dump(staging), before);
    await deleteVersion(staging, { name: "rocks", version: 1 }, { by: "eve" });
    const third = await push();
    assertEquals([third.version.version, third.isNew], [2, true]);
    assertEquals((await listOrigins(staging, third.version)).length, 1);
  }));

for (const { name, tamper, message } of tamperings.filter(({ name }) => !/entry/.test(name))) {
  Deno.test(`pushVersion() leaves the other store as it was when ${name}`, () =>
    withStores(async ({ dev, staging, version, push }) => {
      await tamper(dev, version);
      const before = await dump(staging);
      await assertRejects(() => push(), EvidenceError, message);
      assertEquals(await dump(staging), before);
    }));
}

Deno.test("pushVersion() refuses a store that holds other bytes under one of the hashes", () =>
  withStores(async ({ staging, version, golden, push }) => {
    for (const address of [version.artifact, golden, version.evidenceHash]) {
      await staging.query(
        "insert into core.artifacts values (?, 'application/json', 1, 'x'::blob, now())",
        [address],
      );
      const before = await dump(staging);
      await assertRejects(() => push(), EvidenceError, "holds other bytes under one of its hashes");
      assertEquals(await dump(staging), before);
      await staging.query("delete from core.artifacts");
    }
    assertEquals((await push()).isNew, true);
    await flipArtifact(staging, version.artifact);
    await assertRejects(() => push(), EvidenceError, "holds other bytes under one of its hashes");
  }));

Deno.test("pushVersion() refuses one store for both, by another path, too", () =>
  withStores(async ({ dev, version }) => {
    const link = `${dev.path}.link`;
    await Deno.symlink(dev.path, link);
    for (const path of [dev.path, link]) {
      await using same = path === dev.path ? await openStore(path, { publish: false }) : null;
      const store = same ?? { ...dev, path } as Store;
      const from = { store: dev, environment: "dev" };
      const push = () =>
        pushVersion({ version, from, to: { store, environment: "staging" }, by: null });
      await assertRejects(push, UsageError, "dev has the same store");
    }
  }));

Deno.test("pushVersion() refuses a version from before evidence was a document", () =>
  withStores(async ({ dev, version, push }) => {
    await dev.query("insert into core.undocumented_versions values ('rocks', 1, false)");
    await assertRejects(() => push(version), UsageError, "register it again");
  }));

Deno.test("pushVersion() reaches a store that a running server owns, which serves what is promoted there", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "staging.duckdb");
    await using dev = await openStore(":memory:");
    const version = await registerTestModel(dev, { report: makeReport() });
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-q", "--no-prompt", "-P=test"],
        new URL("../push_owner.ts", import.meta.url).pathname,
        path,
      ],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    try {
      const url = (await lines.read()).value?.trim() ?? "";
      assert(url.startsWith("http://"), "the server has not started");
      await using staging = await openStore(path, { publish: false });
      assertEquals(staging.isOwner, false);
      const pushed = await pushVersion({
        version,
        from: { store: dev, environment: "dev" },
        to: { store: staging, environment: "staging" },
        by: "ada",
      });
      const base = `${url}/models/rocks/versions/${pushed.version.version}`;
      const promoted = await fetch(`${base}/promote`, {
        method: "POST",
        body: JSON.stringify({ alias: "production", reason: "test" }),
      });
      assertEquals(promoted.status, 200, await promoted.clone().text());
      assertEquals((await promoted.json()).environment, "staging");
      const answer = await fetch(`${url}/predict`, {
        method: "POST",
        body: JSON.stringify({ records: [testRecord(1)] }),
      });
      const { version: served, alias } = await answer.json();
      assertEquals([served, alias], [1, "production"]);
      const card = await (await fetch(`${base}/card`)).text();
      assertStringIncludes(card, "| pushed from | dev, version 1 of :memory:");
      assertEquals((await resolveVersion(staging, "rocks", "@production")).version, 1);
    } finally {
      await child.stdin.close().catch(() => {});
      await lines.cancel();
      assertEquals((await child.status).code, 0);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
