import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { Store } from "../../../runtime/store/store.ts";
import { addKey, addModel, addRequests, ago, openStoreAbroad } from "../../plugins/alerts/rows.ts";

interface Use extends Record<string, unknown> {
  readonly unit: string;
  readonly used: number;
  readonly quota: number | null;
  readonly share: number | null;
  readonly reached_at: string | null;
  readonly is_forecast: boolean;
}

function readUse(store: Store, key: string, day = "today"): Promise<Use[]> {
  const of = day === "today" ? "(now() at time zone 'UTC')::date" : `date '${day}'`;
  return store.query<Use>(
    `select unit, used, quota, share, reached_at, is_forecast from quota_use
     where key = ? and day = ${of} order by unit`,
    [key],
  );
}

Deno.test("quota_use counts what a key used today, without what was refused", async () => {
  await using store = await openStoreAbroad("Pacific/Auckland");
  await addKey(store, { name: "ci", requestsPerDay: 100 });
  const of = { requester: "ci", minutesAgo: 0, rowCount: 5 };
  await addRequests(store, { ...of, count: 10 });
  for (const status of [401, 403, 429]) await addRequests(store, { ...of, count: 3, status });
  await addRequests(store, { ...of, count: 1, status: 413 }); // a request, but no rows
  const [requests, rows] = await readUse(store, "ci");
  assertEquals([requests.used, requests.quota, requests.share], [11, 100, 0.11]);
  assertEquals([rows.used, rows.quota, rows.share, rows.reached_at], [50, null, null, null]);
  assertEquals(await readUse(store, "none"), []);
});

Deno.test("quota_use says when a quota was reached, and of today when it will be at this pace", async () => {
  await using store = await openStoreAbroad("America/Los_Angeles");
  await addKey(store, { name: "full", requestsPerDay: 10 });
  await addRequests(store, { count: 10, requester: "full", minutesAgo: 0 });
  const [reached] = await readUse(store, "full");
  assertEquals([reached.share, reached.is_forecast], [1, false]);
  assert(Math.abs(Date.parse(reached.reached_at!) - Date.now()) < 60_000);

  const past = "2026-01-02";
  await store.query(
    `insert into core.requests by name select 'p' || range as request_id, 'POST' as method,
       '/predict' as endpoint, 200 as status_code, 1 as row_count, 1 as duration_ms,
       timestamp '2026-01-02 20:00' + to_minutes(range) as request_time,
       'full' as requester from range(10)`,
  );
  const [then] = await readUse(store, "full", past);
  assertEquals([then.reached_at, then.is_forecast], ["2026-01-02T20:09:00.000Z", false]);

  // 3,600 in the last hour is one a second: what is left of the quota is reached so many seconds later.
  await addKey(store, { name: "half", requestsPerDay: 3_600 + 90 });
  await addRequests(store, { count: 3_600, requester: "half", minutesAgo: 0 });
  const [half] = await readUse(store, "half");
  const secondsLeft = (Math.ceil(Date.now() / 86_400_000) * 86_400_000 - Date.now()) / 1000;
  if (secondsLeft > 100) {
    assert(half.is_forecast);
    assertAlmostEquals((Date.parse(half.reached_at!) - Date.now()) / 1000, 90, 30);
  }
  await addKey(store, { name: "slow", requestsPerDay: 1_000_000_000 });
  await addRequests(store, { count: 10, requester: "slow", minutesAgo: 0 });
  const [slow] = await readUse(store, "slow");
  assertEquals([slow.reached_at, slow.is_forecast], [null, false]);
});

Deno.test("input_ranges has the inputs whose range a model knows", async () => {
  await using store = await openStoreAbroad();
  await addModel(store);
  await store.query(
    `insert into core.model_versions values ('other', 1, 'a', 'r', ['x'], ['y'], '{}', '{}', 'e', ?, null)`,
    [ago(1)],
  );
  assertEquals(
    await store.query("select * exclude (created_at) from input_ranges order by feature"),
    [
      { model: "rocks", version: 1, feature: "GR", unit: "gAPI", low: 0, high: 300 },
      { model: "rocks", version: 1, feature: "RHOB", unit: "g/cm3", low: 1, high: 3.5 },
    ],
  );
});
