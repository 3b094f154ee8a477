import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { join } from "node:path";
import { importJudgeLabels } from "../../judges/label_import.ts";
import { nextCase, recordJudgeLabels } from "../../judges/labels.ts";
import { Plugins } from "../../plugins/plugin.ts";
import { loadPlugins } from "../../plugins/mod.ts";
import { createApiKey } from "../../runtime/api_keys.ts";
import { UsageError } from "../../runtime/errors.ts";
import { recordLabels } from "../../runtime/inference/labels.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { createApp } from "../../server.ts";
import { labelPolicy, renderLabelPage } from "../../serving/label_page.ts";
import { addInferences, addJudgements, addModel } from "../plugins/alerts/rows.ts";

const REQUEST = "55555555-5555-4555-8555-555555555555";
const about = { model: "rocks", version: 1 };
const { signal } = new AbortController();

async function openJudged(count = 5): Promise<Store> {
  const store = await openStore(":memory:");
  await addModel(store);
  await addInferences(store, { count, requestId: REQUEST });
  await addJudgements(store, { requestId: REQUEST, count, score: 0.5 });
  return store;
}

const good = (row: number) => ({ requestId: REQUEST, row, label: "good" as const });

Deno.test("recordJudgeLabels() keeps all or none, and the last one counts", async () => {
  await using store = await openJudged();
  assertEquals(await recordJudgeLabels(store, [good(0), good(1)], { by: "ann" }), 2);
  await recordJudgeLabels(store, [{ ...good(0), label: "bad" }], { by: "bob" });
  await recordJudgeLabels(store, [{ ...good(1), label: null }], { by: "ann" });
  assertEquals(
    await store.query("select row, judge, label, labeled_by from judge_labels order by row"),
    [{ row: 0, judge: "", label: "bad", labeled_by: "bob" }],
  );
  assertEquals((await store.query("select count(*) as n from core.judge_labels"))[0].n, 4);
  await assertRejects(
    () => recordJudgeLabels(store, [good(2), good(99)], { by: null }),
    UsageError,
    `Cannot label 1 of 2 predictions: nothing was predicted for "${REQUEST}" row 99; none was kept`,
  );
  await assertRejects(
    () => recordJudgeLabels(store, Array.from({ length: 10_001 }, () => good(0)), { by: null }),
    UsageError,
    "in parts",
  );
  assertEquals((await store.query("select count(*) as n from judge_labels"))[0].n, 1);
});

Deno.test("view judge_truth has labels of classes, too, and a person's word before them", async () => {
  await using store = await openJudged();
  const label = (row: number, label: string) => ({ requestId: REQUEST, row, label });
  await recordLabels(store, [label(0, "sandstone"), label(1, "siltstone")], "core");
  await recordJudgeLabels(store, [good(1)], { by: "ann" });
  await recordJudgeLabels(store, [{ ...good(0), label: "bad" }], { judge: "polite", by: "ann" });
  assertEquals(
    await store.query("select row, judge, is_good, source from judge_truth order by all"),
    [
      { row: 0, judge: "", is_good: true, source: "class label" },
      { row: 0, judge: "polite", is_good: false, source: "person" },
      { row: 1, judge: "", is_good: true, source: "person" },
    ],
  );
});

Deno.test("nextCase() goes through what is judged and not known, without those skipped", async () => {
  await using store = await openJudged(3);
  await addInferences(store, { count: 50 });
  const seen: number[] = [];
  const skipped: string[] = [];
  for (;;) {
    const shown = await nextCase(store, { ...about, skipped });
    if (shown === null) break;
    const { requestId, row } = shown.inference;
    assertEquals([requestId, shown.left], [REQUEST, 3 - seen.length]);
    seen.push(row);
    if (row === 1) skipped.push(`${requestId}:${row}`);
    else await recordJudgeLabels(store, [good(row)], { by: null });
  }
  assertEquals(seen.sort(), [0, 1, 2]);
  assertEquals(await nextCase(store, { ...about, judge: "nobody" }), null);
});

