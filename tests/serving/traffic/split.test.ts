import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { z } from "zod";
import { setAlias } from "../../../runtime/registry/model_registry.ts";
import { hashBytes } from "../../../numeric/hash.ts";
import { divideBuckets, hashToBucket } from "../../../serving/traffic/buckets.ts";
import { TrafficParams } from "../../../serving/traffic/params.ts";
import { ask, askAll, type Body, get, withTraffic } from "./fixture.ts";

const keys = Array.from({ length: 10_000 }, (_, i) => `client-${i}`);
const split = (percent: number) => [
  { alias: "production", percent: 100 - percent },
  { alias: "challenger", percent },
];

Deno.test("hashBytes() gives the published FNV-1a values", () => {
  // draft-eastlake-fnv, appendix C.
  for (const [text, hash] of [["", 0x811c9dc5], ["a", 0xe40c292c], ["foobar", 0xbf9cf968]]) {
    assertEquals(hashBytes(new TextEncoder().encode(text as string)), hash);
  }
});

Deno.test("divideBuckets() gives 10,000 keys their shares, and more to the raised arm alone", () => {
  const shares = [1, 10, 20, 50];
  let before = new Set<string>();
  for (const percent of shares) {
    const choose = divideBuckets([100 - percent, percent]);
    const challenged = new Set(keys.filter((key) => choose(hashToBucket("s", key)) === 1));
    const expected = keys.length * percent / 100;
    // Four standard deviations of a binomial share.
    const margin = 4 * Math.sqrt(expected * (1 - percent / 100));
    assert(Math.abs(challenged.size - expected) < margin, `${challenged.size} of ${expected}`);
    for (const key of before) assert(challenged.has(key), key);
    before = challenged;
  }
  const three = divideBuckets([70, 10, 20]);
  const raised = divideBuckets([60, 20, 20]);
  for (const key of keys) {
    const bucket = hashToBucket("s", key);
    if (three(bucket) !== raised(bucket)) assertEquals([three(bucket), raised(bucket)], [0, 1]);
  }
});

Deno.test("hashToBucket() of two salts divides the same keys independently", () => {
  const isLow = (salt: string, key: string) => hashToBucket(salt, key) < 5_000;
  const both = keys.filter((key) => isLow("a", key) && isLow("b", key)).length;
  assert(Math.abs(both - 2_500) < 4 * Math.sqrt(10_000 * 0.25 * 0.75), `${both}`);
  // Salt and key are no single text.
  assert(hashToBucket("ab", "c") !== hashToBucket("a", "bc"));
});

Deno.test("TrafficParams refuses percentages that do not sum, arms that are none or twice, and both ways at once", () => {
  const alias = (name: string, percent: number) => ({ alias: name, percent });
  for (
    const [params, part] of [
      [{ split: [alias("a", 90), alias("b", 20)] }, "sum to 100"],
      [{ split: [alias("a", 100)] }, ">=2"],
      [{ split: [alias("a", 50), alias("a", 50)] }, "twice"],
      [{ split: [{ percent: 50 }, alias("a", 50)] }, "an alias or a version"],
      [{ split: [{ ...alias("a", 50), version: 1 }, alias("b", 50)] }, "an alias or a version"],
      [{ split: split(10), canary: { alias: "a" } }, "not both"],
      [{ canary: { alias: "a", percent: 100 } }, "<=95"],
      [{ stickyBy: "no header" }, "header"],
    ] as const
  ) {
    const error = assertThrows(() => TrafficParams.parse(params), z.ZodError);
    assertStringIncludes(error.message, part);
  }
  assertEquals(TrafficParams.parse({}).stickyBy, "x-client-id");
});

