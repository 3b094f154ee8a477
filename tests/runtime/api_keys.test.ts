import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  ApiKeys,
  createApiKey,
  DEFAULT_GRACE_MS,
  hasApiKeys,
  hasRole,
  revokeApiKey,
  roles,
  rotateApiKey,
  SECRET_BYTES,
} from "../../runtime/api_keys.ts";
import { sha256 } from "../../runtime/artifacts.ts";
import { UsageError } from "../../runtime/errors.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";

Deno.test("hasRole() gives each role what those before it may do", () => {
  for (const [i, role] of roles.entries()) {
    assertEquals(roles.map((least) => hasRole(role, least)), roles.map((_, j) => j <= i));
  }
});

Deno.test("createApiKey() gives a secret of 192 bits once, and the store keeps its sha256 alone", async () => {
  await using store = await openStore(":memory:");
  assertEquals(await hasApiKeys(store), false);
  const key = await createApiKey(store, {
    name: "ci",
    role: "predictor",
    rowsPerMinute: 100,
    lifetimeMs: 60_000,
    reason: "a test",
  });
  assert(SECRET_BYTES * 8 >= 192);
  assertMatch(key.secret, new RegExp(`^${key.id}_[0-9a-f]{${2 * SECRET_BYTES}}$`));
  assertEquals(await hasApiKeys(store), true);
  const [row] = await store.query("from core.api_keys");
  assertEquals(row.secret_hash, await sha256(key.secret));
  for (const table of ["core.api_keys", "core.api_key_log", "api_keys", "api_key_history"]) {
    const text = JSON.stringify(await store.query(`from ${table}`));
    assert(!text.includes(key.secret.slice(key.id.length + 1)), table);
    assertEquals(text.includes(row.secret_hash as string), table === "core.api_keys", table);
  }
  const [shown] = await store.query(
    "select name, role, state, requests_per_minute, rows_per_minute from api_keys",
  );
  assertEquals(shown, {
    name: "ci",
    role: "predictor",
    state: "active",
    requests_per_minute: null,
    rows_per_minute: 100,
  });
  const others = await Promise.all(
    Array.from({ length: 20 }, (_, i) => createApiKey(store, { name: `k${i}`, role: "viewer" })),
  );
  assertEquals(new Set(others.map(({ secret }) => secret)).size, 20);
});

Deno.test("createApiKey() refuses names that are none or taken, and limits that are none", async () => {
  await using store = await openStore(":memory:");
  for (const name of ["", "A", "1a", "a b", "gp_1", "key-0123abcd", "x".repeat(64), "a'b"]) {
    await assertRejects(() => createApiKey(store, { name, role: "viewer" }), UsageError, "a name");
  }
  for (const limit of [0, -1, 1.5, NaN, 2 ** 31]) {
    for (const [name, period] of [["rowsPerMinute", "minute"], ["requestsPerDay", "day"]]) {
      await assertRejects(
        () => createApiKey(store, { name: "a", role: "viewer", [name]: limit }),
        UsageError,
        `a ${period}: it must be a positive integer`,
      );
    }
  }
  const results = await Promise.allSettled(
    Array.from({ length: 5 }, () => createApiKey(store, { name: "one", role: "viewer" })),
  );
  assertEquals(results.filter(({ status }) => status === "fulfilled").length, 1);
  const [{ keys, changes }] = await store.query(
    `select (select count(*) from core.api_keys) as keys,
       (select count(*) from core.api_key_log) as changes`,
  );
  assertEquals([keys, changes], [1, 1]);
  await revokeApiKey(store, "one");
  await assertRejects(
    () => createApiKey(store, { name: "one", role: "viewer" }),
    UsageError,
    "names are not used again",
  );
});

