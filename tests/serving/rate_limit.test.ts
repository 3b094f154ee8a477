import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { createApiKey, noLimits } from "../../runtime/api_keys.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { createApp, type GeophoneApp } from "../../server.ts";
import type { Caller } from "../../serving/access.ts";
import { DailyUse } from "../../serving/daily_use.ts";
import { HttpError } from "../../serving/http_error.ts";
import { RateLimiter, TokenBucket } from "../../serving/rate_limit.ts";
import { registerTestModel, testRecord } from "../model_fixture.ts";

function caller(limits: Partial<Caller> = {}): Caller {
  return {
    name: "ci",
    role: "predictor",
    expiresAt: null,
    isRotated: false,
    isRevoked: false,
    ...noLimits,
    ...limits,
  };
}

function makeLimiter() {
  const clock = { ms: 0 };
  const limited: string[] = [];
  const limiter = new RateLimiter({
    now: () => clock.ms,
    onLimited: (key) => limited.push(key),
  });
  return { clock, limited, limiter };
}

Deno.test("TokenBucket.take() never gives more than a minute's burst and what came in since", () => {
  let state = 7;
  const random = () => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647;
  for (const perMinute of [1, 7, 60, 100_000]) {
    const bucket = new TokenBucket(0);
    let now = 0;
    let taken = 0;
    for (let i = 0; i < 5_000; i++) {
      now += Math.floor(random() * 3_000);
      const count = 1 + Math.floor(random() * perMinute);
      if (bucket.take(count, perMinute, now) === 0) taken += count;
      assert(taken <= perMinute + perMinute * now / 60_000, `${perMinute} ${now}`);
    }
    // Whoever asks all the time gets what comes in, but for what overflows between two questions.
    assert(taken >= 0.9 * perMinute * now / 60_000, `${perMinute} ${taken}`);
  }
});

Deno.test("TokenBucket.take() takes after exactly the wait it gave, not a millisecond before", () => {
  for (const perMinute of [1, 7, 60, 6_001]) {
    const bucket = new TokenBucket(0);
    assertEquals(bucket.take(perMinute, perMinute, 0), 0);
    const wait = Math.ceil(bucket.take(1, perMinute, 0));
    assert(bucket.take(1, perMinute, wait - 1) > 0);
    assertEquals(bucket.take(1, perMinute, wait), 0);
  }
  assertEquals(new TokenBucket(0).take(8, 7, 0), Infinity);
  assertEquals(new TokenBucket(0).take(0, 7, 0), 0);
});

Deno.test("RateLimiter.takeRequest() refuses with 429, a code and the seconds, rounded up", () => {
  const { clock, limited, limiter } = makeLimiter();
  const ci = caller({ requestsPerMinute: 40 });
  for (let i = 0; i < 40; i++) limiter.takeRequest(ci);
  const refused = assertThrows(() => limiter.takeRequest(ci), HttpError);
  assertEquals([refused.status, refused.code], [429, "rate_limited"]);
  assertEquals(refused.headers["retry-after"], "2");
  assertStringIncludes(refused.message, "40 requests a minute; try again in 2 s");
  assertEquals(limited, ["ci"]);
  clock.ms += 1_000;
  assertThrows(() => limiter.takeRequest(ci), HttpError);
  clock.ms += 1_000;
  limiter.takeRequest(ci);
  // What is refused takes nothing: a caller that hammers is not shut out for longer.
  assertThrows(() => limiter.takeRequest(ci), HttpError);
  clock.ms += 60_000;
  for (let i = 0; i < 40; i++) limiter.takeRequest(ci);
});

Deno.test("RateLimiter.takeRows() charges rows, and refuses what can never fit with 413", () => {
  const { clock, limited, limiter } = makeLimiter();
  const ci = caller({ rowsPerMinute: 100 });
  limiter.takeRows(ci, 60);
  const refused = assertThrows(() => limiter.takeRows(ci, 60), HttpError);
  assertEquals([refused.status, refused.headers["retry-after"]], [429, "12"]);
  clock.ms += 12_000;
  limiter.takeRows(ci, 60);
  const never = assertThrows(() => limiter.takeRows(ci, 101), HttpError, "in parts");
  assertEquals([never.status, never.headers["retry-after"]], [413, undefined]);
  assertEquals(limited, ["ci"]);
});

Deno.test("RateLimiter holds each key to its own limits, both secrets of a rotation to one", () => {
  const { limiter } = makeLimiter();
  const one = caller({ requestsPerMinute: 1, rowsPerMinute: 1 });
  limiter.takeRequest(one);
  assertThrows(() => limiter.takeRequest({ ...one, isRotated: true }), HttpError);
  limiter.takeRequest({ ...one, name: "other" });
  limiter.takeRows(one, 1);
  const free = caller({ name: "free" });
  for (let i = 0; i < 1_000; i++) {
    limiter.takeRequest(free);
    limiter.takeRows(free, 1_000_000);
  }
});

Deno.test("RateLimiter follows a limit that changes", () => {
  const { clock, limiter } = makeLimiter();
  limiter.takeRows(caller({ rowsPerMinute: 1_000 }), 1_000);
  clock.ms += 6_000;
  limiter.takeRows(caller({ rowsPerMinute: 2_000 }), 1_000);
});

