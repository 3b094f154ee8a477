import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { Random } from "../../../numeric/random.ts";
import { loadAlerts } from "../../../plugins/alerts/load.ts";
import { UsageError } from "../../../runtime/errors.ts";
import type { Store } from "../../../runtime/store/store.ts";
import { explainWhy } from "../../../runtime/why/explain.ts";
import { makeAlert } from "../alerts/alert_fixture.ts";
import { appendRequests, AT, drawRows, logRows, openWorld, type RequestDraft } from "./world.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const of = { model: "rocks", version: 1, at: AT };

const since = "where request_time > now() at time zone 'UTC' - interval 1 hour";
const slow = makeAlert("slow", `select 1 from requests ${since} and duration_ms > 9`);
const bad = makeAlert("bad", `select 1 from requests ${since} and status_code >= 500`);
const shipped = new Map(
  (await loadAlerts(new URL("../../../plugins/alerts/", import.meta.url))).map((alert) => [
    alert.name,
    alert,
  ]),
);

/** What a look shows that is so many milliseconds old. */
type Look = (age: number) => Readonly<Record<string, number>>;

/** Puts looks a minute apart into the store, eight hours long unless said otherwise. */
async function look(store: Store, at: Look, { hours = 8 } = {}): Promise<void> {
  const ages = Array.from({ length: hours * 60 }, (_, i) => (hours * 60 - i - 0.5) * MINUTE);
  const rows = ages.map((age) => ({
    cpu_cores: 0.8 + 0.2 * Math.sin(age),
    memory_bytes: 2e9,
    disk_free_bytes: 5e10,
    queue_rows: 3,
    log_backlog_rows: 20,
    event_loop_lag_seconds: 0.002,
    ...at(age),
  }));
  await store.transaction([
    { sql: "delete from core.resources" },
    {
      append: "core.resources",
      columns: {
        created_at: ages.map((age) => new Date(AT - age)),
        ...Object.fromEntries(
          Object.keys(rows[0]).map((name) => [
            name,
            Float64Array.from(rows, (row) => (row as Record<string, number>)[name]),
          ]),
        ),
      },
    },
  ]);
}

/** Puts 4,000 requests of eight hours into the store. */
async function send(
  store: Store,
  draft: (age: number, requester: string) => Partial<RequestDraft>,
): Promise<void> {
  const random = new Random(4);
  const requests = Array.from({ length: 4_000 }, (_, i): RequestDraft => {
    const age = random.uniform() * 8 * HOUR;
    const requester = ["ann", "bob", "cy"][random.below(3)];
    return {
      id: `r-${i}`,
      time: new Date(AT - age),
      requester,
      modelMs: 2 + random.uniform(),
      ...draft(age, requester),
    };
  });
  await store.transaction([{ sql: "delete from core.requests" }, appendRequests(requests)]);
}

/** The last twenty minutes of the window. */
const isBusy = (age: number) => age < 20 * MINUTE;

Deno.test("explainWhy() names a resource that left its range while requests took longer, with its numbers", async () => {
  await using store = await openWorld();
  await send(store, (age) => isBusy(age) ? { otherMs: 40 } : {});
  await look(store, (age) => isBusy(age) ? { cpu_cores: 3.9, memory_bytes: 2.01e9 } : {});
  const { symptom, isReal, suspects } = await explainWhy(store, slow, of);
  assertEquals([symptom, isReal], ["latency", true]);
  // Where the time went comes with it.
  assertEquals(suspects.slice(0, 2).map(({ kind }) => kind).toSorted(), [
    "resource",
    "time elsewhere",
  ]);
  const first = suspects.find(({ kind }) => kind === "resource")!;
  assertEquals(first.subject, "cpu_cores");
  assert(first.contribution > 0.9);
  assertEquals(first.text, "cpu_cores reached 3.9 cores, before 1 cores was the worst");
  assertStringIncludes(first.evidence.join("; "), "of the requests came while it was beyond that");
  // Ten megabytes more are nothing.
  assertEquals(suspects.filter(({ kind }) => kind === "resource").length, 1);
});

