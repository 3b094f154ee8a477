import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { Random } from "../../../numeric/random.ts";
import { loadAlerts } from "../../../plugins/alerts/load.ts";
import { evaluateAlerts } from "../../../runtime/alerts/engine.ts";
import { UsageError } from "../../../runtime/errors.ts";
import { heldOutSteps } from "../../../runtime/estimates/held_out.ts";
import { recordLabels } from "../../../runtime/inference/labels.ts";
import { explainWhy } from "../../../runtime/why/explain.ts";
import { findMechanism } from "../../../runtime/why/mechanism.ts";
import { rankSuspects, type Suspect } from "../../../runtime/why/suspect.ts";
import { readSubject } from "../../../runtime/why/symptom.ts";
import { matrix } from "../../../numeric/matrix.ts";
import { makeAlert } from "../alerts/alert_fixture.ts";
import { AT, drawRows, inputs, logRequests, logRows, openWorld } from "./world.ts";

const of = { model: "rocks", version: 1, at: AT };
const lowConfidence = makeAlert(
  "low",
  "select 1 from inferences where request_time > now() - interval 1 day",
);

Deno.test("explainWhy() says nothing when nothing changed beyond chance", async () => {
  await using store = await openWorld();
  const random = new Random(5);
  await logRows(store, { before: drawRows(1_000, random), now: drawRows(600, random) });
  const { isReal, suspects, compared } = await explainWhy(store, lowConfidence, of);
  assertEquals([isReal, suspects, compared], [false, [], "predictions"]);
});

Deno.test("explainWhy() turns to the inputs when the model does not mind the fault", async () => {
  await using store = await openWorld();
  const random = new Random(6);
  const now = drawRows(600, random);
  for (const { x } of now) if (random.uniform() < 0.06) x[3] = NaN;
  await logRows(store, { before: drawRows(1_000, random), now });
  const { symptom, compared, suspects } = await explainWhy(store, lowConfidence, of);
  assertEquals([symptom, compared], ["predictions", "inputs"]);
  assertEquals(suspects[0].subject, "DT");
});

Deno.test("explainWhy() names a unit that was mistaken, and says the same twice", async () => {
  await using store = await openWorld();
  const random = new Random(6);
  const now = drawRows(600, random);
  for (const { x } of now) x[4] = x[4] / 0.3048; // DEPTH in feet
  await logRows(store, { before: drawRows(1_000, random), now });
  const alert = makeAlert("far", "select 1 from input_ranges");
  const why = await explainWhy(store, alert, of);
  const [first] = why.suspects;
  assertEquals([why.symptom, first.kind, first.subject], ["inputs", "unit", "DEPTH"]);
  assertStringIncludes(first.text, "comes in ft where m is meant");
  assert(first.contribution > 0.9);
  assertEquals(await explainWhy(store, alert, of), why);
});

Deno.test("explainWhy() names inputs that went missing together before each of them", async () => {
  await using store = await openWorld();
  const random = new Random(12);
  const now = drawRows(600, random);
  for (const { x } of now) x[0] = x[1] = x[3] = NaN;
  await logRows(store, { before: drawRows(1_000, random), now });
  const { suspects: [first, second] } = await explainWhy(store, lowConfidence, of);
  assertEquals([first.kind, first.subject], ["missing values", "GR, RHOB, DT"]);
  assert(first.contribution > second.contribution);
  assertStringIncludes(first.evidence[0], "GR: 100 % missing now");
});

Deno.test("explainWhy() compares with the training rows when there was no traffic before", async () => {
  const random = new Random(7);
  const trained = drawRows(400, random);
  const { handle, steps } = await heldOutSteps({
    X: matrix(400, inputs.length, Float32Array.from(trained.flatMap(({ x }) => x))),
    P: matrix(400, 3),
    y: new Int32Array(400),
    groups: trained.map(({ slice }) => slice),
    order: new Float64Array(400),
  });
  await using store = await openWorld({ predictions: handle });
  await store.transaction(steps);
  const now = drawRows(400, random);
  for (const { x } of now) x[1] = NaN;
  await logRows(store, { before: [], now });
  const { reference, suspects } = await explainWhy(store, lowConfidence, of);
  assertEquals(reference, { kind: "training", from: null, rows: 400 });
  assertEquals([suspects[0].kind, suspects[0].subject], ["missing values", "RHOB"]);
});

Deno.test("explainWhy() explains a loss of truth by the version that brought it", async () => {
  await using store = await openWorld();
  const random = new Random(8);
  const before = drawRows(800, random);
  const now = drawRows(500, random).map((row) => ({ ...row, version: 2 }));
  await logRows(store, { before, now });
  const classOf = ({ x }: { x: number[] }) => x[1] > 2.6 ? "lime" : x[0] > 75 ? "shale" : "sand";
  await recordLabels(
    store,
    [...before, ...now].map((row, i) => ({
      requestId: `request-${i}`,
      row: 0,
      label: classOf(row),
    })),
    "lab",
  );
  const alert = makeAlert(
    "wrong",
    "select 1 from inferences join labels using (request_id, row) where request_time > now() - interval 1 day",
  );
  const { symptom, change, suspects } = await explainWhy(store, alert, of);
  assertEquals([symptom, suspects[0].kind, suspects[0].subject], ["truth", "version", "2"]);
  assertStringIncludes(change, "of the labeled predictions are wrong, before");
  assert(suspects[0].evidence.includes("it was trained on other data"));
});

