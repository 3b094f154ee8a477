import { assertEquals, assertThrows } from "@std/assert";
import { type ApiKey, noLimits, type Role, roles } from "../../runtime/api_keys.ts";
import { UsageError } from "../../runtime/errors.ts";
import { openStore } from "../../runtime/store/store.ts";
import { Access, type AccessOptions, checkHost, isLoopback } from "../../serving/access.ts";
import { HttpError } from "../../serving/http_error.ts";
import { RequestIds } from "../../serving/request_ids.ts";

Deno.test("isLoopback() knows this machine by name and number, and nothing else", () => {
  for (const host of ["127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]"]) {
    assertEquals(isLoopback(host), true, host);
  }
  for (const host of ["0.0.0.0", "::", "127.0.0.1.example.org", "localhost.evil.org", ""]) {
    assertEquals(isLoopback(host), false, host);
  }
});

Deno.test("checkHost() refuses another address without a key and says what to do", () => {
  for (const part of ["deno task keys create", "set GEOPHONE_API_KEY"]) {
    assertThrows(() => checkHost("0.0.0.0", false), UsageError, part);
  }
  checkHost("0.0.0.0", true);
  checkHost("127.0.0.1", false);
});

const NOW = 1_700_000_000_000;

/** Access with keys by secret, at {@linkcode NOW}. */
function makeAccess(
  options: Partial<AccessOptions> = {},
  secrets: Readonly<Record<string, Partial<ApiKey>>> = {},
): Access {
  const keys = new Map(
    Object.entries(secrets).map(([secret, key]) => [secret, {
      id: `gp_${secret}`,
      name: secret,
      role: "viewer" as const,
      ...noLimits,
      expiresAt: null,
      isRotated: false,
      isRevoked: false,
      ...key,
    }]),
  );
  return new Access({
    keys: { size: keys.size, find: (secret) => keys.get(secret) ?? null },
    host: "0.0.0.0",
    now: () => NOW,
    ...options,
  });
}

function keyed(key: string): Headers {
  return new Headers({ "x-api-key": key });
}

Deno.test("Access.identify() takes a key in either header, 401 without one, 403 with a wrong one", () => {
  const access = makeAccess({ apiKey: "secret" });
  const named = access.identify(keyed("secret"));
  assertEquals(named, access.identify(new Headers({ authorization: "Bearer secret" })));
  assertEquals([named?.name.startsWith("key-"), named?.role], [true, "admin"]);
  const missing = assertThrows(() => access.identify(new Headers()), HttpError);
  assertEquals([missing.status, missing.headers["www-authenticate"]], [401, "Bearer"]);
  for (const key of ["secre", "secret2", "SECRET", ""]) {
    const wrong = assertThrows(() => access.identify(keyed(key)), HttpError);
    assertEquals([wrong.status, wrong.code], [403, "invalid_key"]);
  }
  assertEquals(makeAccess({ host: "127.0.0.1" }).identify(new Headers()), null);
});

Deno.test("Access.identify() takes the keys of the store beside the one of the environment", () => {
  const secrets = { a: { name: "ann" }, b: { name: "bob", role: "operator" as const } };
  const access = makeAccess({ apiKey: "secret" }, secrets);
  assertEquals(["a", "b"].map((key) => access.identify(keyed(key))?.name), ["ann", "bob"]);
  assertEquals(access.identify(keyed("secret"))?.role, "admin");
  const stored = makeAccess({ host: "127.0.0.1" }, secrets);
  assertEquals(stored.identify(keyed("a"))?.name, "ann");
  assertEquals(assertThrows(() => stored.identify(new Headers()), HttpError).status, 401);
  assertThrows(() => stored.identify(keyed("secret")), HttpError, "not valid");
});

Deno.test("Access.needsKey stays when the last key of the store has ended", () => {
  assertEquals(makeAccess().needsKey, false);
  assertEquals(makeAccess({ apiKey: "" }).needsKey, false);
  assertEquals(makeAccess({ apiKey: "x" }).needsKey, true);
  assertEquals(makeAccess({}, { a: { isRevoked: true } }).needsKey, true);
});