Deno.test("explainWhy() names a disk that ran full before failures, and not one that has room", async () => {
  await using store = await openWorld();
  await send(store, (age) => age < 10 * MINUTE ? { status: 503 } : {});
  await look(store, (age) => age < 10 * MINUTE ? { disk_free_bytes: 1e6 } : {});
  const [first] = (await explainWhy(store, bad, of)).suspects;
  assertEquals([first.kind, first.subject], ["resource", "disk_free_bytes"]);
  assertStringIncludes(first.text, "disk_free_bytes reached 0.954 MiB, before 47700 MiB");
  await look(store, (age) => age < 10 * MINUTE ? { disk_free_bytes: 9e10 } : {});
  const { suspects } = await explainWhy(store, bad, of);
  assertEquals(suspects.filter(({ kind }) => kind === "resource"), []);
});

Deno.test("explainWhy() puts a key before the processor that it kept busy all the time", async () => {
  await using store = await openWorld();
  await send(
    store,
    (age, requester) => age < HOUR && requester === "ann" ? { modelMs: 90, rows: 64 } : {},
  );
  await look(store, (age) => age < HOUR ? { cpu_cores: 3.9 } : {});
  const { suspects } = await explainWhy(store, slow, of);
  assertEquals([suspects[0].kind, suspects[0].subject], ["requester", "ann"]);
  const busy = suspects.find(({ kind }) => kind === "resource")!;
  assert(busy.contribution <= 0.5, "what goes on all the time is no proof");
});

Deno.test("explainWhy() suspects no resource that stayed in its range, that nobody knew before or that nobody looked at", async () => {
  await using store = await openWorld();
  await send(store, (age) => isBusy(age) ? { otherMs: 40 } : {});
  const named = async () =>
    (await explainWhy(store, slow, of)).suspects.filter(({ kind }) => kind === "resource");
  await look(store, () => ({}));
  assertEquals(await named(), []);
  await look(store, (age) => isBusy(age) ? { cpu_cores: 3.9 } : {}, { hours: 1 });
  assertEquals(await named(), []);
  await look(store, (age) => isBusy(age) ? { cpu_cores: NaN } : {});
  assertEquals(await named(), []);
  await store.query("delete from core.resources");
  assertEquals(await named(), []);
});

Deno.test("explainWhy() blames no resource for what a model answered", async () => {
  await using store = await openWorld();
  const random = new Random(5);
  const now = drawRows(600, random);
  for (const { x } of now) x[0] = 55;
  await logRows(store, { before: drawRows(1_000, random), now });
  await look(store, (age) => isBusy(age) ? { cpu_cores: 3.9 } : {});
  const alert = makeAlert(
    "low",
    "select 1 from inferences where request_time > now() - interval 1 day",
  );
  const { suspects } = await explainWhy(store, alert, of);
  assertEquals([suspects[0].kind, suspects.some(({ kind }) => kind === "resource")], [
    "stuck value",
    false,
  ]);
});

Deno.test("explainWhy() explains a queue by the machine and by the traffic that grew at the same time", async () => {
  await using store = await openWorld();
  await send(store, (age) => ({ requester: age < 5 * MINUTE ? "eve" : "ann" }));
  await store.query(
    `insert into core.requests by name select r.* replace (uuid()::varchar as request_id)
     from core.requests r, range(20) where requester = 'eve'`,
  );
  await look(store, (age) => age < 5 * MINUTE ? { queue_rows: 4_000, cpu_cores: 3.9 } : {});
  const { symptom, change, current, suspects } = await explainWhy(
    store,
    shipped.get("queue_backlog")!,
    { ...of, windowMs: 5 * MINUTE },
  );
  assertEquals([symptom, current.rows], ["resources", 5]);
  assertStringIncludes(change, "queue_rows is 4000 rows in the middle of the window, before");
  assertStringIncludes(change, "requests an hour, before");
  const found = suspects.map(({ kind, subject }) => `${kind} ${subject}`);
  assert(found.includes("resource cpu_cores"), found.join());
  assert(found.includes("requester eve"), found.join());
  assert(!found.includes("resource queue_rows"), "it is what is to be explained");
});

Deno.test("explainWhy() says that a resource did not leave its range, and refuses too few looks", async () => {
  await using store = await openWorld();
  const backlog = shipped.get("log_backlog")!;
  await assertRejects(() => explainWhy(store, backlog, of), UsageError, "too few looks");
  await look(store, () => ({}));
  const { isReal, suspects } = await explainWhy(store, backlog, { ...of, windowMs: HOUR });
  assertEquals([isReal, suspects], [false, []]);
  const other = makeAlert("other", "select 1 from resources where name = 'heap_bytes'");
  await assertRejects(() => explainWhy(store, other, of), UsageError, "names none of cpu_cores");
});