Deno.test("RateLimiter refuses what is beyond the quota of a day until midnight UTC", () => {
  const clock = { ms: Date.parse("2026-03-04T22:00:00.5Z") };
  const limited: string[] = [];
  const limiter = new RateLimiter({
    onLimited: (key) => limited.push(key),
    daily: new DailyUse(() => clock.ms),
  });
  const ci = caller({ requestsPerDay: 3, rowsPerDay: 10 });
  limiter.takeRequest(ci);
  limiter.takeRows(ci, 6);
  limiter.takeRequest(ci);
  const refused = assertThrows(() => limiter.takeRows(ci, 5), HttpError);
  assertEquals([refused.status, refused.code], [429, "quota_exceeded"]);
  assertEquals(refused.headers["retry-after"], "7200");
  assertStringIncludes(refused.message, "today: it may send 10 rows a day; try again in 7200 s");
  // What was refused took neither the rows nor the request.
  limiter.takeRequest(ci);
  limiter.takeRows(ci, 4);
  limiter.takeRequest(ci);
  assertStringIncludes(
    assertThrows(() => limiter.takeRequest(ci), HttpError).message,
    "3 requests a day",
  );
  const never = assertThrows(() => limiter.takeRows(ci, 11), HttpError, "10 a day");
  assertEquals([never.status, never.headers["retry-after"]], [413, undefined]);
  assertEquals(limited, ["ci", "ci"]);
  clock.ms += 7_200_000;
  limiter.takeRequest(ci);
  limiter.takeRows(ci, 10);
});

Deno.test("RateLimiter.uses() gives what each key has used of each limit it has", () => {
  const { clock, limiter } = makeLimiter();
  const ci = caller({ requestsPerMinute: 60, rowsPerDay: 10 });
  limiter.takeRequest(ci);
  limiter.takeRequest(ci);
  limiter.takeRows(ci, 6);
  clock.ms += 500;
  const keys = [{ ...ci, id: "gp_1" }, { ...caller({ name: "free" }), id: "gp_2" }];
  assertEquals([...limiter.uses(keys)], [
    { key: "ci", unit: "requests", period: "minute", used: 1.5, limit: 60 },
    { key: "ci", unit: "rows", period: "day", used: 6, limit: 10 },
  ]);
});

async function withKey(
  limits: { readonly requestsPerDay?: number; readonly rowsPerDay?: number },
  action: (deps: {
    readonly store: Store;
    readonly open: () => Promise<GeophoneApp>;
    readonly send: (app: GeophoneApp, records: number) => Promise<Response>;
  }) => Promise<void>,
): Promise<void> {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  const { secret } = await createApiKey(store, { name: "ci", role: "predictor", ...limits });
  await action({
    store,
    open: () => createApp({ store, model: "rocks", quiet: true }),
    send: (app, records) =>
      app.request("/predict", {
        method: "POST",
        headers: { "x-api-key": secret },
        body: JSON.stringify({ records: Array.from({ length: records }, (_, i) => testRecord(i)) }),
      }),
  });
}

Deno.test("A quota of rows is counted over a restart, refused ones apart, and shown in /metrics", () =>
  withKey({ rowsPerDay: 10 }, async ({ store, open, send }) => {
    const statuses: number[] = [];
    for (const sizes of [[6, 5], [4, 1]]) {
      await using app = await open();
      for (const size of sizes) {
        const response = await send(app, size);
        statuses.push(response.status);
        if (response.status !== 429) await response.body?.cancel();
        else {
          const { error } = await response.json();
          assertEquals(error.code, "quota_exceeded");
          const seconds = Number(response.headers.get("retry-after"));
          assert(seconds > 0 && seconds <= 86_400, String(seconds));
        }
      }
    }
    assertEquals(statuses, [200, 429, 200, 429]);
    await using app = await open();
    const { secret } = await createApiKey(store, { name: "ops", role: "viewer" });
    await app.refresh();
    const metrics = await app.request("/metrics", { headers: { "x-api-key": secret } });
    const text = await metrics.text();
    assertStringIncludes(text, 'geophone_quota_used{key="ci",unit="rows",period="day"} 10');
    assertStringIncludes(text, 'geophone_quota_limit{key="ci",unit="rows",period="day"} 10');
  }));

Deno.test("DailyUse.open() takes requests of today alone, and no rows of a refused one", async () => {
  await using store = await openStore(":memory:");
  const row = (time: string, status: number, rows: number) => ({
    sql: `insert into core.requests (request_id, request_time, method, endpoint, status_code,
        requester, row_count, duration_ms)
      values (uuid()::varchar, ?::timestamp, 'POST', '/predict', ?, 'ci', ?, 1)`,
    params: [time, status, rows],
  });
  await store.transaction([
    row("2026-03-03 23:59:59.999", 200, 1),
    row("2026-03-04 00:00:00", 200, 2),
    row("2026-03-04 12:00:00", 500, 4),
    row("2026-03-04 12:00:00", 413, 8),
    row("2026-03-04 12:00:00", 429, 16),
    row("2026-03-04 12:00:00", 403, 32),
  ]);
  const daily = await DailyUse.open(store, () => Date.parse("2026-03-04T18:00:00Z"));
  assertEquals(daily.of("ci"), { requests: 3, rows: 6 });
  assertEquals(daily.of("other"), { requests: 0, rows: 0 });
});
