/**
 * One suite per plugin kind: what every plugin of the kind must do. A new plugin is one line in the
 * tests.
 *
 * @module
 */
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertThrows,
} from "@std/assert";
import * as ort from "onnxruntime-node";
import { z } from "zod";
import { type Matrix, matrix } from "../numeric/matrix.ts";
import { Graph } from "../numeric/onnx.ts";
import { Random } from "../numeric/random.ts";
import type {
  AlertEvent,
  ClassProfile,
  Dataset,
  FitContext,
  Inference,
  Model,
  Plugin,
  Verdict,
} from "../plugins/plugin.ts";
import { openStore, type Store } from "../runtime/store/store.ts";

/** Outputs of a model's ONNX graph. */
export interface OnnxPrediction {
  /** `[n]` */
  readonly labels: number[];
  /** `[n, k]` */
  readonly probabilities: Float32Array;
}

/** Serializes a model's graph on the input `features` `[n, d]`. */
export function exportModel(model: Model, d: number, k: number): Uint8Array<ArrayBuffer> {
  const graph = new Graph();
  model.toGraph(graph, graph.input("features", "float32", ["n", d]));
  graph.output("label", "int64", ["n"]);
  graph.output("probabilities", "float32", ["n", k]);
  return graph.toBytes();
}

/** Runs serialized bytes of {@linkcode exportModel} in onnxruntime. */
export async function runOnnx(bytes: Uint8Array, X: Matrix): Promise<OnnxPrediction> {
  const session = await ort.InferenceSession.create(bytes, { intraOpNumThreads: 1 });
  const features = new ort.Tensor("float32", X.data, [X.rows, X.cols]);
  const { label, probabilities } = await session.run({ features });
  await session.release();
  return {
    labels: Array.from(label.data as BigInt64Array, Number),
    probabilities: probabilities.data as Float32Array,
  };
}

/** A context without validation rows that nobody aborts. */
export function makeContext(more: Partial<FitContext> = {}): FitContext {
  return { seed: 1, signal: new AbortController().signal, ...more };
}

/** Gaussian clusters, one per class, in four columns of different units. */
export function makeClusters(
  rows: number,
  k: number,
  { seed = 0, missing = 0 }: { seed?: number; missing?: number } = {},
): Dataset {
  const random = new Random(seed);
  const normal = () =>
    Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
  const y = Int32Array.from({ length: rows }, () => random.below(k));
  const X = matrix(rows, 4);
  y.forEach((c, i) => {
    const row = [c + normal(), 100 * (c % 2 + normal()), 1e-2 * normal() - 0.03 * c, normal()];
    row.forEach((value, j) => X.data[4 * i + j] = random.uniform() < missing ? NaN : value);
  });
  return {
    X,
    y,
    featureNames: ["a", "b", "c", "d"],
    classNames: Array.from({ length: k }, (_, c) => `class ${c}`),
  };
}

/** Asserts that onnxruntime gives what `predict` gives: 1e-5 per probability, every label. */
export async function assertOnnxEqual(model: Model, X: Matrix, k: number): Promise<void> {
  const P = model.predict(X);
  assertEquals([P.rows, P.cols], [X.rows, k]);
  const { labels, probabilities } = await runOnnx(exportModel(model, X.cols, k), X);
  assertEquals(probabilities.length, P.data.length);
  P.data.forEach((p, i) => assertAlmostEquals(probabilities[i], p, 1e-5, `probability ${i}`));
  assertEquals(labels, predictLabels(P));
}

/** The first class of the largest probability, per row. */
export function predictLabels({ data, rows, cols }: Matrix): number[] {
  return Array.from({ length: rows }, (_, i) => {
    const row = data.subarray(i * cols, (i + 1) * cols);
    return row.indexOf(row.reduce((largest, p) => Math.max(largest, p)));
  });
}