Deno.test("explainWhy() names the key behind a spike of requests", async () => {
  await using store = await openWorld();
  await logRequests(store, {
    count: 6_000,
    random: new Random(9),
    draft: (isNow, requester) => ({ requester: isNow ? "eve" : requester }),
  });
  // Three of four of the last hour's are hers.
  const alert = makeAlert(
    "many",
    "select count(*) from requests where request_time > now() - interval 1 hour",
  );
  await store.query(
    "insert into core.requests select * from core.requests where requester = 'eve'",
  );
  const { symptom, suspects } = await explainWhy(store, alert, of);
  assertEquals([symptom, suspects[0].kind, suspects[0].subject], ["volume", "requester", "eve"]);
});

Deno.test("explainWhy() starts at the time the alert began to fire", async () => {
  await using store = await openWorld();
  const random = new Random(10);
  const now = drawRows(300, random);
  for (const { x } of now) x[0] = 55;
  await logRows(store, { before: drawRows(600, random), now });
  await store.query(
    "update core.inferences set request_time = request_time + (now()::timestamp - ?::timestamp)",
    [new Date(AT)],
  );
  const alert = makeAlert("always", `${lowConfidence.sql} limit 1`);
  await evaluateAlerts(store, [alert], { model: "rocks", version: 1 });
  const { current, suspects } = await explainWhy(store, alert, { model: "rocks", version: 1 });
  assertEquals(Date.parse(current.to) - Date.parse(current.from), 86_400_000);
  assertEquals([suspects[0].kind, suspects[0].subject], ["stuck value", "GR"]);
});

Deno.test("explainWhy() refuses an alert about neither requests, predictions nor resources, and too few rows", async () => {
  await using store = await openWorld();
  const keys = makeAlert("keys", "select 1 from api_keys");
  await assertRejects(() => explainWhy(store, keys, of), UsageError, "reads api_keys");
  await assertRejects(() => explainWhy(store, lowConfidence, of), UsageError, "0 predictions");
  const bad = makeAlert("bad", "select 1 from requests where status_code > 499");
  await assertRejects(() => explainWhy(store, bad, of), UsageError, "0 requests");
});

Deno.test("readSubject() reads from every shipped alert what it is about", async () => {
  await using store = await openWorld();
  const about: Record<string, string> = {};
  for (const alert of await loadAlerts(new URL("../../../plugins/alerts/", import.meta.url))) {
    const subject = await readSubject(store, alert).catch((error) => {
      assert(error instanceof UsageError);
      return { symptom: "none", windowMs: 0 };
    });
    about[alert.name] = subject.symptom;
    if (alert.name === "prediction_drift") assertEquals(subject.windowMs, 86_400_000);
    if (alert.name === "error_rate") assertEquals(subject.windowMs, 3_600_000);
  }
  assertEquals(about, {
    ...about,
    error_rate: "errors",
    rejected_rate: "errors",
    latency_p99: "latency",
    volume_spike: "volume",
    volume_drop: "volume",
    missing_share: "inputs",
    out_of_range: "inputs",
    realized_accuracy: "truth",
    low_confidence: "predictions",
    estimated_accuracy: "predictions",
    disk_space: "resources",
    queue_backlog: "resources",
    log_backlog: "resources",
  });
});

Deno.test("findMechanism() tells missing, stuck, scaled, shifted and changed values apart", () => {
  const random = new Random(3);
  const values = Float64Array.from({ length: 400 }, () => 2 + random.uniform());
  const kindOf = (change: (value: number, i: number) => number, unit?: string) =>
    findMechanism(values, values.map(change), unit).kind;
  assertEquals(kindOf((v, i) => i % 2 ? NaN : v), "missing values");
  assertEquals(kindOf((v, i) => i % 3 ? 2.5 : v), "stuck value");
  assertEquals(kindOf((v) => 1000 * v, "g/cm3"), "unit");
  assertEquals(kindOf((v) => 1000 * v, "no such unit"), "scale");
  assertEquals(kindOf((v) => 3 * v, "g/cm3"), "scale");
  assertEquals(kindOf((v) => v + 0.8), "shift");
  assertEquals(kindOf((v) => 6 - v * v), "changed values");
  assertEquals(findMechanism(values.map(() => NaN), values).text, "is no longer missing");
});

Deno.test("rankSuspects() puts the more specific kind first among equals and leaves out what explains nothing", () => {
  const suspect = (kind: Suspect["kind"], contribution: number): Suspect => ({
    kind,
    contribution,
    subject: kind,
    where: null,
    text: "",
    evidence: [],
  });
  const ranked = rankSuspects([
    suspect("slice", 1),
    suspect("shift", 0.99),
    suspect("version", 0.5),
    suspect("scale", 0.01),
  ]);
  assertEquals(ranked.map(({ kind }) => kind), ["shift", "slice", "version"]);
});
