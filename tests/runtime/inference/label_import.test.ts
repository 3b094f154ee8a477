import { assertEquals, assertRejects } from "@std/assert";
import { csv, json, parquet } from "../../../plugins/sources/table.ts";
import { Plugins } from "../../../plugins/plugin.ts";
import { UsageError } from "../../../runtime/errors.ts";
import {
  importLabels,
  type ImportOptions,
  type ImportReport,
  openLabelFile,
  openLabelQuery,
} from "../../../runtime/inference/label_import.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { createApp } from "../../../server.ts";
import { registerTestModel, testRecord } from "../../model_fixture.ts";

interface Bench {
  readonly store: Store;
  readonly dir: string;
  /** Writes `text` as `name`, when there is any, and imports it. */
  take(name: string, text: string | null, options?: Partial<ImportOptions>): Promise<ImportReport>;
}

/** A store with the requests `00012`, of two rows, and `b`, of one. */
async function withBench(action: (bench: Bench) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await using store = await openStore(":memory:");
    await registerTestModel(store);
    await using app = await createApp({ store, model: "rocks", quiet: true });
    for (const [id, rows] of [["00012", 2], ["b", 1]] as const) {
      const response = await app.request("/predict", {
        method: "POST",
        headers: { "x-request-id": id },
        body: JSON.stringify({ records: Array.from({ length: rows }, (_, i) => testRecord(i)) }),
      });
      assertEquals(response.status, 200, await response.text());
    }
    await action({
      store,
      dir,
      async take(name, text, options = {}) {
        if (text !== null) await Deno.writeTextFile(`${dir}/${name}`, text);
        const table = await openLabelFile(store, `${dir}/${name}`, {
          plugins: new Plugins([csv, json, parquet]),
          signal: new AbortController().signal,
        });
        return await importLabels(store, table, { source: "lab", ...options });
      },
    });
    // Whatever happened, nothing but labels is left.
    assertEquals(
      await store.query(
        "select table_name from duckdb_tables() where table_name like '\\_labels%' escape '\\'",
      ),
      [],
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const counts = (
  { total, created, corrected, same, missing }: ImportReport,
) => [total, created, corrected, same, missing];

const readLabels = (store: Store) =>
  store.query("select request_id, row, label, source from labels order by all");

const GOOD = `request_id,row,label,labeled_at,note
00012,0,sandstone,2024-03-01 10:00,x
00012,1,siltstone,2024-03-02,
b,,anhydrite,2024-03-01T00:00:00+02:00,"a, b"
`;

Deno.test("importLabels() stores a CSV: ids as text, rows from 0 by default, times in UTC", () =>
  withBench(async ({ store, take }) => {
    const checked = await take("a.csv", GOOD, { isCheck: true });
    assertEquals([counts(checked), checked.ignored], [[3, 3, 0, 0, 0], ["note"]]);
    assertEquals(await readLabels(store), []);
    assertEquals(counts(await take("a.csv", null)), [3, 3, 0, 0, 0]);
    assertEquals(await readLabels(store), [
      { request_id: "00012", row: 0, label: "sandstone", source: "lab" },
      { request_id: "00012", row: 1, label: "siltstone", source: "lab" },
      { request_id: "b", row: 0, label: "anhydrite", source: "lab" },
    ]);
    assertEquals(
      (await store.query("select created_at from labels order by created_at")).map((row) =>
        row.created_at
      ),
      ["2024-02-29T22:00:00.000Z", "2024-03-01T10:00:00.000Z", "2024-03-02T00:00:00.000Z"],
    );
    assertEquals(counts(await take("a.csv", null)), [3, 0, 0, 3, 0]);
  }));

Deno.test("importLabels() takes corrections by their time, and keeps the history", () =>
  withBench(async ({ store, take }) => {
    await take("a.csv", GOOD);
    const text = "request_id,label,labeled_at\nb,siltstone,2024-05-01\nb,sandstone,2024-04-01\n";
    assertEquals(counts(await take("b.csv", text, { source: null })), [2, 0, 2, 0, 0]);
    assertEquals(
      await store.query("select label, source from label_history where request_id = 'b'"),
      [
        { label: "anhydrite", source: "lab" },
        { label: "sandstone", source: null },
        { label: "siltstone", source: null },
      ],
    );
    assertEquals((await readLabels(store))[2].label, "siltstone");
  }));

Deno.test("importLabels() reads Parquet and NDJSON as it reads CSV", () =>
  withBench(async ({ store, take, dir }) => {
    await store.query(
      `copy (select '00012' as request_id, 1::tinyint as row, 'siltstone' as label,
         timestamp '2024-03-02' as labeled_at) to '${dir}/a.parquet'`,
    );
    assertEquals(counts(await take("a.parquet", null)), [1, 1, 0, 0, 0]);
    const line = '{"request_id": "00012", "row": 1, "label": "siltstone"}\n';
    assertEquals(counts(await take("a.ndjson", line + line)), [2, 0, 0, 2, 0]);
  }));

for (
  const [name, text, message] of [
    ["no id column", "request,label\nb,sandstone\n", 'lacks the column "request_id"'],
    ["no label column", "request_id,lable\nb,x\n", 'lacks the column "label"; is it "lable"?'],
    ["an empty id", "request_id,label\n,sandstone\n", "row 1: request_id is empty"],
    ["an empty label", "request_id,label\nb,\n", "row 1: label is empty"],
    ["a long label", `request_id,label\nb,${"x".repeat(1001)}\n`, "longer than 1000 characters"],
    ["a long id", `request_id,label\n${"x".repeat(257)},sandstone\n`, "longer than 256"],
    ["half a row", "request_id,row,label\nb,0.5,sandstone\n", 'row "0.5" is no row number'],
    ["a negative row", "request_id,row,label\nb,-1,sandstone\n", 'row "-1" is no row number'],
    ["a row of text", "request_id,row,label\nb,first,sandstone\n", 'row "first" is no row'],
    ["a huge row", "request_id,row,label\nb,1e300,sandstone\n", 'row "1e300" is no row'],
    ["no time", "request_id,label,labeled_at\nb,sandstone,soon\n", '"soon" is no time'],
    ["an endless time", "request_id,label,labeled_at\nb,sandstone,infinity\n", "is no time"],
    ["a future time", "request_id,label,labeled_at\nb,sandstone,2999-01-01\n", "in the future"],
    ["an unknown id", "request_id,label\nb,sandstone\nc,sandstone\n", 'for "c" row 0; none'],
    ["an unknown row", "request_id,row,label\nb,1,sandstone\n", 'for "b" row 1; none'],
    ["an unknown class", "request_id,label\nb,sandstones\n", 'did you mean "sandstone"?'],
  ] as const
) {
  Deno.test(`importLabels() stores nothing of a file with ${name}, and says what is wrong`, () =>
    withBench(async ({ store, take }) => {
      await assertRejects(() => take("a.csv", text), UsageError, message);
      assertEquals(await readLabels(store), []);
    }));
}

Deno.test("importLabels() names the first ten missing records and leaves them out when told so", () =>
  withBench(async ({ store, take }) => {
    const lines = Array.from({ length: 25 }, (_, i) => `gone${i},sandstone\n`).join("");
    const text = `request_id,label\n${lines}b,granite\n`;
    const allowed = { allowMissing: true, allowNewClasses: true };
    const report = await take("a.csv", text, { ...allowed, isCheck: true });
    assertEquals(counts(report), [26, 1, 0, 0, 25]);
    assertEquals(report.firstMissing.length, 10);
    assertEquals(report.firstMissing[9], { requestId: "gone9", row: 0 });
    assertEquals(report.newClasses.length, 1);
    await take("a.csv", null, allowed);
    assertEquals((await readLabels(store)).map(({ label }) => label), ["granite"]);
  }));

Deno.test("importLabels() names ten rows in disorder and counts the rest", () =>
  withBench(async ({ take }) => {
    const text = "request_id,label\n" + "b,\n".repeat(13);
    const error = await assertRejects(() => take("a.csv", text), UsageError);
    assertEquals(
      error.message.endsWith("row 10: label is empty; and 3 more; none was stored"),
      true,
    );
  }));

Deno.test("importLabels() takes a query of the store, and none that reads or changes anything else", () =>
  withBench(async ({ store, dir }) => {
    const take = async (sql: string) =>
      await importLabels(store, await openLabelQuery(store, sql), { source: null });
    const sql = "select request_id, row, 'siltstone' as label from inferences -- all of them";
    assertEquals(counts(await take(sql)), [3, 3, 0, 0, 0]);
    assertEquals(counts(await take(`${sql.slice(0, 65)};`)), [3, 0, 0, 3, 0]);
    await Deno.writeTextFile(`${dir}/a.csv`, GOOD);
    for (
      const wrong of [
        `from '${dir}/a.csv'`,
        `from read_csv('${dir}/a.csv')`,
        "delete from core.labels returning request_id, label",
        "select 1; drop table core.labels",
        "select 1) ; drop table core.labels; (select 2",
        "select request_id from inferences",
        "selec 1",
        "",
      ]
    ) await assertRejects(() => take(wrong), UsageError, "Cannot");
    assertEquals((await readLabels(store)).length, 3);
  }));

Deno.test("importLabels() clears what a killed import left a day ago, and no other", () =>
  withBench(async ({ store, take }) => {
    const old = `bronze."_labels_${Date.now() - 2 * 86_400_000}_aa"`;
    const fresh = `bronze."_labels_${Date.now()}_bb"`;
    await store.query(`create table ${old} as select 1`);
    await store.query(`create table ${fresh} as select 1`);
    await take("a.csv", GOOD);
    const left = await store.query(
      "select table_name from duckdb_tables() where starts_with(table_name, '_labels_')",
    );
    assertEquals(left.map(({ table_name }) => `bronze."${table_name}"`), [fresh]);
    await store.query(`drop table ${fresh}`);
  }));