Deno.test("a split keeps each client with its arm, in every protocol, and puts the arm on record", () =>
  withTraffic({ traffic: { split: split(30), salt: "t" } }, async ({ app, store }) => {
    const header = (i: number) => ({ "x-client-id": `client-${i}` });
    const answers = await askAll(app, 200, header);
    const again = await askAll(app, 200, header);
    assertEquals(again.map(({ version }) => version), answers.map(({ version }) => version));
    for (const [i, { alias, version }] of answers.entries()) {
      const isChallenged = hashToBucket("t", `client-${i}`) < 3_000;
      assertEquals([alias, version], isChallenged ? ["challenger", 2] : ["production", 1]);
    }
    const challenged = answers.findIndex(({ version }) => version === 2);
    const oip = await app.request("/v2/models/rocks/infer", {
      method: "POST",
      headers: header(challenged),
      body: JSON.stringify({
        inputs: [{ name: "input", shape: [1, 3], datatype: "FP32", data: [1, 2, 0.1] }],
      }),
    });
    assertEquals((await oip.json()).model_version, "2");
    const stream = await app.request("/predict/stream", {
      method: "POST",
      headers: header(challenged),
      body: '{"GR": 1, "RHOB": 2, "NPHI": 0.1}\n',
    });
    assertEquals(JSON.parse(await stream.text()).alias, "challenger");
    const rows = await store.query(
      `select alias, version, count(*) as n from requests where endpoint = '/predict'
       group by all order by version`,
    );
    const n = answers.filter(({ version }) => version === 2).length;
    assertEquals(rows, [
      { alias: "production", version: 1, n: 2 * (200 - n) },
      { alias: "challenger", version: 2, n: 2 * n },
    ]);
    const metrics = await (await app.request("/metrics")).text();
    assertStringIncludes(
      metrics,
      `geophone_traffic_requests_total{arm="@challenger"} ${2 * n + 2}`,
    );
  }));

Deno.test("a split leaves alone who names a version, and divides who has no id by the request's", () =>
  withTraffic({ traffic: { split: split(50) } }, async ({ app }) => {
    const headers = { "x-client-id": "one" };
    const given = await ask(app, 1, { headers });
    const other = given.version === 1 ? 2 : 1;
    const named = await ask(app, 1, { path: `/predict?version=${other}`, headers });
    assertEquals([named.version, named.alias], [other, null]);
    const seen = new Set((await askAll(app, 60)).map(({ version }) => version));
    assertEquals([...seen].sort(), [1, 2]);
  }));

Deno.test("an arm that cannot be loaded is answered for by the default, counted and shown", () =>
  withTraffic({
    traffic: { split: [{ alias: "production", percent: 50 }, { alias: "nobody", percent: 50 }] },
  }, async ({ app, store }) => {
    const answers = await askAll(app, 60);
    assert(answers.every(({ status, version }: Body) => status === 200 && version === 1));
    const { split: [, arm] } = await get(app, "/traffic");
    assertEquals([arm.alias, arm.version, arm.percent], ["nobody", null, 50]);
    assertStringIncludes(arm.last_fallback.message, "nobody");
    const metrics = await (await app.request("/metrics")).text();
    assert(/geophone_traffic_fallbacks_total\{arm="@nobody"\} \d\d/.test(metrics));
    // As soon as there is a version behind the alias, it has its share.
    await setAlias(store, { model: "rocks", alias: "nobody", version: 2, reason: "test" });
    await app.refresh();
    const later = new Set((await askAll(app, 60)).map(({ version }) => version));
    assertEquals([...later].sort(), [1, 2]);
  }));

Deno.test("GET /traffic says that the default answers all when nothing is configured", () =>
  withTraffic({}, async ({ app }) => {
    const { request_id: _, ...traffic } = await get(app, "/traffic");
    assertEquals(traffic, {
      model: "rocks",
      default: { alias: "production", version: 1 },
      split: null,
      shadow: null,
      canary: null,
    });
    const rollback = await app.request("/traffic/rollback", { method: "POST" });
    assertEquals(rollback.status, 422);
    assertStringIncludes((await rollback.json()).error.message, "none is configured");
  }));