Deno.test("Access.authorize() says which is wrong: revoked, expired, replaced, or the role", () => {
  const access = makeAccess({}, {
    good: { expiresAt: NOW + 1 },
    old: { expiresAt: NOW },
    replaced: { expiresAt: NOW - 1, isRotated: true },
    grace: { expiresAt: NOW + 1, isRotated: true },
    gone: { expiresAt: NOW - 1, isRevoked: true },
    boss: { role: "admin" },
  });
  const refuse = (key: string, least: Role) => {
    const { status, code, message } = assertThrows(
      () => access.authorize(access.identify(keyed(key)), least),
      HttpError,
    );
    assertEquals(status, 403);
    return [code, message];
  };
  assertEquals(refuse("old", "viewer"), [
    "expired_key",
    'Cannot answer: API key "old" has expired',
  ]);
  assertEquals(refuse("replaced", "viewer"), [
    "expired_key",
    'Cannot answer: this secret of API key "replaced" was replaced; send the new one',
  ]);
  assertEquals(refuse("gone", "viewer"), [
    "revoked_key",
    'Cannot answer: API key "gone" is revoked',
  ]);
  assertEquals(refuse("good", "operator"), [
    "role_too_low",
    'Cannot answer API key "good" here: its role is viewer, and operator is needed',
  ]);
  for (const key of ["good", "grace", "boss"]) {
    access.authorize(access.identify(keyed(key)), "viewer");
  }
  for (const role of roles) access.authorize(access.identify(keyed("boss")), role);
  access.authorize(null, "admin");
});

Deno.test("Access.checkStore() refuses a host name that only points at this machine", () => {
  const access = makeAccess({ host: "127.0.0.1" });
  const from = (url: string, requester: string | null = null) => ({
    request: new Request(url),
    requester,
  });
  access.checkStore(from("http://localhost:8000/sql"));
  const rebound = "http://evil.example:8000/sql";
  assertEquals(assertThrows(() => access.checkStore(from(rebound)), HttpError).status, 403);
  access.checkStore(from(rebound, "ann"));
  assertThrows(() => makeAccess().checkStore(from("http://127.0.0.1/sql")), HttpError);
});

Deno.test("RequestIds.claim() keeps a given id once and tells repeats apart, also those of an earlier process", async () => {
  await using store = await openStore(":memory:");
  await store.query(
    `insert into core.requests (request_id, client_request_id, request_time, method, endpoint, status_code,
       row_count, duration_ms)
     values ('old', 'old', now()::timestamp, 'GET', '/', 200, 0, 1),
       ('g0123456789ab-1', null, now()::timestamp, 'GET', '/', 200, 0, 1)`,
  );
  const ids = new RequestIds(store);
  assertEquals(await ids.claim("new"), "new");
  assertEquals((await ids.claim("new")).startsWith("new~"), true);
  assertEquals((await ids.claim("old")).startsWith("old~"), true);
  assertEquals((await ids.claim("g0123456789ab-1")).startsWith("g0123456789ab-1~"), true);
  assertEquals(await ids.claim("g0123456789ab-2"), "g0123456789ab-2");
  const made = ids.make();
  assertEquals((await ids.claim(made)).startsWith(`${made}~`), true);
  const many = Array.from({ length: 20_000 }, (_, i) => `trace.${i}:${i * 7}`);
  for (const id of many) assertEquals(await ids.claim(id), id);
});

Deno.test("RequestIds.claim() refuses what is no id", async () => {
  await using store = await openStore(":memory:");
  const ids = new RequestIds(store);
  for (const id of ["", "a b", "a~b", "ä", "x".repeat(129), 'a"b']) {
    assertEquals(assertThrows(() => ids.claim(id), HttpError).status, 400);
  }
});

Deno.test("Access.identify() refuses pages of another origin when there is no key, and asks for it else", () => {
  const open = makeAccess({ host: "127.0.0.1" });
  const headers = (origin: string) => new Headers({ origin, host: "127.0.0.1:8000" });
  assertEquals(open.identify(headers("http://127.0.0.1:8000")), null);
  for (const origin of ["http://evil.example", "http://127.0.0.1:9000", "null", "x"]) {
    const refused = assertThrows(() => open.identify(headers(origin)), HttpError, "another origin");
    assertEquals(refused.status, 403);
  }
  const given = headers("http://evil.example");
  given.set("x-api-key", "secret");
  const access = makeAccess({ host: "127.0.0.1", apiKey: "secret" });
  assertEquals(access.identify(given)?.name.startsWith("key-"), true);
});
