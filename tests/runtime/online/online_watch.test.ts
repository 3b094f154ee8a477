import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { matrix } from "../../../numeric/matrix.ts";
import { Random } from "../../../numeric/random.ts";
import { InferenceLog, type InferenceRows } from "../../../runtime/inference/inference_log.ts";
import { OnlineWatch } from "../../../runtime/online/online_watch.ts";
import { OnlineParams } from "../../../runtime/online/params.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { registerTestModel, testClasses } from "../../model_fixture.ts";
import { makeRequestRow } from "../../request_row.ts";
import { registerWithHeldOut } from "../estimates/fixture.ts";

/** Short periods, so that thresholds are simulated at once. */
const watched = {
  referenceRows: 100,
  snapshotSeconds: 3_600,
  watch: [
    { series: "feature:GR", period: 1_000 },
    { series: "confidence", detector: "page_hinkley", period: 1_000 },
    { series: "label:siltstone", detector: "adwin", period: 1_000 },
  ],
};

interface Watching extends AsyncDisposable {
  readonly online: OnlineWatch;
  readonly log: InferenceLog;
  readonly events: string[];
}

/** Detectors that are fed as those of a server are. */
async function watch(store: Store, params: unknown = watched): Promise<Watching> {
  const events: string[] = [];
  const online = new OnlineWatch(store, OnlineParams.parse(params), {
    onEvent: (text) => events.push(text),
  });
  const log = await InferenceLog.open(store, {
    onWritten: (requestId, time, rows) => online.read(requestId, time, rows),
  });
  return {
    online,
    log,
    events,
    async [Symbol.asyncDispose]() {
      await log.close();
      await online.settled();
      await online[Symbol.asyncDispose]();
    },
  };
}

/** Rows of which GR lies around `level`, with a class that a higher one makes more likely. */
function makeRows(
  count: number,
  { seed, level = 50, version = 1 }: {
    readonly seed: number;
    readonly level?: number;
    readonly version?: number;
  },
): InferenceRows {
  const random = new Random(seed);
  const P = matrix(count, 3);
  const features = new Float64Array(3 * count);
  const labels = Int32Array.from({ length: count }, (_, i) => {
    features.set([level + 20 * random.uniform(), 2.4, i % 4 === 0 ? NaN : 0.2], 3 * i);
    const label = random.uniform() < level / 200 ? 1 : 0;
    P.data[3 * i + label] = 0.6 + 0.3 * random.uniform();
    return label;
  });
  return { model: "rocks", version, features, labels, probabilities: P, classes: testClasses };
}

async function send(
  { log }: Watching,
  rows: InferenceRows,
  requestId: string,
  minute = 0,
): Promise<void> {
  const requestTime = new Date(Date.UTC(2026, 2, 1, 12, minute));
  await log.record(makeRequestRow(requestId, { requestTime }), rows);
}

/** Sends requests `from` to `to`; from request 20 on GR is higher. */
async function sendStream(watching: Watching, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) {
    await send(watching, makeRows(50, { seed: i, level: i < 20 ? 50 : 90 }), `r${i}`, i);
  }
}

/** Everything but when it was written. */
async function readAll(store: Store) {
  return {
    alarms: await store.query(
      "select * exclude created_at from online_alarms order by series, alarmed_at, row",
    ),
    detectors: await store.query(
      "select * exclude saved_at from core.online_detectors order by series",
    ),
  };
}

Deno.test("OnlineWatch tells which series changed, when and from what when the stream changes", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  {
    await using watching = await watch(store);
    await sendStream(watching, 0, 40);
    assertEquals(watching.events, []);
  }
  const { alarms } = await readAll(store);
  const [first] = alarms.filter(({ series }) => series === "feature:GR");
  assertEquals(
    [first.request_id, first.reference_source, first.rate, first.period],
    ["r20", "rows", 0.05, 1_000],
  );
  assertAlmostEquals(first.reference_mean as number, 60, 2);
  // Of so few rows one or two from before weigh much.
  assert((first.mean_since as number) > 66);
  assert((first.statistic as number) > (first.threshold as number));
  // The change is with row 0 of request 20; an estimate is a few rows about it.
  assertAlmostEquals(first.rows_since_change as number, (first.row as number) + 1, 12);
  assertMatch(first.changed_at as string, /^2026-03-01T12:(19|20):00/);
  assert(
    alarms.some(({ series, threshold }) => series === "label:siltstone" && threshold === null),
  );
  assertEquals(
    await store.query(`select state, rows, missing, alarms from online_detectors
      where series = 'feature:GR'`),
    [{ state: "watching", rows: 2_000, missing: 0, alarms: 1 }],
  );
});

Deno.test("OnlineWatch skips and counts missing values, and learns anew from the rows after an alarm", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  await using watching = await watch(store, {
    ...watched,
    watch: [{ series: "feature:NPHI" }, { series: "feature:GR", period: 100 }],
  });
  await sendStream(watching, 0, 21);
  await watching.online.settled();
  await watching.online.save();
  const [gr, nphi] = (await store.query("from online_detectors order by series"))
    .map(({ state, rows, missing }) => ({ state, rows, missing }));
  assertEquals(gr, { state: "learning", rows: 1_050, missing: 0 });
  // One in four is missing; those that are there never differ, and say nothing.
  assertEquals(nphi, { state: "learning", rows: 21 * 37, missing: 21 * 13 });
  assertEquals(watching.online.readings.map((reading) => reading.missing), [21 * 13, 0]);
});

