import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Matrix, matrix, takeRows } from "../../numeric/matrix.ts";
import type { Prediction } from "../../runtime/onnx_session.ts";
import { Predictor } from "../../runtime/predict/predictor.ts";
import { Batcher } from "../../serving/batcher.ts";
import { HttpError } from "../../serving/http_error.ts";
import type { Priority } from "../../serving/traffic/urgency.ts";
import { buildTestModel, testInputs } from "../model_fixture.ts";

const options = { maxBatchRows: 8, queueRows: 20 };

/** A classifier that answers when told to, and remembers what it was given. */
function makeGated() {
  const runs: number[] = [];
  const gates: PromiseWithResolvers<void>[] = [];
  const classify = async (X: Matrix): Promise<Prediction> => {
    runs.push(X.rows);
    const gate = Promise.withResolvers<void>();
    gates.push(gate);
    await gate.promise;
    return { labels: Int32Array.from(X.data), probabilities: X };
  };
  return { classify, runs, gates };
}

const row = (value: number) => matrix(1, 1, Float32Array.of(value));
const settle = () => new Promise((resolve) => setTimeout(resolve, 0));

for (const isWindowed of [false, true]) {
  Deno.test(`Batcher.run() gives bit-equal answers alone and in any company of a tree model when windows are ${isWindowed}`, async () => {
    const predictor = await Predictor.open(buildTestModel({ kind: "trees", isWindowed }));
    try {
      let seed = 7;
      const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
      const requests = Array.from({ length: 120 }, () => {
        const n = 1 + Math.floor(random() * 12);
        const data = Float32Array.from(
          { length: n * testInputs.length },
          (_, j) => random() < 0.1 ? NaN : random() * [320, 4, 0.7][j % 3],
        );
        return predictor.expand({
          X: matrix(n, testInputs.length, data),
          order: Float64Array.from({ length: n }, () => random() * 10),
        });
      });
      const alone: Prediction[] = [];
      for (const X of requests) alone.push(await predictor.classify(X));
      for (const maxBatchRows of [5, 64, 1000]) {
        const runs: number[] = [];
        const batcher = new Batcher((X) => predictor.classify(X), {
          maxBatchRows,
          queueRows: 10_000,
          onRun: ({ rows }) => runs.push(rows),
        });
        const together = await Promise.all(requests.map((X) => batcher.run(X)));
        together.forEach(({ labels, probabilities }, i) => {
          assertEquals(labels, alone[i].labels);
          assertEquals(
            new Uint32Array(probabilities.data.slice().buffer),
            new Uint32Array(alone[i].probabilities.data.slice().buffer),
          );
        });
        assert(Math.max(...runs) <= maxBatchRows);
        assert(maxBatchRows < 1000 || runs.length === 1, `${runs}`);
      }
      const [first] = requests;
      const [{ probabilities }] = alone;
      const each = await Promise.all(
        Array.from({ length: first.rows }, (_, i) => predictor.classify(takeRows(first, [i]))),
      );
      each.forEach((single, i) => assertEquals(single.probabilities, takeRows(probabilities, [i])));
    } finally {
      await predictor.close();
    }
  });
}

Deno.test("Batcher.run() collects requests while a run is in flight, up to the limit, in order", async () => {
  const { classify, runs, gates } = makeGated();
  const batcher = new Batcher(classify, options);
  const first = batcher.run(row(0));
  await settle();
  const rest = Array.from({ length: 11 }, (_, i) => batcher.run(row(i + 1)));
  await settle();
  assertEquals(runs, [1]);
  for (let i = 0; i < 3; i++) {
    gates[i].resolve();
    await settle();
  }
  const answers = await Promise.all([first, ...rest]);
  assertEquals(runs, [1, 8, 3]);
  assertEquals(answers.map(({ labels }) => labels[0]), Array.from({ length: 12 }, (_, i) => i));
  assert(answers[11].queueMs >= answers[1].queueMs && answers[1].modelMs >= 0);
});

Deno.test("Batcher.run() answers 503 when the queue is full, and takes any size when it is empty", async () => {
  const { classify, gates } = makeGated();
  const batcher = new Batcher(classify, { maxBatchRows: 100, queueRows: 10 });
  const running = batcher.run(matrix(30, 1));
  await settle();
  const waiting = batcher.run(matrix(6, 1));
  const error = await assertRejects(() => batcher.run(matrix(5, 1)), HttpError, "6 wait already");
  assertEquals([error.status, error.headers["retry-after"]], [503, "1"]);
  gates[0].resolve();
  await running;
  await settle();
  gates[1].resolve();
  await waiting;
  assertEquals(batcher.queuedRows, 0);
});

Deno.test("Batcher.run() leaves the queue when its signal aborts, and others are answered", async () => {
  const { classify, runs, gates } = makeGated();
  const batcher = new Batcher(classify, options);
  const first = batcher.run(row(1));
  await settle();
  const abort = new AbortController();
  const cancelled = assertRejects(
    () => batcher.run(row(2), { signal: abort.signal }),
    Error,
    "Gone",
  );
  const kept = batcher.run(row(3));
  assertEquals(batcher.queuedRows, 2);
  abort.abort(new Error("Gone"));
  assertEquals(batcher.queuedRows, 1);
  await cancelled;
  gates[0].resolve();
  await settle();
  gates[1].resolve();
  assertEquals([(await first).labels[0], (await kept).labels[0]], [1, 3]);
  assertEquals(runs, [1, 1]);
  await assertRejects(() => batcher.run(row(4), { signal: abort.signal }), Error, "Gone");
});

