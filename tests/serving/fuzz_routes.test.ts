import { assert, assertEquals } from "@std/assert";
import { deflateSync, gzipSync } from "node:zlib";
import { openStore } from "../../runtime/store/store.ts";
import { createApp, serve } from "../../server.ts";
import { mlflowRoutes } from "../../serving/mlflow/mod.ts";
import { registerTestModel, testRecord } from "../model_fixture.ts";
import { fuzzBodies, type FuzzedBody, fuzzRequests, makeRandom } from "./fuzz.ts";

/** Bodies of each route; set GEOPHONE_FUZZ_BODIES for more. */
const BODIES = Number(Deno.env.get("GEOPHONE_FUZZ_BODIES") ?? 12);

const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

const records = [testRecord(1), testRecord(2)];
const rows = [10, 2, 0.1, 20, 2.5, 0.2];
const tensor = { name: "input", shape: [2, 3], datatype: "FP32" };
const binaryHead = text({ inputs: [{ ...tensor, parameters: { binary_data_size: 24 } }] });

/** A body that every route with one might take, so that breaking it breaks something. */
const valid: readonly FuzzedBody[] = [
  { body: text({ records, slice: "P-130" }), headers: { "content-type": "application/json" } },
  { body: text({ columns: { GR: [1], RHOB: [2], NPHI: [0.1] } }), headers: {} },
  { body: text({ sql: "select count(*) from requests" }), headers: {} },
  { body: text({ labels: [{ request_id: "a", row: 0, label: "sandstone" }] }), headers: {} },
  { body: text({ reason: "fuzzed", alias: "challenger" }), headers: {} },
  { body: text({ path: "a.csv", output: "b.csv" }), headers: {} },
  { body: text({ inputs: [{ ...tensor, data: rows }] }), headers: {} },
  {
    body: Uint8Array.of(...binaryHead, ...new Uint8Array(Float32Array.from(rows).buffer)),
    headers: { "inference-header-content-length": String(binaryHead.length) },
  },
  { body: text({ dataframe_records: records }), headers: { "content-type": "application/json" } },
  {
    body: new TextEncoder().encode("GR,RHOB,NPHI\n1,2,0.1\n"),
    headers: { "content-type": "text/csv" },
  },
  {
    body: new Uint8Array(gzipSync(text({ records }))),
    headers: { "content-encoding": "gzip" },
  },
];

/** Small bodies that are large inside, and such that end in the middle. */
const bombs: readonly FuzzedBody[] = [gzipSync, deflateSync].flatMap((compress) => {
  const whole = new Uint8Array(compress(new Uint8Array(64 * 2 ** 20).fill(32)));
  const encoding = compress === gzipSync ? "gzip" : "deflate";
  const random = makeRandom(9);
  return [
    whole,
    whole.slice(0, whole.length / 2),
    Uint8Array.from(whole.slice(0, 2_000), (byte, i) => i < 4 ? byte : random() * 256),
    new Uint8Array(0),
  ].map((body) => ({ body, headers: { "content-encoding": encoding } }));
});

Deno.test("every route refuses malformed bodies of every method with less than 500, and each is on record", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { kind: "trees" });
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const own = app.routes.map((route) => route.split(" ")[1])
    // A fuzzed alias may take the model out of use for all routes that come after.
    .filter((path) => !path.endsWith("/unload"));
  const paths = [...new Set([...own, ...mlflowRoutes.map(({ path }) => `/api${path}`)])]
    .map((path) => path.replace(":model", "rocks").replace(":name", "rocks").replace(/:\w+/, "1"));
  const answered = new Map<string, string>();
  let seed = 1;
  for (const path of paths) {
    const bodies = [...fuzzBodies(seed++, BODIES, valid), ...bombs];
    for (const [i, { body, headers }] of bodies.entries()) {
      const method = i % 3 === 0 ? methods[(i / 3) % methods.length] : "POST";
      const hasBody = method !== "GET" && method !== "HEAD";
      const response = await app.request(path.replace("*", "x"), {
        method,
        headers,
        ...(hasBody ? { body } : {}),
      });
      await response.text();
      const what = `${response.status} ${method} ${path}`;
      assert(
        response.status < 500 || response.status === 503 || response.status === 504,
        `${what} ${new TextDecoder().decode(body).slice(0, 500)}`,
      );
      const isProbe = /^\/(health|ready|metrics|ping|version|v2\/health\/\w+)$/.test(path);
      if (!isProbe || response.status === 405) {
        answered.set(response.headers.get("x-request-id")!, what);
      }
    }
  }
  const found = await store.query<{ id: string; status: number }>(
    "select request_id as id, status_code as status from requests where request_id not like '%#%'",
  );
  assertEquals(found.filter(({ status }) => status >= 500 && ![503, 504].includes(status)), []);
  const known = new Set(found.map(({ id }) => id));
  assertEquals([...answered].filter(([id]) => !known.has(id)), []);
  assertEquals(known.size, answered.size);
});

/** Sends bytes on a connection of their own; gives what comes back until the other side has ended. */
async function sendRaw(port: number, bytes: Uint8Array, isHalfClosed: boolean): Promise<string> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  let answer = "";
  const timer = setTimeout(() => connection.close(), 500);
  try {
    for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
    if (isHalfClosed) await connection.closeWrite();
    const buffer = new Uint8Array(65_536);
    for (;;) {
      const count = await connection.read(buffer);
      if (count === null) break;
      answer += new TextDecoder().decode(buffer.subarray(0, count));
    }
  } catch {
    // Cut off by the server, or by the timer above: a client that goes away.
  } finally {
    clearTimeout(timer);
    try {
      connection.close();
    } catch { /* The timer has. */ }
  }
  return answer;
}

Deno.test("a server answers others while sockets send garbage, half a request or too much, and no row is lost", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  const served = await serve({ store, model: "rocks", quiet: true, serving: { port: 0 } });
  const port = Number(new URL(served.url).port);
  try {
    let good = 0;
    const answers: string[] = [];
    for (const batch of chunk([...fuzzRequests(11, 96)], 16)) {
      const [, ...raw] = await Promise.all([
        fetch(`${served.url}/predict`, { method: "POST", body: JSON.stringify({ records }) })
          .then(async (response) => {
            await response.body?.cancel();
            assertEquals(response.status, 200);
            good++;
          }),
        ...batch.map(({ bytes, isHalfClosed }) => sendRaw(port, bytes, isHalfClosed)),
      ]);
      answers.push(...raw);
    }
    const statuses = answers.flatMap((answer) =>
      [...answer.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => Number(status))
    );
    assert(statuses.length > 20, `${statuses.length} answers`);
    assert(statuses.every((status) => status < 500 || status === 503 || status === 504));
    const [{ n, failed }] = await store.query<{ n: number; failed: number }>(
      `select count(*) filter (where status_code = 200 and row_count = 2) as n,
         count(*) filter (where status_code >= 500) as failed from requests`,
    );
    assertEquals([n >= good, failed], [true, 0]);
    // What has an id was answered by us, and then it is a row.
    const ids = answers.flatMap((answer) =>
      [...answer.matchAll(/^x-request-id: (\S+)/gim)].map(([, id]) => id)
    );
    const known = await store.query<{ id: string }>("select request_id as id from requests");
    const set = new Set(known.map(({ id }) => id));
    assertEquals(ids.filter((id) => !set.has(id)), []);
  } finally {
    await served.shutdown();
  }
});

function chunk<T>(items: readonly T[], size: number): T[][] {
  return Array.from(
    { length: Math.ceil(items.length / size) },
    (_, i) => items.slice(i * size, (i + 1) * size),
  );
}
