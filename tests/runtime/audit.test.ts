import { assert, assertEquals, assertRejects } from "@std/assert";
import { createHash } from "node:crypto";
import { createApiKey, revokeApiKey, rotateApiKey } from "../../runtime/api_keys.ts";
import { GENESIS_HASH, oneRow, recordSteps, verifyAudit } from "../../runtime/audit.ts";
import { registerVersion, rollbackAlias, setAlias } from "../../runtime/registry/model_registry.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import {
  createModel,
  createVersion,
  deleteModel,
  deleteVersion,
  describeModel,
  describeVersion,
  moveAlias,
  moveToStage,
  tagModel,
} from "../../runtime/tracking/registry.ts";
import { buildTestModel } from "../model_fixture.ts";

const by = "ada";

interface Entry extends Record<string, unknown> {
  readonly number: number;
  readonly time: string;
  readonly change_id: string;
  readonly actor: string | null;
  readonly action: string;
  readonly subject: string;
  readonly details: string;
  readonly previous_hash: string;
  readonly hash: string;
}

const readEntries = (store: Store) => store.query<Entry>("from audit order by number");

/** `[action, subject]` of every entry. */
async function readActions(store: Store): Promise<string[]> {
  return (await readEntries(store)).map(({ action, subject }) => `${action} ${subject}`);
}

function record(subject: string, details: Record<string, unknown> = { subject }) {
  return recordSteps({ action: "model_version.deleted", by, ...oneRow(subject, details) });
}

async function withEntries(action: (store: Store) => Promise<void>): Promise<void> {
  await using store = await openStore(":memory:");
  for (const subject of ["a", "b", "c", "d"]) await store.transaction(record(subject));
  await action(store);
}

Deno.test("recordSteps() chains entries by the sha256 of their fields and the hash before", async () => {
  await using store = await openStore(":memory:");
  await store.transaction(record("rocks/1", { "it's": 'a "quoted" ü/\\ \n value', none: null }));
  await store.transaction([...record("rocks/2"), ...record("rocks/3")]);
  const rows =
    "select subject, json_object('n', subject) as details from (values ('y'), ('x')) t(subject)";
  await store.transaction(recordSteps({ action: "api_key.revoked", by: null, rows }));
  const entries = await readEntries(store);
  assertEquals(entries.map(({ subject }) => subject), ["rocks/1", "rocks/2", "rocks/3", "x", "y"]);
  assertEquals(entries.map(({ number }) => number), [1, 2, 3, 4, 5]);
  assertEquals(entries.at(-1)!.actor, null);
  assertEquals(entries[3].change_id, entries[4].change_id);
  const times = await store.query<{ us: number }>(
    "select epoch_us(time) as us from audit order by number",
  );
  // The hash again, by other means than the database's.
  let previous = GENESIS_HASH;
  entries.forEach((entry, i) => {
    assertEquals(entry.previous_hash, previous);
    const fields = [
      entry.number,
      times[i].us,
      entry.change_id,
      entry.actor,
      entry.action,
      entry.subject,
      entry.details,
      previous,
    ];
    previous = createHash("sha256").update(JSON.stringify(fields)).digest("hex");
    assertEquals(entry.hash, previous);
  });
  assertEquals(await verifyAudit(store), {
    entries: 5,
    head: previous,
    firstBroken: null,
    lostHead: null,
  });
});

Deno.test("recordSteps() writes nothing when its transaction fails, or its select has no rows", async () => {
  await using store = await openStore(":memory:");
  await assertRejects(() => store.transaction([...record("a"), { sql: "select error('no')" }]));
  await store.transaction(recordSteps({
    action: "api_key.revoked",
    by,
    rows: "select 'a' as subject, '{}'::json as details where false",
  }));
  assertEquals(await verifyAudit(store), {
    entries: 0,
    head: GENESIS_HASH,
    firstBroken: null,
    lostHead: null,
  });
});