Deno.test("importJudgeLabels() takes a CSV, and refuses one that is wrong as a whole", async () => {
  await using store = await openJudged();
  const folder = await Deno.makeTempDir();
  try {
    const plugins = new Plugins(await loadPlugins());
    const take = async (text: string) => {
      const file = join(folder, `${crypto.randomUUID()}.csv`);
      await Deno.writeTextFile(file, text);
      return await importJudgeLabels(store, file, { by: "lab", plugins, signal });
    };
    assertEquals(
      await take(`request_id,row,label,note\n${REQUEST},0,good,x\n${REQUEST},3,Bad,y\n`),
      2,
    );
    assertEquals(await take(`request_id,label\n${REQUEST},bad\n`), 1);
    for (
      const [text, message] of [
        [`request_id,row,label\n${REQUEST},1,good\n${REQUEST},2,fine\n`, 'row 2: label "fine"'],
        [`request_id,row,label\n${REQUEST},x,good\n`, 'row "x" is no row'],
        [`request_id,row,label\n${REQUEST},77,good\n`, "nothing was predicted"],
        [`request,row,label\n${REQUEST},1,good\n`, 'lacks the column "request_id"'],
      ]
    ) await assertRejects(() => take(text), UsageError, message);
    assertEquals(await store.query("select row, label from judge_labels order by row"), [
      { row: 0, label: "bad" },
      { row: 3, label: "bad" },
    ]);
    assertEquals(
      await store.query("select table_name from duckdb_tables() where table_name like '_judge%'"),
      [],
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("GET /label shows a prediction, POST /judge-labels keeps what is said of it", async () => {
  await using store = await openJudged(2);
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const page = await app.request("http://127.0.0.1/label");
  const text = await page.text();
  assertEquals(page.status, 200);
  assertMatch(
    page.headers.get("content-security-policy")!,
    /default-src 'none'.*script-src 'sha256-/,
  );
  const row = Number(/data-row="(\d)"/.exec(text)![1]);
  assertStringIncludes(text, `data-request-id="${REQUEST}"`);
  assertStringIncludes(text, "Is it sandstone?");
  const post = async (body: unknown) =>
    await app.request("http://127.0.0.1/judge-labels", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const label = { request_id: REQUEST, row, label: "good" };
  const kept = await post({ labels: [label] });
  assertEquals([kept.status, (await kept.json()).stored], [200, 1]);
  const next = await (await app.request(`http://127.0.0.1/label?last=${REQUEST}:${row}`)).text();
  assertStringIncludes(next, `data-row="${1 - row}"`);
  assertStringIncludes(next, 'value="undo"');
  await (await post({ labels: [{ ...label, label: null }, { ...label, row: 1 - row }] })).body
    ?.cancel();
  assertEquals(await store.query("select row from judge_labels"), [{ row: 1 - row }]);
  for (
    const body of [
      { labels: [{ ...label, label: "fine" }] },
      { labels: [{ ...label, row: 99 }] },
      { labels: [] },
    ]
  ) {
    const refused = await post(body);
    assertEquals([refused.status, (await refused.json()).error.code], [422, "invalid_input"]);
  }
});

Deno.test("GET /label and POST /judge-labels want the role operator, and refuse pages of other origins", async () => {
  await using store = await openJudged(2);
  {
    await using app = await createApp({ store, model: "rocks", quiet: true });
    const foreign = await app.request("http://127.0.0.1/judge-labels", {
      method: "POST",
      headers: { origin: "http://evil.example", host: "127.0.0.1" },
      body: "{}",
    });
    assertEquals(foreign.status, 403);
    await foreign.body?.cancel();
  }
  const [predictor, operator] = await Promise.all(
    (["predictor", "operator"] as const).map((role) => createApiKey(store, { name: role, role })),
  );
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const get = async (key?: string) => {
    const response = await app.request("http://127.0.0.1/label", {
      headers: key === undefined ? {} : { "x-api-key": key },
    });
    await response.body?.cancel();
    return response.status;
  };
  assertEquals([await get(), await get(predictor.secret), await get(operator.secret)], [
    401,
    403,
    200,
  ]);
});

Deno.test("renderLabelPage() shows text as text, whatever it says, and its policy lets only its own script run", () => {
  const evil = `"><script>alert(1)</script><img src=x onerror='x'>`;
  const page = renderLabelPage({
    inference: {
      ...about,
      requestId: evil,
      row: 0,
      features: { [evil]: 1 },
      label: evil,
      probabilities: { [evil]: 1 },
      confidence: 1,
      texts: { [evil]: evil },
    },
    profile: { count: 1, mean: { [evil]: 0 }, std: { [evil]: 0.1 } },
    left: 1,
  }, { judge: evil, last: evil });
  assertEquals(page.match(/<script>/g)!.length, 1);
  assert(!page.includes("<img") && !page.includes("onerror='x'"));
  assert(!labelPolicy.includes("unsafe"));
  assertStringIncludes(
    renderLabelPage(null, { judge: "", last: null }),
    "Nothing is left to label",
  );
});
