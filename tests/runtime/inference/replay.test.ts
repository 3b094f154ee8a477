import { assertEquals, assertRejects } from "@std/assert";
import { UsageError } from "../../../runtime/errors.ts";
import { replayRequest } from "../../../runtime/inference/replay.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { createApp } from "../../../server.ts";
import { registerTestModel, testRecord } from "../../model_fixture.ts";

/** Answers a few records by a tree model with windows and gives the id of the request. */
async function predict(store: Store, records: unknown[]): Promise<string> {
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const response = await app.request("/predict", {
    method: "POST",
    body: JSON.stringify({ records }),
  });
  const answer = await response.json();
  return answer.request_id ?? answer.error.request_id;
}

Deno.test("replayRequest() gives the same answer bit for bit, windows and missing values included", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { kind: "trees", isWindowed: true });
  const records = Array.from({ length: 20 }, (_, i) => testRecord(i, true));
  const id = await predict(store, [{ ...records[0], GR: null }, ...records.slice(1)]);
  const replay = await replayRequest(store, id);
  assertEquals([replay.rows, replay.version, replay.difference], [20, 1, null]);
});

Deno.test("replayRequest() shows the first difference when the log or the model is another", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { kind: "trees" });
  const id = await predict(store, [testRecord(0), testRecord(1)]);
  await store.query(
    "update core.inferences set probabilities = list_transform(probabilities, p -> p + 0.25) where row = 1",
  );
  const { difference } = await replayRequest(store, id);
  assertEquals(difference?.row, 1);
  await store.query("update core.artifacts set content = 'x'::blob");
  await assertRejects(() => replayRequest(store, id), Error, "its content now hashes to");
});

Deno.test("replayRequest() says what is known of a request that predicted nothing", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  const id = await predict(store, []);
  await assertRejects(() => replayRequest(store, id), UsageError, "was answered 422");
  await assertRejects(() => replayRequest(store, "gone"), UsageError, 'Cannot find request "gone"');
});
