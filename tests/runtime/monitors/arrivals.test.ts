import { assert, assertEquals } from "@std/assert";
import { refreshEstimatesOf } from "../../../runtime/estimates/refresh.ts";
import { lookAtArrivals, settleStep } from "../../../runtime/monitors/arrivals.ts";
import { ProfileParams } from "../../../runtime/monitors/definition.ts";
import { findDue } from "../../../runtime/monitors/due.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { addModel } from "../../plugins/alerts/rows.ts";
import { addLabels, addRows, day, openMonitored, plainRows, refreshAt } from "./fixture.ts";

const watched = {
  monitor: "profile",
  model: "rocks",
  version: 1,
  windowing: { kind: "time", granularity: "1 day" },
  definition: "1",
} as const;

const dueAt = (store: Store, now: Date) =>
  findDue(store, { ...watched, monitorVersion: 1, latenessMs: 0, now });

/** A store that writes down what it is asked. */
function listen(store: Store): { readonly store: Store; readonly asked: string[] } {
  const asked: string[] = [];
  const heard = new Proxy(store, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (name === "query" || name === "readColumns") asked.push(String(args[0]));
        if (name === "transaction") asked.push(`transaction ${JSON.stringify(args[0])}`);
        return value.apply(target, args);
      };
    },
  });
  return { store: heard, asked };
}

interface PlanNode {
  readonly operator_type?: string;
  readonly operator_cardinality?: number;
  readonly extra_info?: { readonly Table?: string };
  readonly children?: readonly PlanNode[];
}

/** Rows that scans of large tables gave, as DuckDB counts them while it runs a query. */
async function countScanned(store: Store, sql: string): Promise<number> {
  const [plan] = await store.query<{ explain_value: string }>(
    `explain (analyze, format json) ${sql}`,
  );
  const add = (
    { operator_type, operator_cardinality, extra_info, children = [] }: PlanNode,
  ): number =>
    (operator_type === "TABLE_SCAN" && /inferences|labels/.test(extra_info?.Table ?? "")
      ? operator_cardinality ?? 0
      : 0) + children.reduce((sum, child) => sum + add(child), 0);
  return add(JSON.parse(plan.explain_value));
}

Deno.test("lookAtArrivals() reads its cursor and nothing else when nothing came", async () => {
  await using store = await openMonitored();
  await addRows(store, plainRows(60, { truth: "SS" }), { requestId: "a", from: day(1) });
  await addRows(store, plainRows(60), { requestId: "b", from: day(2) });
  assertEquals((await refreshAt(store, day(3))).windows, 2);
  const heard = listen(store);
  assertEquals((await dueAt(heard.store, day(3))).due, []);
  assertEquals(heard.asked.length, 3, heard.asked.join("\n"));
  const [cursor, pending, arrived] = heard.asked;
  assert(cursor.includes("core.monitor_cursors") && !cursor.includes("core.inferences"));
  assert(pending.includes("core.monitor_pending") && !pending.includes("core.inferences"));
  // The row that the cursor stands on, of 120 rows and 60 labels.
  assertEquals(await countScanned(store, arrived), 1);
  assertEquals(await countScanned(store, "select count(label) from core.inferences"), 120);
});

Deno.test("refreshEstimatesOf() asks for no row either when nothing came", async () => {
  await using store = await openMonitored();
  await addRows(store, plainRows(60, { truth: "SS" }), { requestId: "a", from: day(1) });
  const definition = ProfileParams.parse({});
  const about = { model: "rocks", version: 1, definition, now: day(2).getTime() };
  assertEquals((await refreshEstimatesOf(store, about)).windows, 1);
  const heard = listen(store);
  assertEquals((await refreshEstimatesOf(heard.store, about)).windows, 0);
  const large = heard.asked.filter((sql) => /core\.(inferences|labels)/.test(sql));
  assertEquals(large.length, 1, large.join("\n"));
  assertEquals(await countScanned(store, large[0]), 1);
});

