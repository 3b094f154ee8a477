import { assertEquals } from "@std/assert";
import { Histogram } from "../../../serving/metrics/histogram.ts";

const at = (requestId: string, traceId: string | null = null) => ({
  requestId,
  traceId,
  time: new Date(1_000),
});

Deno.test("Histogram.observe() counts each value in the bucket of the first bound it is not above", () => {
  const bounds = Float64Array.of(0.001, 0.01, 0.1);
  const histogram = new Histogram(bounds);
  // The independent way: sort, then count.
  let state = 11;
  const random = () => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647;
  const values = Array.from({ length: 5_000 }, () => 10 ** (-4 * random()));
  for (const value of [...values, 0, 0.001, 0.1]) histogram.observe(value);
  const all = [...values, 0, 0.001, 0.1];
  const below = (bound: number) => all.filter((value) => value <= bound).length;
  const cumulative = [below(0.001), below(0.01), below(0.1), all.length];
  assertEquals(
    [...histogram.counts],
    cumulative.map((count, i) => count - (cumulative[i - 1] ?? 0)),
  );
  assertEquals(histogram.count, all.length);
  assertEquals(histogram.sum, all.reduce((a, b) => a + b, 0));
});

Deno.test("Histogram.exemplar() gives the latest request of a bucket, null when there was none", () => {
  const histogram = new Histogram(Float64Array.of(1));
  histogram.observe(0.5, at("a"));
  histogram.observe(0.25, at("b", "0".repeat(32)));
  histogram.observe(0.75);
  histogram.observe(2);
  assertEquals(histogram.exemplar(0), { ...at("b", "0".repeat(32)), value: 0.25 });
  assertEquals(histogram.exemplar(1), null);
});