Deno.test("recordSteps() keeps the chain whole when two processes write at once", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const path = `${dir}/store.duckdb`;
    await using owner = await openStore(path);
    const script = `
      import { oneRow, recordSteps } from ${
      JSON.stringify(import.meta.resolve("../../runtime/audit.ts"))
    };
      import { openStore } from ${
      JSON.stringify(import.meta.resolve("../../runtime/store/store.ts"))
    };
      await using store = await openStore(Deno.args[0]);
      const entry = (i) => recordSteps({
        action: "api_key.created", by: "other", ...oneRow("other-" + i, { i }) });
      await Promise.all(Array.from({ length: 15 }, (_, i) =>
        store.transaction([...entry(i), ...entry(i + 100)])));`;
    const file = `${dir}/writer.ts`;
    await Deno.writeTextFile(file, script);
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const writer = new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "-A", "--config", config, file, path],
      stdout: "null",
      stderr: "piped",
    }).output();
    const mine = Array.from({ length: 15 }, (_, i) => owner.transaction(record(`mine-${i}`)));
    const { code, stderr } = await writer;
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    await Promise.all(mine);
    const { entries, firstBroken } = await verifyAudit(owner);
    assertEquals([entries, firstBroken], [45, null]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

const tamperings: readonly [name: string, sql: string, number: number, reason: string][] = [
  [
    "a changed actor",
    "update core.audit_log set actor = 'eve' where number = 2",
    2,
    "its fields do not give its hash",
  ],
  [
    "a changed time",
    "update core.audit_log set time = time + interval 1 microsecond where number = 3",
    3,
    "its fields do not give its hash",
  ],
  [
    "changed details",
    `update core.audit_log set details = '{"subject":"z"}' where number = 4`,
    4,
    "its fields do not give its hash",
  ],
  [
    "a field that was emptied",
    "update core.audit_log set actor = null where number = 2",
    2,
    "its fields do not give its hash",
  ],
  [
    "an entry with a hash of its own",
    `update core.audit_log set actor = 'eve', hash = sha256(json_array(number, epoch_us(time), change_id,
       'eve', action, subject, details::varchar, previous_hash)::varchar) where number = 2`,
    3,
    "it does not hold the hash of the entry before it",
  ],
  [
    "a removed entry",
    "delete from core.audit_log where number = 2",
    3,
    "its number does not follow the one before it",
  ],
  [
    "a removed first entry",
    "delete from core.audit_log where number = 1",
    2,
    "its number does not follow the one before it",
  ],
  [
    "an entry that was removed, with the later ones renumbered",
    `delete from core.audit_log where number = 2;
     update core.audit_log set number = number - 1 where number > 2`,
    2,
    "it does not hold the hash of the entry before it",
  ],
  [
    "two entries that changed places",
    "update core.audit_log set number = 5 - number where number in (2, 3)",
    2,
    "it does not hold the hash of the entry before it",
  ],
  [
    "an entry that was put in twice",
    "insert into core.audit_log from core.audit_log where number = 2",
    2,
    "its number does not follow the one before it",
  ],
  [
    "an entry that was put at the end",
    `insert into core.audit_log select 5, time, change_id, actor, action, subject, details, hash, hash
     from core.audit_log where number = 4`,
    5,
    "its fields do not give its hash",
  ],
];

for (const [name, sql, number, reason] of tamperings) {
  Deno.test(`verifyAudit() finds ${name}`, () =>
    withEntries(async (store) => {
      for (const statement of sql.split(";")) await store.query(statement);
      assertEquals((await verifyAudit(store)).firstBroken, { number, reason });
    }));
}

Deno.test("verifyAudit() finds a cut end and a chain written anew by the head it gave before", () =>
  withEntries(async (store) => {
    const { head } = await verifyAudit(store);
    await store.transaction(record("e"));
    assertEquals((await verifyAudit(store, head)).lostHead, null);
    assertEquals((await verifyAudit(store, GENESIS_HASH)).lostHead, null);
    await store.query("delete from core.audit_log where number > 3");
    assertEquals(await verifyAudit(store).then((state) => [state.firstBroken, state.lostHead]), [
      null,
      null,
    ]);
    assertEquals((await verifyAudit(store, head)).lostHead, head);
    await store.query("delete from core.audit_log");
    for (const subject of ["a", "b", "c", "d"]) await store.transaction(record(subject));
    const anew = await verifyAudit(store, head);
    assertEquals([anew.entries, anew.firstBroken, anew.lostHead], [4, null, head]);
  }));

Deno.test("the model registry records versions and aliases, and nothing when nothing changes", async () => {
  await using store = await openStore(":memory:");
  const register = (seed: number) =>
    registerVersion(store, { bytes: buildTestModel({ seed }), report: {}, runId: "run-1" });
  const point = (version: number) =>
    setAlias(store, { model: "rocks", alias: "production", version, reason: "better" });
  const first = await register(1);
  await register(1);
  await register(2);
  await point(1);
  await point(1);
  await point(2);
  await rollbackAlias(store, "rocks", "production", "worse");
  assertEquals(await readActions(store), [
    "model_version.created rocks/1",
    "model_version.created rocks/2",
    "model_version_alias.created rocks@production",
    "model_version_alias.created rocks@production",
    "model_version_alias.created rocks@production",
  ]);
  const details = (await readEntries(store)).map((entry) => JSON.parse(entry.details));
  assertEquals(details[0], {
    name: "rocks",
    run_id: "run-1",
    description: null,
    tags: {},
    artifact: first.artifact,
    evidence_hash: first.evidenceHash,
    version: "1",
    source: "mlflow-artifacts:/models/rocks/1",
  });
  assertEquals(details[4], {
    name: "rocks",
    alias: "production",
    version: "1",
    from_version: "2",
    kind: "rolled back",
    reason: "worse",
  });
  assertEquals(
    await store.query("select from_version, to_version, kind from alias_history order by change"),
    [
      { from_version: null, to_version: 1, kind: "moved" },
      { from_version: 1, to_version: 2, kind: "moved" },
      { from_version: 2, to_version: 1, kind: "rolled back" },
    ],
  );
  assertEquals((await verifyAudit(store)).firstBroken, null);
});

Deno.test("changes by MLflow clients are recorded with who made them", async () => {
  await using store = await openStore(":memory:");
  await createModel(store, { name: "cores", tags: [{ key: "owner", value: "ada" }] }, { by });
  await describeModel(store, "cores", "what a core shows", { by });
  await tagModel(store, { name: "cores" }, { key: "area", value: "north" }, { by });
  await tagModel(store, { name: "cores" }, { key: "area", value: null }, { by });
  const version = { name: "cores", version: 1 };
  const source = "s3://bucket/a";
  await createVersion(store, { name: "cores", source, tags: [{ key: "k", value: "v" }] }, { by });
  await createVersion(store, { name: "cores", source }, { by });
  await describeVersion(store, version, "first", { by });
  await tagModel(store, version, { key: "checked", value: "yes" }, { by: "bob" });
  await tagModel(store, version, { key: "checked", value: null }, { by });
  const why = { by, reason: "test" };
  await moveAlias(store, { ...version, alias: "champion" }, why);
  await moveAlias(store, { name: "cores", alias: "champion", version: null }, why);
  await moveToStage(store, { ...version, stage: "Production" }, { by, isArchiving: false });
  await deleteVersion(store, version, { by });
  await moveAlias(store, { name: "cores", alias: "b", version: 2 }, why);
  await moveAlias(store, { name: "cores", alias: "a", version: 2 }, why);
  await deleteModel(store, "cores", { by });
  assertEquals(await readActions(store), [
    "registered_model.created cores",
    "registered_model.updated cores",
    "registered_model_tag.set cores",
    "registered_model_tag.deleted cores",
    "model_version.created cores/1",
    "model_version.created cores/2",
    "model_version.updated cores/1",
    "model_version_tag.set cores/1",
    "model_version_tag.deleted cores/1",
    "model_version_alias.created cores@champion",
    "model_version_alias.deleted cores@champion",
    "model_version_alias.created cores@production",
    "model_version_alias.deleted cores@production",
    "model_version.deleted cores/1",
    "model_version_alias.created cores@b",
    "model_version_alias.created cores@a",
    "model_version_alias.deleted cores@a",
    "model_version_alias.deleted cores@b",
    "registered_model.deleted cores",
  ]);
  const entries = await readEntries(store);
  assertEquals(new Set(entries.map(({ actor }) => actor)), new Set([by, "bob"]));
  assertEquals(JSON.parse(entries[0].details), {
    name: "cores",
    tags: { owner: "ada" },
    description: null,
  });
  const { artifact, evidence_hash: evidence, ...made } = JSON.parse(entries[4].details);
  assert(/^[0-9a-f]{64}$/.test(artifact) && /^[0-9a-f]{64}$/.test(evidence));
  assertEquals(made, {
    name: "cores",
    version: "1",
    source,
    run_id: null,
    tags: { k: "v" },
    description: null,
  });
  assertEquals(JSON.parse(entries[7].details), {
    name: "cores",
    version: "1",
    key: "checked",
    value: "yes",
  });
  // What is refused is not recorded.
  await assertRejects(() => createVersion(store, { name: "none", source }, { by }));
  await createModel(store, { name: "taken" }, { by });
  await assertRejects(() => createModel(store, { name: "taken" }, { by }));
  assertEquals((await verifyAudit(store)).entries, entries.length + 1);
});

Deno.test("keys are recorded when they are created, rotated and revoked, without a secret", async () => {
  await using store = await openStore(":memory:");
  const made = await createApiKey(store, { name: "ci", role: "viewer" });
  await assertRejects(() => createApiKey(store, { name: "ci", role: "viewer" }));
  const rotated = await rotateApiKey(store, "ci", { reason: "leaked" });
  await revokeApiKey(store, made.id);
  await revokeApiKey(store, "ci");
  const entries = await readEntries(store);
  assertEquals(entries.map(({ action }) => action), [
    "api_key.created",
    "api_key.rotated",
    "api_key.revoked",
    "api_key.revoked",
  ]);
  assertEquals(JSON.parse(entries[1].details), {
    name: "ci",
    key_id: rotated.id,
    role: "viewer",
    reason: "leaked",
  });
  const text = JSON.stringify(entries);
  for (const { secret } of [made, rotated]) {
    assert(!text.includes(secret));
    assert(!text.includes(createHash("sha256").update(secret).digest("hex")));
  }
});
