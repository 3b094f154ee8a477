import { assert, assertEquals, assertRejects } from "@std/assert";
import { Pace } from "../../../runtime/monitors/pace.ts";

/** Keeps the thread busy for so many milliseconds. */
function work(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

Deno.test("rest() gives way after work, and not after next to none or when nobody waits", async () => {
  const pace = new Pace(0.5);
  await pace.rest();
  assertEquals(pace.restedMs, 0);
  work(5);
  let hasPassed = false;
  setTimeout(() => hasPassed = true);
  await pace.rest();
  assert(hasPassed && pace.restedMs > 0);
  const alone = new Pace(1);
  work(5);
  await alone.rest();
  assertEquals(alone.restedMs, 0);
});

Deno.test("rest() ends with the reason when it is aborted", async () => {
  const abort = new AbortController();
  const pace = new Pace(0.001, abort.signal);
  work(5);
  const resting = assertRejects(() => pace.rest(), Error, "The server ends");
  abort.abort(new Error("The server ends"));
  await resting;
});
