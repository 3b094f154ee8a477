import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import type { Caller } from "../../serving/access.ts";
import { HttpError } from "../../serving/http_error.ts";
import { RateLimiter, TokenBucket } from "../../serving/rate_limit.ts";

function caller(limits: Partial<Caller> = {}): Caller {
  return {
    name: "ci",
    role: "predictor",
    expiresAt: null,
    isRotated: false,
    isRevoked: false,
    requestsPerMinute: null,
    rowsPerMinute: null,
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