/** Registers the tests every trainer must pass. `params` are parsed by the trainer's schema. */
export function testTrainer(trainer: Plugin<"trainer">, params: unknown = {}): void {
  const parsed = trainer.params.parse(params);
  const missing = trainer.handlesMissing ? 0.1 : 0;
  const { name } = trainer;

  for (const k of [2, 4]) {
    Deno.test(`${name}.fit() gives probabilities that onnxruntime repeats when there are ${k} classes`, async () => {
      const train = makeClusters(400, k, { seed: 1, missing });
      const model = await trainer.fit(train, parsed, makeContext());
      const { X } = makeClusters(500, k, { seed: 2, missing });
      const P = model.predict(X);
      for (let i = 0; i < P.rows; i++) {
        const row = P.data.subarray(i * k, (i + 1) * k);
        assert(row.every((p) => p >= 0 && p <= 1), `row ${i}`);
        assertAlmostEquals(row.reduce((sum, p) => sum + p, 0), 1, 1e-6, `row ${i}`);
      }
      await assertOnnxEqual(model, X, k);
    });
  }

  Deno.test(`${name}.fit() gives the same bytes when data, parameters and seed are the same`, async () => {
    const train = makeClusters(200, 3, { seed: 3, missing });
    const fit = async () => exportModel(await trainer.fit(train, parsed, makeContext()), 4, 3);
    const bytes = await fit();
    assertEquals(await fit(), bytes);
    const other = await trainer.fit(makeClusters(201, 3, { seed: 4 }), parsed, makeContext());
    assertNotEquals(exportModel(other, 4, 3), bytes);
  });

  Deno.test(`${name}.fit() leaves its data alone and gives importances that sum to 1 when it has any`, async () => {
    const train = makeClusters(200, 3, { seed: 5, missing });
    const copy = { X: train.X.data.slice(), y: train.y.slice() };
    const { importances } = await trainer.fit(train, parsed, makeContext());
    assertEquals({ X: train.X.data, y: train.y }, copy);
    if (importances === undefined) return;
    assertEquals(importances.length, 4);
    assert(importances.every((share) => share >= 0));
    assertAlmostEquals(importances.reduce((sum, share) => sum + share), 1, 1e-9);
  });

  Deno.test(`${name}.fit() keeps a column of probability 0 when a class is absent from the rows`, async () => {
    for (const absent of [0, 1, 2]) {
      const all = makeClusters(300, 3, { seed: 6, missing });
      const others = [0, 1, 2].filter((c) => c !== absent);
      const train = { ...all, y: all.y.map((c) => c === absent ? others[0] : c) };
      const model = await trainer.fit(train, parsed, makeContext());
      const P = model.predict(all.X);
      for (let i = 0; i < P.rows; i++) assert(P.data[3 * i + absent] < 1e-6);
      await assertOnnxEqual(model, all.X, 3);
    }
  });

  Deno.test(`${name}.fit() throws RangeError naming the class when all rows are of one class`, async () => {
    const train = { ...makeClusters(50, 3), y: new Int32Array(50).fill(2) };
    const fit = () => trainer.fit(train, parsed, makeContext());
    await assertRejects(fit, RangeError, `all rows are of class "class 2"`);
  });

  Deno.test(`${name}.fit() throws the signal's reason when the signal is aborted`, async () => {
    const controller = new AbortController();
    controller.abort(new Error("Stop it"));
    const context = makeContext({ signal: controller.signal });
    const fit = () => trainer.fit(makeClusters(50, 3), parsed, context);
    await assertRejects(fit, Error, "Stop it");
  });

  Deno.test(`${name}.predict() gives no rows when there are none`, async () => {
    const model = await trainer.fit(makeClusters(60, 3), parsed, makeContext());
    const P = model.predict(matrix(0, 4));
    assertEquals([P.rows, P.cols, P.data.length], [0, 3, 0]);
  });

  Deno.test(`${name}.fit() and predict() throw when shapes or classes disagree`, async () => {
    const train = makeClusters(60, 3);
    const model = await trainer.fit(train, parsed, makeContext());
    assertThrows(() => model.predict(matrix(2, 5)), TypeError, "5 columns");
    const short = { ...train, y: train.y.slice(1) };
    await assertRejects(() => trainer.fit(short, parsed, makeContext()), TypeError, "60 rows");
    const stray = { ...train, y: train.y.map((c) => c + 1) };
    await assertRejects(() => trainer.fit(stray, parsed, makeContext()), RangeError, "class 3");
  });

  Deno.test(`${name}.params gives each parameter a description and a default`, () => {
    const { properties = {} } = describeParams(trainer);
    for (const [key, property] of Object.entries(properties)) {
      assert(property.description, `"${key}" has no description`);
      assert("default" in property, `"${key}" has no default`);
    }
  });
}