Deno.test("OnlineWatch finds the same alarms once when it goes on from an older snapshot", async () => {
  await using whole = await openStore(":memory:");
  await registerTestModel(whole);
  {
    await using watching = await watch(whole);
    await sendStream(watching, 0, 40);
  }
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  {
    await using watching = await watch(store);
    await sendStream(watching, 0, 12);
  }
  const [{ n }] = await store.query("select count(*) as n from core.online_detectors");
  assertEquals(n, 3);
  await store.query("create table older as from core.online_detectors");
  {
    await using watching = await watch(store);
    await sendStream(watching, 12, 30);
  }
  // What a server leaves that is killed after its alarms are written, but no snapshot since.
  await store.query("insert or replace into core.online_detectors from older");
  {
    await using watching = await watch(store);
    await sendStream(watching, 30, 40);
    assertEquals(watching.events, []);
  }
  assertEquals(await readAll(store), await readAll(whole));
  assert((await readAll(store)).alarms.length > 0);
});

Deno.test("OnlineWatch goes on by time when the row of its snapshot was deleted", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  {
    await using watching = await watch(store);
    await sendStream(watching, 0, 12);
  }
  await store.query("create table older as from core.online_detectors");
  {
    await using watching = await watch(store);
    await sendStream(watching, 12, 15);
  }
  const expected = await readAll(store);
  await store.query("insert or replace into core.online_detectors from older");
  await store.query("delete from core.inferences where request_id = 'r11'");
  {
    await using watching = await watch(store);
    watching.online.open({ model: "rocks", version: 1 });
  }
  assertEquals(await readAll(store), expected);
});

Deno.test("OnlineWatch takes held-out predictions as its reference where a version has them", async () => {
  await using store = await openStore(":memory:");
  await registerWithHeldOut(store, 400);
  {
    await using watching = await watch(store);
    watching.online.open({ model: "rocks", version: 1 });
    await watching.online.settled();
  }
  const rows = await store.query(
    "select series, state, reference_source, reference_rows, reference_mean from online_detectors order by 1",
  );
  assertEquals(rows.map(({ reference_mean: _, ...row }) => row), [
    {
      series: "confidence",
      state: "watching",
      reference_source: "held_out",
      reference_rows: 100,
    },
    { series: "feature:GR", state: "watching", reference_source: "held_out", reference_rows: 100 },
    { series: "label:siltstone", state: "watching", reference_source: null, reference_rows: null },
  ]);
  assertAlmostEquals(rows[1].reference_mean as number, 40, 4);
});

Deno.test("OnlineWatch has fresh detectors for another version, and begins anew when its parameters change", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  await registerTestModel(store, { seed: 2 });
  {
    await using watching = await watch(store);
    await sendStream(watching, 0, 10);
    await send(watching, makeRows(30, { seed: 9, version: 2 }), "second");
  }
  const counts =
    `select version, rows from online_detectors where series = 'feature:GR' order by 1`;
  assertEquals(await store.query(counts), [{ version: 1, rows: 500 }, { version: 2, rows: 30 }]);
  {
    await using watching = await watch(store, { ...watched, referenceRows: 200 });
    await sendStream(watching, 10, 11);
  }
  assertEquals(await store.query(counts), [{ version: 1, rows: 50 }, { version: 2, rows: 30 }]);
});

Deno.test("OnlineWatch says what it cannot watch and what is damaged, and watches the rest", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  const params = {
    ...watched,
    watch: [{ series: "feature:GRR" }, { series: "label:coal" }, ...watched.watch],
  };
  const unknown = [
    'Cannot watch input "GRR": the model has none of this name; did you mean "GR"? (model "rocks" version 1)',
    'Cannot watch class "coal": the model has none of this name; there are sandstone, siltstone, anhydrite (model "rocks" version 1)',
  ];
  {
    await using watching = await watch(store, params);
    await sendStream(watching, 0, 5);
    await watching.online.settled();
    assertEquals(watching.events, unknown);
    assertEquals(watching.online.readings.length, 3);
  }
  await store.query(
    `update core.online_detectors set memory = json_merge_patch(memory::json, '{"rows":-1}')
    where series = 'confidence'`,
  );
  await store.query("update core.online_detectors set memory = 'no json' where detector = 'adwin'");
  await using watching = await watch(store, params);
  await sendStream(watching, 5, 6);
  await watching.online.settled();
  const damaged = watching.events.slice(2);
  assertEquals(damaged.length, 2);
  assertStringIncludes(damaged[0], "The detector of confidence");
  assertStringIncludes(damaged[1], "The detector of label:siltstone");
});

Deno.test("OnlineWatch keeps alarms until they can be written when the store fails", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  let isBroken = false;
  const fragile = new Proxy(store, {
    get(target, name) {
      if (name === "transaction" && isBroken) {
        return () => Promise.reject(new Error("The disk is full"));
      }
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  {
    await using watching = await watch(fragile);
    await sendStream(watching, 0, 19);
    isBroken = true;
    await sendStream(watching, 19, 40);
    await watching.online.settled();
    await watching.online.save();
    await watching.online.save();
    assertEquals(watching.events, ["Cannot keep what the detectors found: The disk is full"]);
    assertEquals(await store.query("from online_alarms"), []);
    isBroken = false;
  }
  const { alarms } = await readAll(store);
  assert(alarms.some(({ series }) => series === "feature:GR"));
});
