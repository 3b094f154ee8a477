import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../runtime/errors.ts";
import { openStore } from "../../runtime/store.ts";
import { Access, checkHost, isLoopback } from "../../serving/access.ts";
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
  assertThrows(() => checkHost("0.0.0.0", undefined), UsageError, "set GEOPHONE_API_KEY");
  checkHost("0.0.0.0", "secret");
  checkHost("127.0.0.1", undefined);
});

Deno.test("Access.check() takes the key in either header, 401 without one, 403 with a wrong one", () => {
  const access = new Access("secret", "0.0.0.0");
  const named = access.check(new Headers({ "x-api-key": "secret" }));
  assertEquals(named, access.check(new Headers({ authorization: "Bearer secret" })));
  assertEquals(named?.startsWith("key-"), true);
  const missing = assertThrows(() => access.check(new Headers()), HttpError);
  assertEquals([missing.status, missing.headers["www-authenticate"]], [401, "Bearer"]);
  for (const key of ["secre", "secret2", "SECRET", ""]) {
    const wrong = assertThrows(() => access.check(new Headers({ "x-api-key": key })), HttpError);
    assertEquals(wrong.status, 403);
  }
  assertEquals(new Access(undefined, "127.0.0.1").check(new Headers()), null);
});

Deno.test("Access.checkStore() refuses a host name that only points at this machine", () => {
  const access = new Access(undefined, "127.0.0.1");
  access.checkStore(new Request("http://localhost:8000/sql"));
  const rebound = new Request("http://evil.example:8000/sql");
  assertEquals(assertThrows(() => access.checkStore(rebound), HttpError).status, 403);
  const open = new Access(undefined, "0.0.0.0");
  assertThrows(() => open.checkStore(new Request("http://127.0.0.1/sql")), HttpError);
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

Deno.test("Access.check() refuses pages of another origin when there is no key, and asks for it else", () => {
  const open = new Access(undefined, "127.0.0.1");
  const headers = (origin: string) => new Headers({ origin, host: "127.0.0.1:8000" });
  assertEquals(open.check(headers("http://127.0.0.1:8000")), null);
  for (const origin of ["http://evil.example", "http://127.0.0.1:9000", "null", "x"]) {
    const refused = assertThrows(() => open.check(headers(origin)), HttpError, "another origin");
    assertEquals(refused.status, 403);
  }
  const keyed = new Access("secret", "127.0.0.1");
  const given = headers("http://evil.example");
  given.set("x-api-key", "secret");
  assertEquals(keyed.check(given)?.startsWith("key-"), true);
});