function describeParams({ params }: Plugin<"trainer">) {
  return z.toJSONSchema(params) as {
    properties?: Record<string, { description?: string; default?: unknown }>;
  };
}

/** Reads what a source gives as rows of a store, as ingestion does. */
async function readSource(
  source: Plugin<"source">,
  uri: string,
  store: Store,
): Promise<Record<string, unknown>[]> {
  const table = await source.open(uri, { signal: new AbortController().signal });
  if ("select" in table) return await store.query(table.select);
  const lengths = new Set(table.columns.map(({ values }) => values.length));
  assertEquals(lengths.size, 1, "columns of different length");
  const [rows] = lengths;
  return Array.from(
    { length: rows },
    (_, i) =>
      Object.fromEntries(table.columns.map(({ name, values }) => {
        const value = values[i];
        return [name, typeof value === "number" && Number.isNaN(value) ? null : value];
      })),
  );
}

/** Rows that a sample file of every source holds. */
export const sampleRows: readonly Record<string, number | null>[] = [
  { depth: 100, gr: 42.5 },
  { depth: 100.5, gr: null },
  { depth: 101, gr: 57 },
];

/** Registers the tests every source must pass; `write` makes a file of {@linkcode sampleRows}. */
export function testSource(
  source: Plugin<"source">,
  write: (path: string, store: Store) => Promise<unknown>,
): void {
  const { name, extensions } = source;

  async function withFile(action: (path: string, store: Store) => Promise<void>): Promise<void> {
    const dir = await Deno.makeTempDir();
    await using store = await openStore(":memory:");
    try {
      const path = `${dir}/it's a sample${extensions[0]}`;
      await write(path, store);
      await action(path, store);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  }

  Deno.test(`${name}.open() gives the rows of its file when the path holds a quote and spaces`, () =>
    withFile(async (path, store) => {
      assertEquals(await readSource(source, path, store), [...sampleRows]);
      assertEquals(await readSource(source, path, store), [...sampleRows]);
    }));

  Deno.test(`${name}.open() names the file when there is none or it is empty`, () =>
    withFile(async (path, store) => {
      const missing = path.replace("sample", "missing");
      const gone = await assertRejects(() => readSource(source, missing, store), Error);
      assert(gone.message.includes("missing"), gone.message);
      await Deno.writeFile(path, new Uint8Array());
      await assertRejects(() => readSource(source, path, store), Error);
    }));

  Deno.test(`${name}.extensions are endings that begin with a dot`, () => {
    assert(extensions.length > 0);
    for (const extension of extensions) assert(/^(\.\w+)+$/.test(extension), extension);
  });
}

/**
 * Registers the tests every drift method must pass. A method that compares one property, such as the
 * mean, is `blindTo` changes of the others.
 */
export function testDrift(
  drift: Plugin<"drift">,
  { blindTo = [] }: { readonly blindTo?: readonly ("scale" | "collapse")[] } = {},
): void {
  const { name } = drift;
  const draw = (seed: number, shift = 0, rows = 2_000) => {
    const random = new Random(seed);
    return Float64Array.from(
      { length: rows },
      () =>
        shift + Math.sqrt(-2 * Math.log(1 - random.uniform())) *
          Math.cos(2 * Math.PI * random.uniform()),
    );
  };

  Deno.test(`${name}.compare() finds no drift when the samples are the same or of one distribution`, () => {
    const reference = draw(1);
    assertEquals(drift.compare(reference, reference)?.isDrifted, false);
    assertEquals(drift.compare(reference, draw(2))?.isDrifted, false);
    const constant = new Float64Array(100).fill(7);
    assertEquals(drift.compare(constant, constant)?.isDrifted, false);
  });

  Deno.test(`${name}.compare() finds drift when location, scale or a constant changes`, () => {
    const reference = draw(1);
    const changed = [draw(2, 1), draw(2, -1)];
    if (!blindTo.includes("scale")) changed.push(draw(2).map((v) => 4 * v));
    if (!blindTo.includes("collapse")) changed.push(reference.map(() => 0));
    for (const current of changed) {
      const result = drift.compare(reference, current)!;
      assert(result.isDrifted);
      assert(Number.isFinite(result.statistic));
      // A distance lies at or above the threshold, a p-value below it.
      assert(result.statistic >= drift.threshold || result.pValue! < drift.threshold);
      if (result.pValue !== undefined) assert(result.pValue >= 0 && result.pValue <= 1);
    }
    const constant = new Float64Array(100).fill(7);
    assertEquals(drift.compare(constant, constant.map(() => 8))?.isDrifted, true);
  });

  Deno.test(`${name}.compare() gives null, not a number, when either side is empty`, () => {
    const none = new Float64Array();
    assertEquals(drift.compare(none, draw(1)), null);
    assertEquals(drift.compare(draw(1), none), null);
    assertEquals(drift.compare(none, none), null);
  });

  Deno.test(`${name}.compare() is deterministic and leaves its samples alone`, () => {
    const [reference, current] = [draw(3), draw(4, 0.3)];
    const copies = [reference.slice(), current.slice()];
    const first = drift.compare(reference, current);
    assertEquals(drift.compare(reference, current), first);
    assertEquals([reference, current], copies);
  });
}

/** Registers the tests every alert must pass. */
export function testAlert(alert: Plugin<"alert">): void {
  Deno.test(`alert ${alert.name} has a header and is quiet when the store is empty`, async () => {
    assert(["info", "warning", "error", "critical"].includes(alert.severity));
    assert(["ok", "no_data"].includes(alert.empty));
    assert(alert.summary.length > 10, "its summary says too little");
    await using store = await openStore(":memory:");
    const { columns, rows } = await store.queryReadOnly(alert.sql);
    assertEquals(rows, []);
    assert(columns.includes("subject") && columns.includes("message"), columns.join(", "));
  });
}

/** The far end of a sink in a test. */
export interface Receiver extends AsyncDisposable {
  /** Parameters that lead there; default none. */
  readonly params?: unknown;
  /** Everything that has arrived. */
  text(): string;
  /** From now on every delivery fails. */
  fail(): void;
}

/** Events of both ends of an alert, for tests of sinks. */
export const sampleEvents: readonly AlertEvent[] = [
  {
    kind: "firing",
    alert: "first_alert",
    series: null,
    severity: "critical",
    labels: {},
    value: 0.05,
    message: "first message\nof two lines",
    startsAt: Date.UTC(2026, 2, 4, 5, 6, 7),
    runbook: "https://example.com/first",
  },
  {
    kind: "resolved",
    alert: "second_alert",
    series: "well=P-130",
    severity: "info",
    labels: { well: "P-130" },
    value: null,
    message: "zweite Nachricht µ 漢 <b>&",
    startsAt: Date.UTC(2026, 2, 4, 5, 6, 7),
    endsAt: Date.UTC(2026, 2, 4, 6),
    runbook: null,
  },
];

/** Registers the tests every sink must pass; `open` puts a receiver at its far end. */
export function testSink(sink: Plugin<"sink">, open: () => Receiver | Promise<Receiver>): void {
  const { signal } = new AbortController();
  const deliverTo = ({ params = {} }: Receiver, id = crypto.randomUUID()) =>
    sink.deliver(sampleEvents, signal, { id, params });

  Deno.test(`sink ${sink.name}.deliver() delivers every event, one after another or at once`, async () => {
    await using receiver = await open();
    assertEquals(await sink.findObstacle?.(receiver.params ?? {}) ?? null, null);
    await deliverTo(receiver);
    for (const word of ["first_alert", "first message", "second_alert", "zweite Nachricht µ 漢"]) {
      assert(receiver.text().includes(word), `"${word}" did not arrive`);
    }
    await Promise.all([0, 1, 2].map(() => deliverTo(receiver)));
    assertEquals(receiver.text().split("second_alert").length - 1, 4);
  });

  Deno.test(`sink ${sink.name}.deliver() sends nothing of no event`, async () => {
    await using receiver = await open();
    await sink.deliver([], signal, { id: "none", params: receiver.params ?? {} });
    assertEquals(receiver.text(), "");
  });

  Deno.test(`sink ${sink.name}.deliver() rejects when the delivery fails`, async () => {
    await using receiver = await open();
    receiver.fail();
    await assertRejects(() => deliverTo(receiver), Error);
    assertEquals(receiver.text(), "");
  });

  Deno.test(`sink ${sink.name}.params has a default for everything and refuses what it does not know`, () => {
    if (sink.params === undefined) return;
    assert(sink.params.safeParse({}).success);
    assert(!sink.params.safeParse({ no_such_parameter: 1 }).success);
  });
}

/** A prediction of class `a` with features that fit it, and the profiles of `a` and `b`. */
export function makeJudgeCase(more: Partial<Inference> = {}) {
  const inference: Inference = {
    requestId: "r-1",
    row: 0,
    model: "rocks",
    version: 1,
    features: { GR: 31, RHOB: 2.4 },
    label: "a",
    probabilities: { a: 0.8, b: 0.2 },
    confidence: 0.8,
    ...more,
  };
  const profiles = {
    a: { count: 50, mean: { GR: 30, RHOB: 2.4 }, std: { GR: 5, RHOB: 0.1 } },
    b: { count: 50, mean: { GR: 90, RHOB: 2.7 }, std: { GR: 8, RHOB: 0.1 } },
  };
  return { inference, profiles };
}

/** Asserts that a verdict is one of the three kinds, with a score only when it was scored. */
export function assertVerdict(verdict: Verdict): void {
  assert(["scored", "abstained", "error"].includes(verdict.status), verdict.status);
  if (verdict.status === "scored") {
    assert(verdict.score >= 0 && verdict.score <= 1, `score ${verdict.score}`);
    return;
  }
  assert(verdict.kind.length > 0, "no kind");
  assert(!("score" in verdict), "a score without being scored");
}

/**
 * Registers the tests every judge must pass, whether it can answer now or not. One that
 * `judgesAbsence` scores a record without values, too, where it knows what should be there.
 */
export function testJudge(
  judge: Plugin<"judge">,
  { judgesAbsence = false }: { readonly judgesAbsence?: boolean } = {},
): void {
  const { name } = judge;

  Deno.test(`judge ${name}.probe() says whether it can answer, and has a version`, async () => {
    const { ready, detail } = await judge.probe(new AbortController().signal);
    assertEquals(typeof ready, "boolean");
    assert(detail.length > 0);
    assert(judge.version.length > 0);
    assertEquals(judge.version, judge.version);
    const params = judge.params?.safeParse({ no_such_parameter: 1 });
    assert(params?.success !== true, "it takes a parameter that it does not know");
    assert(judge.params?.safeParse({}).success !== false, "a parameter has no default");
  });

  Deno.test(`judge ${name}.judge() gives a verdict and never throws, whatever it is asked`, async () => {
    const { signal } = new AbortController();
    const { inference, profiles } = makeJudgeCase();
    const inferences = [
      inference,
      { ...inference, label: "b" },
      { ...inference, features: { GR: 1e300, RHOB: -1e300 } },
      { ...inference, features: { GR: null, RHOB: 2.4 } },
    ];
    for (const each of inferences) {
      assertVerdict(await judge.judge(each, { profiles, signal }));
    }
    const aborted = AbortSignal.abort(new Error("Stop it"));
    assertVerdict(await judge.judge(inference, { profiles, signal: aborted }));
  });

  Deno.test(`judge ${name}.judge() scores nothing when it has nothing to go by`, async () => {
    const { signal } = new AbortController();
    const { inference, profiles } = makeJudgeCase();
    const empty = { count: 0, mean: {}, std: {} };
    const constant = { count: 1, mean: { GR: 30 }, std: { GR: null as unknown as number } };
    for (
      const [each, known] of [
        [{ ...inference, label: "c" }, profiles],
        [{ ...inference, label: "constructor" }, profiles],
        [inference, {}],
        [{ ...inference, features: {} }, profiles],
        [{ ...inference, features: { GR: null, RHOB: NaN } }, profiles],
        [inference, { a: empty, b: empty }],
        [inference, { a: constant, b: constant }],
      ] as const
    ) {
      const verdict = await judge.judge(each, { profiles: known, signal });
      assertVerdict(verdict);
      const isExpected = Object.hasOwn(known, each.label) &&
        Object.keys((known as Readonly<Record<string, ClassProfile>>)[each.label].mean).length > 0;
      if (!(judgesAbsence && isExpected)) assertNotEquals(verdict.status, "scored");
    }
  });
}
