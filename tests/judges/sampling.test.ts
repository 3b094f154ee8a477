import { assert, assertEquals, assertThrows } from "@std/assert";
import { isSampled, sampledCondition } from "../../judges/sampling.ts";
import { openStore } from "../../runtime/store/store.ts";

const rows = Array.from({ length: 500 }, (_, i) => ({
  requestId: i % 3 === 0 ? `caller's id: ${i}` : `00000000-0000-4000-8000-${1000 + i}`,
  row: i % 7,
}));

Deno.test("sampledCondition draws what isSampled() draws when seed and rate are the same", async () => {
  await using store = await openStore(":memory:");
  await store.transaction([
    { sql: "create table t (request_id varchar, row integer)" },
    {
      append: "t",
      columns: { request_id: rows.map((r) => r.requestId), row: rows.map((r) => r.row) },
    },
  ]);
  for (const [seed, rate] of [[42, 0.1], [42, 0.5], [7, 0.5], [0, 0], [2 ** 31 - 1, 1]]) {
    const drawn = await store.query(
      `select request_id as "requestId", row from t where ${sampledCondition} order by all`,
      [String(seed), rate],
    );
    const expected = rows.filter((row) => isSampled(row, rate, seed));
    const key = (row: Record<string, unknown>) => `${row.requestId}/${row.row}`;
    assertEquals(drawn.map(key).sort(), expected.map((row) => key({ ...row })).sort());
    if (rate === 0.5) assert(drawn.length > 200 && drawn.length < 300);
  }
});

Deno.test("isSampled() draws a share near the rate, whatever the ids look like", () => {
  const n = 20_000;
  for (const name of [(i: number) => `r${i}`, (i: number) => `${i}-${"x".repeat(40)}`]) {
    for (const rate of [0.02, 0.3]) {
      const count = Array.from({ length: n }, (_, i) => ({ requestId: name(i), row: 0 }))
        .filter((row) => isSampled(row, rate, 42)).length;
      const deviation = Math.sqrt(n * rate * (1 - rate));
      assert(Math.abs(count - n * rate) < 4 * deviation, `${count} of ${n} at ${rate}`);
    }
  }
});

Deno.test("isSampled() draws the rows of one request apart and other rows with another seed", () => {
  const draw = (seed: number) =>
    Array.from({ length: 1000 }, (_, row) => isSampled({ requestId: "r", row }, 0.5, seed));
  const [a, b] = [draw(1), draw(2)];
  assertEquals(draw(1), a);
  const agreement = a.filter((is, i) => is === b[i]).length;
  assert(agreement > 430 && agreement < 570, `${agreement} of 1000 agree`);
  assert(a.includes(true) && a.includes(false));
});

Deno.test("isSampled() nests the sample of a lower rate in that of a higher one", () => {
  for (const row of rows) {
    const drawn = [0, 0.01, 0.1, 0.5, 1].map((rate) => isSampled(row, rate, 42));
    assertEquals(drawn, [...drawn].sort());
    assertEquals([drawn[0], drawn[4]], [false, true]);
  }
});

Deno.test("isSampled() throws RangeError when the rate is no share", () => {
  for (const rate of [-0.1, 1.1, NaN]) {
    assertThrows(() => isSampled(rows[0], rate, 42), RangeError, "[0, 1]");
  }
});