Deno.test("Batcher.run() rejects those of a failed run and answers the next", async () => {
  let isBroken = true;
  const batcher = new Batcher((X) => {
    if (isBroken) throw new Error("Out of memory");
    return Promise.resolve({ labels: new Int32Array(X.rows), probabilities: X });
  }, options);
  await Promise.all([1, 2].map((x) => assertRejects(() => batcher.run(row(x)), Error, "memory")));
  isBroken = false;
  assertEquals((await batcher.run(row(1))).labels.length, 1);
});

Deno.test("Batcher.run() lets others in between when a request is longer than a run", async () => {
  const order: number[] = [];
  const batcher = new Batcher(async (X) => {
    order.push(X.rows);
    await settle();
    return { labels: Int32Array.from(X.data), probabilities: X };
  }, { maxBatchRows: 10, queueRows: 1000 });
  const long = batcher.run(matrix(25, 1, Float32Array.from({ length: 25 }, (_, i) => i)));
  const short = batcher.run(row(99));
  assertEquals((await short).labels, Int32Array.of(99));
  assertEquals((await long).labels, Int32Array.from({ length: 25 }, (_, i) => i));
  assertEquals((await long).probabilities.rows, 25);
  assertEquals(order.reduce((a, b) => a + b), 26);
});

Deno.test("Batcher.run() runs the more urgent first, and equal ones in the order of arrival", async () => {
  const { classify, gates } = makeGated();
  const order: number[] = [];
  const batcher = new Batcher(classify, { maxBatchRows: 1, queueRows: 20 });
  const ask = (value: number, priority: Priority) =>
    batcher.run(row(value), { priority }).then(({ labels }) => order.push(labels[0]));
  const asked = [ask(0, "normal")];
  await settle();
  asked.push(ask(1, "low"), ask(2, "normal"), ask(3, "high"), ask(4, "normal"), ask(5, "high"));
  for (let i = 0; i < 6; i++) {
    gates[i].resolve();
    await settle();
  }
  await Promise.all(asked);
  assertEquals(order, [0, 3, 5, 2, 4, 1]);
});

Deno.test("Batcher.run() lets a low request have its turn when high ones never end", async () => {
  const { classify, runs, gates } = makeGated();
  const batcher = new Batcher(classify, { maxBatchRows: 1, queueRows: 20 });
  const asked = [batcher.run(row(0), { priority: "high" })];
  await settle();
  let turn: number | undefined;
  asked.push(batcher.run(row(1), { priority: "low" }));
  asked[1].then(() => turn = runs.length);
  // One high request always waits.
  for (let i = 0; turn === undefined && i < 100; i++) {
    asked.push(batcher.run(row(2), { priority: "high" }));
    gates[i].resolve();
    await settle();
  }
  assert(turn !== undefined && turn > 10 && turn < 40, `${turn}`);
  for (let i = 0; i < asked.length; i++) {
    gates[i]?.resolve();
    await settle();
  }
  await Promise.all(asked);
});

Deno.test("Batcher.run() answers 504 without a run when the deadline passes in the queue", async () => {
  const { classify, runs, gates } = makeGated();
  const batcher = new Batcher(classify, options);
  const first = batcher.run(row(1));
  await settle();
  const late = assertRejects(
    () => batcher.run(row(2), { deadline: performance.now() }),
    HttpError,
    "longer than it allows",
  );
  const inTime = batcher.run(row(3), { deadline: performance.now() + 60_000 });
  assertEquals(batcher.queuedRows, 2);
  gates[0].resolve();
  await settle();
  assertEquals((await late).status, 504);
  gates[1].resolve();
  assertEquals([(await first).labels[0], (await inTime).labels[0]], [1, 3]);
  assertEquals([runs, batcher.queuedRows], [[1, 1], 0]);
  // When only late ones wait, the model rests and works again.
  await assertRejects(() => batcher.run(row(4), { deadline: 0 }), HttpError, "in time");
  const next = batcher.run(row(5));
  await settle();
  gates[2].resolve();
  assertEquals((await next).labels[0], 5);
});

Deno.test("Batcher.run() names the run that predicted, one for all that shared it", async () => {
  const { classify, gates } = makeGated();
  const batcher = new Batcher(classify, options);
  const first = batcher.run(row(0));
  await settle();
  const rest = [batcher.run(row(1)), batcher.run(row(2))];
  gates[0].resolve();
  await settle();
  gates[1].resolve();
  const [a, b, c] = await Promise.all([first, ...rest]);
  assertEquals([b.batchId, b.batchRows], [c.batchId, 2]);
  assert(a.batchId !== b.batchId && a.batchRows === 1, `${a.batchId} ${b.batchId}`);
  const long = batcher.run(matrix(20, 1));
  for (let i = 2; i < 5; i++) {
    await settle();
    gates[i].resolve();
  }
  const { batchId, batchRows } = await long;
  assertEquals(batchRows, 8);
  assert(batchId !== c.batchId);
});
