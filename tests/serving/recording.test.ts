import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { UsageError } from "../../runtime/errors.ts";
import { replayRequest } from "../../runtime/inference/replay.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { createApp, type GeophoneApp, type ServingParams } from "../../server.ts";
import { registerTestModel, testRecord } from "../model_fixture.ts";

async function withApp(
  recording: Partial<ServingParams["recording"]>,
  action: (app: GeophoneApp, store: Store) => Promise<void>,
  isWindowed = false,
): Promise<void> {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { isWindowed });
  await using app = await createApp({
    store,
    model: "rocks",
    quiet: true,
    serving: { recording: recording as ServingParams["recording"] },
  });
  await action(app, store);
}

async function ask(app: GeophoneApp, id: string, records: unknown, path = "/predict") {
  const response = await app.request(path, {
    method: "POST",
    headers: { "content-type": "application/json", "x-request-id": id },
    body: JSON.stringify(path === "/invocations" ? records : { records }),
  });
  return { status: response.status, text: await response.text() };
}

Deno.test("recording keeps the records of a share of the requests, and the metadata of all", () =>
  withApp({ records: 0.3 }, async (app, store) => {
    for (let i = 0; i < 100; i++) {
      assertEquals((await ask(app, `r-${i}`, [testRecord(0), testRecord(1)])).status, 200);
    }
    const [row] = await store.query(
      `select count(*) as requests, sum(row_count) as asked, min(sampling_fraction) as fraction,
         (select count(distinct request_id) from inferences) as kept,
         (select count(*) from inferences) as rows from requests`,
    );
    assertEquals([row.requests, row.asked, row.fraction], [100, 200, 0.3]);
    const kept = row.kept as number;
    assert(kept > 10 && kept < 60, `${kept} of 100 are kept`);
    assertEquals(row.rows, 2 * kept);
    const [left] = await store.query<{ id: string }>(
      "select request_id as id from requests anti join inferences using (request_id) limit 1",
    );
    await assertRejects(() => replayRequest(store, left.id), UsageError, "2 records were not kept");
  }));

Deno.test("recording takes a share by the model's name, the default for others", () =>
  withApp({ records: { rocks: 0 }, payloads: { other: 1 } }, async (app, store) => {
    await ask(app, "a", [testRecord(0)]);
    assertEquals(await store.query("select count(*) as n from inferences"), [{ n: 0 }]);
    assertEquals(await store.query("select count(*) as n from payloads"), [{ n: 0 }]);
  }));

Deno.test("recording keeps bodies as they came and went, those of refused requests too", () =>
  withApp({ payloads: 1 }, async (app, store) => {
    const good = await ask(app, "good", [testRecord(0)]);
    const bad = await ask(app, "bad", [{ GR: "many" }]);
    assertEquals([good.status, bad.status], [200, 422]);
    assertEquals(
      await store.query(
        "select request_id, request, response, errors, fraction from payloads order by 1 desc",
      ),
      [
        {
          request_id: "good",
          request: JSON.stringify({ records: [testRecord(0)] }),
          response: good.text,
          errors: [],
          fraction: 1,
        },
        {
          request_id: "bad",
          request: JSON.stringify({ records: [{ GR: "many" }] }),
          response: bad.text,
          errors: [],
          fraction: 1,
        },
      ],
    );
  }));

Deno.test("recording says why a body is missing when it is too large or binary", () =>
  withApp({ payloads: 1, maxPayloadBytes: 300 }, async (app, store) => {
    await ask(app, "long", Array.from({ length: 20 }, (_, i) => testRecord(i)));
    const header = JSON.stringify({
      inputs: [{
        name: "input",
        shape: [1, 3],
        datatype: "FP32",
        parameters: { binary_data_size: 12 },
      }],
    });
    const body = new Uint8Array(header.length + 12);
    body.set(new TextEncoder().encode(header));
    body.set(new Uint8Array(Float32Array.of(1, 2, 3).buffer), header.length);
    const response = await app.request("/v2/models/rocks/infer", {
      method: "POST",
      headers: {
        "x-request-id": "tensor",
        "inference-header-content-length": String(header.length),
      },
      body,
    });
    assertEquals(response.status, 200, await response.text());
    assertEquals(await store.query("select request_id, errors, request from payloads order by 1"), [
      {
        request_id: "long",
        errors: ["MAX_REQUEST_SIZE_EXCEEDED", "MAX_RESPONSE_SIZE_EXCEEDED"],
        request: null,
      },
      {
        request_id: "tensor",
        errors: ["BINARY_REQUEST"],
        request: null,
      },
    ]);
  }));