Deno.test("rotateApiKey() gives a new secret of the same rights, and the old one its grace", async () => {
  await using store = await openStore(":memory:");
  const lifetimeMs = 90 * 86_400_000;
  const old = await createApiKey(store, {
    name: "ci",
    role: "operator",
    requestsPerMinute: 7,
    rowsPerDay: 1_000,
    lifetimeMs,
  });
  const next = await rotateApiKey(store, "ci", { reason: "yearly" });
  using keys = await ApiKeys.open(store);
  const [a, b] = [keys.find(old.secret)!, keys.find(next.secret)!];
  assertEquals([a.role, a.requestsPerMinute, a.rowsPerDay], ["operator", 7, 1_000]);
  assertEquals([b.role, b.requestsPerMinute, b.rowsPerDay], ["operator", 7, 1_000]);
  assertEquals([...keys.current()], [b]);
  assertEquals([a.isRotated, b.isRotated], [true, false]);
  assertEquals(a.expiresAt, next.oldEndsAt.getTime());
  assertEquals(b.expiresAt! - a.expiresAt!, lifetimeMs - DEFAULT_GRACE_MS);
  assertEquals(
    await store.query("select name, action, reason from api_key_history order by change"),
    [
      { name: "ci", action: "created", reason: "created by hand" },
      { name: "ci", action: "rotated", reason: "yearly" },
      { name: "ci", action: "created", reason: `replaces ${old.id}` },
    ],
  );
  const results = await Promise.allSettled(
    Array.from({ length: 4 }, () => rotateApiKey(store, "ci", { graceMs: 0 })),
  );
  // How many of them saw the key before another replaced it is chance; that none replaced it twice is not.
  const rotations = results.filter(({ status }) => status === "fulfilled").length;
  assert(rotations >= 1);
  const states = await store.query("select state from api_keys order by created_at");
  assertEquals(states.length, 2 + rotations);
  assertEquals(states.filter(({ state }) => state === "active").length, 1);
  assertEquals(states[0], { state: "rotated" });
});

Deno.test("rotateApiKey() does not lengthen the life of a secret that ends before its grace", async () => {
  await using store = await openStore(":memory:");
  const old = await createApiKey(store, { name: "ci", role: "viewer", lifetimeMs: 60_000 });
  const { oldEndsAt } = await rotateApiKey(store, "ci");
  assertEquals(oldEndsAt, old.expiresAt!);
});

Deno.test("revokeApiKey() ends a key by name with all its secrets, by id that one", async () => {
  await using store = await openStore(":memory:");
  const first = await createApiKey(store, { name: "ci", role: "viewer" });
  const second = await rotateApiKey(store, "ci");
  assertEquals(await revokeApiKey(store, first.id, "leaked"), [first.id]);
  using keys = await ApiKeys.open(store);
  assertEquals(keys.find(first.secret)?.isRevoked, true);
  assertEquals(keys.find(second.secret)?.isRevoked, false);
  assertEquals(await revokeApiKey(store, "ci"), [second.id]);
  await assertRejects(() => revokeApiKey(store, "ci"), UsageError, "it is already");
  await assertRejects(() => rotateApiKey(store, "ci"), UsageError, "it is revoked");
  await assertRejects(() => revokeApiKey(store, "cj"), UsageError, 'did you mean "ci"?');
  const rows = await store.query(
    "select key_id, reason from api_key_history where action = 'revoked' order by change",
  );
  assertEquals(rows, [
    { key_id: first.id, reason: "leaked" },
    { key_id: second.id, reason: "revoked by hand" },
  ]);
});

Deno.test("ApiKeys.find() takes the whole secret and nothing else", async () => {
  await using store = await openStore(":memory:");
  const { id, secret } = await createApiKey(store, { name: "ci", role: "viewer" });
  using keys = await ApiKeys.open(store);
  assertEquals(keys.find(secret)?.name, "ci");
  const hash = await sha256(secret);
  const flipped = secret.slice(0, -1) + (secret.endsWith("0") ? "1" : "0");
  const wrong = ["", id, `${id}_`, hash, secret.toUpperCase(), ` ${secret}`, `${secret}0`, flipped];
  for (const text of wrong) assertEquals(keys.find(text), null, text);
});

Deno.test("ApiKeys hears of new and revoked keys, also when another process owns the store", async () => {
  await using owner = await openStore(":memory:");
  const borrower = {
    isOwner: false,
    query: owner.query.bind(owner),
    onCommit: () => () => {},
  } as unknown as Store;
  using here = await ApiKeys.open(owner);
  using there = await ApiKeys.open(borrower);
  const { secret } = await createApiKey(owner, { name: "ci", role: "viewer" });
  const until = async (isDone: () => boolean) => {
    while (!isDone()) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  await until(() => here.find(secret) !== null && there.find(secret) !== null);
  await revokeApiKey(owner, "ci");
  await until(() => here.find(secret)!.isRevoked && there.find(secret)!.isRevoked);
});

Deno.test("ApiKeys.refresh() keeps what it knows when the store fails, and open() does not start without", async () => {
  await using store = await openStore(":memory:");
  const { secret } = await createApiKey(store, { name: "ci", role: "viewer" });
  using keys = await ApiKeys.open(store);
  const query = store.query.bind(store);
  store.query = () => Promise.reject(new Error("No such disk"));
  await assertRejects(() => keys.refresh(), Error, "No such disk");
  assertEquals([keys.size, keys.find(secret)?.name], [1, "ci"]);
  await assertRejects(() => ApiKeys.open(store), Error, "No such disk");
  store.query = query;
});
