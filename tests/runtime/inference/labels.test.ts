import { assertEquals, assertRejects } from "@std/assert";
import { UsageError } from "../../../runtime/errors.ts";
import { LabelsRefusedError, recordLabels } from "../../../runtime/inference/labels.ts";
import { openStore } from "../../../runtime/store/store.ts";
import { createApp } from "../../../server.ts";
import { registerTestModel, testRecord } from "../../model_fixture.ts";

async function withPredictions(
  action: (
    store: Awaited<ReturnType<typeof openStore>>,
    app: Awaited<ReturnType<typeof createApp>>,
    requestId: string,
  ) => Promise<void>,
): Promise<void> {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const response = await app.request("/predict", {
    method: "POST",
    headers: { "x-request-id": "batch-1" },
    body: JSON.stringify({ records: [testRecord(0), testRecord(1)] }),
  });
  await action(store, app, (await response.json()).request_id);
}

Deno.test("recordLabels() counts the latest label of a record and keeps the ones before", () =>
  withPredictions(async (store, _app, requestId) => {
    await recordLabels(store, [
      { requestId, row: 0, label: "sandstone" },
      { requestId, row: 1, label: "siltstone" },
      { requestId, row: 1, label: "anhydrite" },
    ], "lab");
    await recordLabels(store, [{ requestId, row: 0, label: "siltstone" }], null);
    assertEquals(await store.query("select row, label, source from labels order by row"), [
      { row: 0, label: "siltstone", source: null },
      { row: 1, label: "anhydrite", source: "lab" },
    ]);
    const [{ n }] = await store.query("select count(*) as n from label_history");
    assertEquals(n, 4);
  }));

Deno.test("recordLabels() stores none when one record was never predicted, and names it", () =>
  withPredictions(async (store, _app, requestId) => {
    const labels = [
      { requestId, row: 0, label: "sandstone" },
      { requestId, row: 7, label: "sandstone" },
      { requestId: "gone", row: 0, label: "sandstone" },
    ];
    const error = await assertRejects(() => recordLabels(store, labels, null), UsageError);
    assertEquals(
      error.message,
      `Cannot label 2 of 3 records: nothing was predicted for "${requestId}" row 7, "gone" row 0; none was stored`,
    );
    assertEquals(await store.query("select * from labels"), []);
  }));

Deno.test("recordLabels() stores what the store knows once, and counts what is new and corrected", () =>
  withPredictions(async (store, _app, requestId) => {
    const labels = [
      { requestId, row: 0, label: "sandstone" },
      { requestId, row: 1, label: "siltstone" },
    ];
    const first = await recordLabels(store, labels, "lab");
    assertEquals([first.total, first.created, first.corrected, first.same], [2, 2, 0, 0]);
    const again = await recordLabels(store, [...labels, { ...labels[1], label: "anhydrite" }], "x");
    assertEquals([again.total, again.created, again.corrected, again.same], [3, 0, 1, 2]);
    assertEquals(await store.query("select row, label, source from label_history"), [
      { row: 0, label: "sandstone", source: "lab" },
      { row: 1, label: "siltstone", source: "lab" },
      { row: 1, label: "anhydrite", source: "x" },
    ]);
    assertEquals((await recordLabels(store, [], null)).total, 0);
  }));

Deno.test("recordLabels() refuses classes that the model of the record does not know, unless allowed", () =>
  withPredictions(async (store, _app, requestId) => {
    const labels = [
      { requestId, row: 0, label: "sandstone" },
      { requestId, row: 1, label: "Sandston" },
      { requestId, row: 1, label: "granite" },
    ];
    const error = await assertRejects(() => recordLabels(store, labels, null), LabelsRefusedError);
    assertEquals(
      error.message,
      'Cannot store the labels: "Sandston" (1 label) is no class of "rocks" version 1, did you mean ' +
        '"sandstone"?; "granite" (1 label) is no class of "rocks" version 1; none was stored; ' +
        "correct them, or allow new classes",
    );
    assertEquals(await store.query("select * from labels"), []);
    const report = await recordLabels(store, labels, null, { allowNewClasses: true });
    assertEquals(report.newClasses.map(({ label, nearest }) => [label, nearest]), [
      ["Sandston", "sandstone"],
      ["granite", null],
    ]);
    assertEquals(await store.query("select row, label from labels order by row"), [
      { row: 0, label: "sandstone" },
      { row: 1, label: "granite" },
    ]);
  }));

Deno.test("recordLabels() refuses more labels of one record at once than a history takes", () =>
  withPredictions(async (store, _app, requestId) => {
    const labels = Array.from({ length: 102 }, (_, i) => ({
      requestId,
      row: 0,
      label: i % 2 ? "sandstone" : "siltstone",
    }));
    await assertRejects(() => recordLabels(store, labels, null), UsageError, "one record has 102");
    await recordLabels(store, labels.slice(0, 100), null);
    assertEquals((await store.query("select label from labels"))[0].label, "sandstone");
  }));

Deno.test("POST /labels lists the classes that it refuses, and takes them when told so", () =>
  withPredictions(async (_store, app, request_id) => {
    const post = (body: unknown) =>
      app.request("/labels", { method: "POST", body: JSON.stringify(body) });
    const labels = [{ request_id, row: 0, label: "siltston" }];
    const refused = await post({ labels });
    assertEquals(refused.status, 422);
    const { error } = await refused.json();
    assertEquals(error.code, "invalid_input");
    assertEquals(error.message.endsWith('or allow new classes by "allowNewClasses": true'), true);
    assertEquals(error.details, [{
      message: '"siltston" (1 label) is no class of "rocks" version 1, did you mean "siltstone"?',
    }]);
    const taken = await (await post({ labels, allowNewClasses: true })).json();
    assertEquals([taken.stored, taken.new, taken.corrected, taken.same], [1, 1, 0, 0]);
    const again = await (await post({ labels, allowNewClasses: true })).json();
    assertEquals([again.stored, again.same], [0, 1]);
  }));

Deno.test("POST /labels stores labels, refuses what it cannot read, and is a row itself", () =>
  withPredictions(async (store, app, request_id) => {
    const post = (body: unknown) =>
      app.request("/labels", { method: "POST", body: JSON.stringify(body) });
    const good = await post({
      labels: [{ request_id, row: 1, label: "sandstone" }],
      source: "lab",
    });
    assertEquals([good.status, (await good.json()).stored], [200, 1]);
    for (
      const body of [
        {},
        { labels: [] },
        { labels: [{ request_id, row: -1, label: "sandstone" }] },
        { labels: [{ request_id, row: 0, label: "" }] },
        { labels: [{ request_id, row: 0, label: "sandstone", extra: 1 }] },
        { labels: [{ request_id, row: 0, label: "granite" }] },
        { labels: [{ request_id, row: 0.5, label: "sandstone" }] },
        { labels: [{ request_id, row: 0, label: "sandstone" }], allowNewClasses: "yes" },
        { labels: [{ request_id: "gone", row: 0, label: "sandstone" }] },
      ]
    ) {
      const refused = await post(body);
      assertEquals(refused.status, 422, JSON.stringify(body));
      await refused.body?.cancel();
    }
    const [{ n }] = await store.query(
      "select count(*) as n from requests where endpoint = '/labels'",
    );
    assertEquals(n, 10);
  }));
