import { assertEquals, assertRejects } from "@std/assert";
import { UsageError } from "../../runtime/errors.ts";
import { recordLabels } from "../../runtime/labels.ts";
import { openStore } from "../../runtime/store.ts";
import { createApp } from "../../server.ts";
import { registerTestModel, testRecord } from "../model_fixture.ts";

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
      { requestId, row: 0, label: "sand" },
      { requestId, row: 1, label: "shale" },
      { requestId, row: 1, label: 'quoted "lime"' },
    ], "lab");
    await recordLabels(store, [{ requestId, row: 0, label: "shale" }], null);
    assertEquals(await store.query("select row, label, source from labels order by row"), [
      { row: 0, label: "shale", source: null },
      { row: 1, label: 'quoted "lime"', source: "lab" },
    ]);
    const [{ n }] = await store.query("select count(*) as n from label_history");
    assertEquals(n, 4);
  }));

Deno.test("recordLabels() stores none when one record was never predicted, and names it", () =>
  withPredictions(async (store, _app, requestId) => {
    const labels = [
      { requestId, row: 0, label: "sand" },
      { requestId, row: 7, label: "sand" },
      { requestId: "gone", row: 0, label: "sand" },
    ];
    const error = await assertRejects(() => recordLabels(store, labels, null), UsageError);
    assertEquals(
      error.message,
      `Cannot label 2 of 3 records: nothing was predicted for "${requestId}" row 7, "gone" row 0; none was stored`,
    );
    assertEquals(await store.query("select * from labels"), []);
  }));

Deno.test("POST /labels stores labels, refuses what it cannot read, and is a row itself", () =>
  withPredictions(async (store, app, request_id) => {
    const post = (body: unknown) =>
      app.request("/labels", { method: "POST", body: JSON.stringify(body) });
    const good = await post({ labels: [{ request_id, row: 1, label: "sand" }], source: "lab" });
    assertEquals([good.status, (await good.json()).stored], [200, 1]);
    for (
      const body of [
        {},
        { labels: [] },
        { labels: [{ request_id, row: -1, label: "sand" }] },
        { labels: [{ request_id, row: 0, label: "" }] },
        { labels: [{ request_id, row: 0, label: "sand", extra: 1 }] },
        { labels: [{ request_id: "gone", row: 0, label: "sand" }] },
      ]
    ) {
      const refused = await post(body);
      assertEquals(refused.status, 422, JSON.stringify(body));
      await refused.body?.cancel();
    }
    const [{ n }] = await store.query(
      "select count(*) as n from requests where endpoint = '/labels'",
    );
    assertEquals(n, 7);
  }));
