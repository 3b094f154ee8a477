/** Servers with divided traffic, and models that fail. */
import { Graph } from "../../../numeric/onnx.ts";
import {
  type ModelVersion,
  registerVersion,
  setAlias,
} from "../../../runtime/registry/model_registry.ts";
import { SIGNATURE_KEY } from "../../../runtime/registry/signature.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { createApp, type GeophoneApp, type ServingParams } from "../../../server.ts";
import { registerTestModel, testClasses, testInputs, testRecord } from "../../model_fixture.ts";

// deno-lint-ignore no-explicit-any
export type Body = any;

/** A server over a store with `production` (version 1) and `challenger` (version 2). */
export async function withTraffic(
  serving: Body,
  action: (served: { app: GeophoneApp; store: Store }) => Promise<void>,
): Promise<void> {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { seed: 1 });
  await registerTestModel(store, { seed: 2, alias: "challenger" });
  await using app = await createApp({
    store,
    model: "rocks",
    quiet: true,
    serving: serving as ServingParams,
  });
  await action({ app, store });
}

/** Sends the i-th of many different records; gives status, headers and body. */
export async function ask(
  app: GeophoneApp,
  i: number,
  { path = "/predict", headers = {} }: { path?: string; headers?: Record<string, string> } = {},
): Promise<Body> {
  const response = await app.request(path, {
    method: "POST",
    headers,
    body: JSON.stringify({ records: [testRecord(i)] }),
  });
  return { status: response.status, headers: response.headers, ...await response.json() };
}

/** Asks as many clients as `headers` names, at most 50 at a time; gives the answers in order. */
export async function askAll(
  app: GeophoneApp,
  count: number,
  headers: (i: number) => Record<string, string> = () => ({}),
): Promise<Body[]> {
  const answers: Body[] = [];
  for (let start = 0; start < count; start += 50) {
    const length = Math.min(50, count - start);
    answers.push(
      ...await Promise.all(
        Array.from({ length }, (_, i) => ask(app, start + i, { headers: headers(start + i) })),
      ),
    );
  }
  return answers;
}

export async function get(app: GeophoneApp, path: string): Promise<Body> {
  return await (await app.request(path)).json();
}

/**
 * Registers a version that passes its first prediction and gives no number for a GR above 150: a real
 * graph that takes a square root of `150 - GR`.
 */
export async function registerBrokenModel(
  store: Store,
  alias: string,
  seed = 99,
): Promise<ModelVersion> {
  const graph = new Graph();
  const input = graph.input("input", "float32", ["n", testInputs.length]);
  const zero = graph.constant("zero", [], Float32Array.of(0));
  const known = graph.node("Where", [graph.node("IsNaN", [input], ["missing"]), zero, input], [
    "known",
  ]);
  const k = testClasses.length;
  const weights = Float32Array.of(-1, -1, -1, 0, 0, 0, 0, 0, 0);
  const rest = graph.node("Add", [
    graph.node("MatMul", [known, graph.constant("W", [testInputs.length, k], weights)], [
      "product",
    ]),
    graph.constant("b", [k], Float32Array.of(150, 150, 150)),
  ], ["rest"]);
  const scores = graph.node("Mul", [
    graph.node("Sqrt", [rest], ["root"]),
    graph.constant("scale", [k], Float32Array.of(0.1, 0.01, seed / 10_000)),
  ], ["scores"]);
  graph.node("Softmax", [scores], ["probabilities"], { axis: { int: 1 } });
  graph.node("ArgMax", ["probabilities"], ["label"], { axis: { int: 1 }, keepdims: { int: 0 } });
  graph.output("label", "int64", ["n"]);
  graph.output("probabilities", "float32", ["n", k]);
  const signature = {
    model: "rocks",
    inputs: testInputs,
    order: null,
    windows: { radii: [], statistics: [] },
    outliers: "null",
    features: testInputs.map(({ name }) => name),
    classes: testClasses,
    target: "lithology",
    trainer: "fixture",
    dataHash: "0".repeat(64),
    codeHash: "1".repeat(64),
    seed,
  };
  const version = await registerVersion(store, {
    bytes: graph.toBytes({ metadata: { [SIGNATURE_KEY]: JSON.stringify(signature) } }),
    report: {},
    runId: "run-broken",
  });
  const { model, version: number } = version;
  await setAlias(store, { model, alias, version: number, reason: "test" });
  return version;
}