Deno.test("recording never keeps a redacted value, in rows, bodies or errors", () =>
  withApp({ payloads: 1, redact: ["GR", "slice"] }, async (app, store) => {
    const secret = 123.25;
    const record = { GR: secret, RHOB: 2.5, NPHI: 0.25 };
    const served = await ask(app, "records", [record]);
    await ask(app, "wrong", [{ ...record, GR: "123.25 and more" }]);
    await ask(app, "split", {
      dataframe_split: { columns: ["RHOB", "GR", "NPHI"], data: [[2.5, secret, 0.25]] },
    }, "/invocations");
    await ask(app, "nameless", { instances: [[secret, 2.5, 0.25]] }, "/invocations");
    const everything = JSON.stringify([
      await store.query("select * from core.requests"),
      await store.query("select * from core.inferences"),
      await store.query("select * from core.payloads"),
      await store.query("select * from inference_gateway"),
    ]);
    assert(!everything.includes("123.25"), everything);
    assertEquals(
      await store.query("select features from inferences where request_id = 'records'"),
      [{ features: { GR: null, RHOB: 2.5, NPHI: 0.25 } }],
    );
    const payloads = await store.query<{ request_id: string; request: string; errors: string[] }>(
      "select request_id, request, errors from payloads",
    );
    const refused = payloads.find((row) => row.request_id === "wrong")!;
    assertEquals(refused.errors, ["RESPONSE_NOT_REDACTABLE"]);
    const find = (id: string) => payloads.find((row) => row.request_id === id)!;
    assertEquals(JSON.parse(find("records").request), {
      records: [{ GR: "[redacted]", RHOB: 2.5, NPHI: 0.25 }],
    });
    assertEquals(JSON.parse(find("split").request).dataframe_split.data, [[
      2.5,
      "[redacted]",
      0.25,
    ]]);
    assertEquals([find("nameless").request, find("nameless").errors], [
      null,
      ["REQUEST_NOT_REDACTABLE"],
    ]);
    // Whoever asked has the answer for what was sent.
    assertEquals(JSON.parse(served.text).predictions.length, 1);
    await assertRejects(
      () => replayRequest(store, "records"),
      UsageError,
      "values of GR were not kept",
    );
  }));

Deno.test("recording leaves out a redacted order column", () =>
  withApp({ redact: ["DEPT"] }, async (app, store) => {
    const { status, text } = await ask(app, "a", [testRecord(0, true), testRecord(1, true)]);
    assertEquals(status, 200, text);
    assertEquals(await store.query("select order_value from inferences"), [
      { order_value: null },
      { order_value: null },
    ]);
    assertEquals(await store.query("select redacted from requests"), [{ redacted: '["DEPT"]' }]);
  }, true));

Deno.test("createApp() refuses shares that are none", async () => {
  await using store = await openStore(":memory:");
  for (const recording of [{ records: 1.5 }, { payloads: { rocks: -1 } }, { redact: [""] }]) {
    await assertRejects(() =>
      createApp({
        store,
        model: "rocks",
        serving: { recording: recording as unknown as ServingParams["recording"] },
      })
    );
  }
});

Deno.test("inference_gateway and inference_legacy have the columns of a lakehouse and write bodies from rows", () =>
  withApp({}, async (app, store) => {
    const { text } = await ask(app, "a", [testRecord(0), testRecord(1)]);
    await ask(app, "b", [{ GR: "many" }]);
    await (await app.request("/models")).body?.cancel();
    const rows = await store.query(
      "select * from inference_gateway order by databricks_request_id",
    );
    assertEquals(Object.keys(rows[0]), [
      ...["request_date", "databricks_request_id", "client_request_id", "request_time"],
      ...["status_code", "sampling_fraction", "execution_duration_ms", "request", "response"],
      ...["logging_error_codes", "served_entity_id", "requester"],
    ]);
    assertEquals(
      rows.map((row) => [row.databricks_request_id, row.status_code, row.served_entity_id]),
      [
        ["a", 200, "rocks-1"],
        ["b", 422, "rocks-1"],
      ],
    );
    assertEquals(JSON.parse(rows[0].request as string), {
      dataframe_records: [testRecord(0), testRecord(1)],
    });
    const { predictions } = JSON.parse(rows[0].response as string);
    assertEquals(
      predictions.map((one: { label: string }) => one.label),
      JSON.parse(text).predictions.map((one: { label: string }) => one.label),
    );
    assertEquals([rows[1].request, rows[1].response], [null, null]);
    const [legacy] = await store.query(
      "select * from inference_legacy order by databricks_request_id",
    );
    assertEquals(legacy.request_metadata, { model_name: "rocks", model_version: "1" });
    assert(Math.abs((legacy.timestamp_ms as number) - Date.now()) < 60_000);
    const [view] = await store.query("select model_hash, batch_id from inferences limit 1");
    assertEquals((view.model_hash as string).length, 64);
    assertStringIncludes(view.batch_id as string, "-");
  }));