Deno.test("lookAtArrivals() finds rows that come late and labels of old windows, each once", async () => {
  await using store = await openMonitored();
  for (const date of [1, 2, 3]) {
    await addRows(store, plainRows(60), { requestId: `r${date}`, from: day(date) });
  }
  await refreshAt(store, day(4));
  await addRows(store, plainRows(5), { requestId: "late", from: day(1, 5) });
  await addLabels(store, "r3", [{ row: 0, truth: "SS" }]);
  const found = await lookAtArrivals(store, watched);
  assertEquals(found.pending.map(({ start }) => start), [day(1), day(3)]);
  assertEquals(found.pending.map(({ labelChange }) => labelChange), [0, 1]);
  // Behind the first one lies another that was compared with it.
  assertEquals((await refreshAt(store, day(4))).windows, 3);
  assertEquals((await lookAtArrivals(store, watched)).pending, []);
  await addLabels(store, "late", [{ row: 1, truth: "SS" }]);
  assertEquals((await refreshAt(store, day(4))).state, "SUCCESS");
  assertEquals((await refreshAt(store, day(4))).state, "IDLE");
});

Deno.test("findDue() gives the same again to whoever comes after one that was killed", async () => {
  await using store = await openMonitored();
  await addRows(store, plainRows(60), { requestId: "a", from: day(1) });
  await addRows(store, plainRows(60), { requestId: "b", from: day(2) });
  await refreshAt(store, day(3));
  await addRows(store, plainRows(5), { requestId: "late", from: day(1, 5) });
  const starts = async () => (await dueAt(store, day(3))).due.map(({ window }) => window.start);
  // The cursor has moved, and neither of the two was computed.
  assertEquals(await starts(), [day(1), day(2)]);
  assertEquals(await starts(), [day(1), day(2)]);
  assertEquals((await refreshAt(store, day(3))).windows, 2);
  assertEquals(await starts(), []);
});

Deno.test("settleStep() leaves a window waiting of which another look found more", async () => {
  await using store = await openMonitored();
  await addRows(store, plainRows(60), { requestId: "a", from: day(1) });
  const first = await lookAtArrivals(store, watched);
  await addRows(store, plainRows(5), { requestId: "late", from: day(1, 5) });
  const second = await lookAtArrivals(store, watched);
  await store.transaction([settleStep(first, { start: day(1) })]);
  assertEquals((await lookAtArrivals(store, watched)).pending.length, 1);
  await store.transaction([settleStep(second, { start: day(1) })]);
  assertEquals((await lookAtArrivals(store, watched)).pending.length, 0);
});

Deno.test("lookAtArrivals() looks at everything again when rows were taken away and others have their numbers", async () => {
  const folder = await Deno.makeTempDir();
  {
    await using store = await openStore(`${folder}/store.duckdb`);
    await addModel(store, {});
    await addMany(store, { prefix: "old", days: [1, 2], rows: 400_000 });
    const now = day(20);
    assertEquals((await dueAt(store, now)).due.length, 2);
    const { cursor } = await lookAtArrivals(store, watched);
    await store.transaction(
      (await dueAt(store, now)).due.map(({ window }) =>
        settleStep({ watched, pending: [], cursor }, window)
      ),
    );
    assertEquals((await lookAtArrivals(store, watched)).pending, []);
    await store.query("delete from core.inferences where request_time < ?", [day(2)]);
    await store.query("checkpoint");
    await addMany(store, { prefix: "new", days: [5, 6], rows: 100_000 });
    // Were the cursor a number alone, all that came would lie before it.
    const [{ last }] = await store.query<{ last: number }>(
      "select max(rowid) as last from core.inferences",
    );
    assert(last < cursor.rowId, `${last} of ${cursor.rowId}`);
    const { pending } = await lookAtArrivals(store, watched);
    assertEquals(pending.map(({ start }) => start), [day(2), day(5), day(6)]);
  }
  await Deno.remove(folder, { recursive: true });
});

async function addMany(
  store: Store,
  { prefix, days: [from, to], rows }: {
    readonly prefix: string;
    readonly days: readonly [number, number];
    readonly rows: number;
  },
): Promise<void> {
  await store.query(
    `insert into core.inferences by name select ? || range as request_id, 0 as row,
       ?::timestamp + to_days((range * ?::integer // ?::integer)::integer) as request_time,
       'rocks' as model, 1 as version, [1.0::double] as features, 'SS' as label,
       0.9 as confidence, [0.9::float] as probabilities from range(?::integer)`,
    [prefix, day(from), to - from + 1, rows, rows],
  );
}
