import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { countBins, countHalves } from "../../../numeric/drift/bins.ts";
import {
  countDistributions,
  countHalvesOf,
  countUpTo,
  measureGaps,
  measureStabilityOf,
  quantileOf,
  sizeOf,
  thinDistribution,
  toDistribution,
} from "../../../numeric/drift/distributions.ts";
import { measureWasserstein } from "../../../numeric/drift/transport.ts";
import { Random } from "../../../numeric/random.ts";
import {
  computeMean,
  computeQuantiles,
  measureStability,
  testKolmogorovSmirnov,
} from "../../../numeric/statistics.ts";

const random = new Random(3);

/** Samples of many kinds: of many values, of few, constant, with a heavy one, of two. */
const samples = [
  Float64Array.from({ length: 300 }, () => random.uniform() + random.uniform()),
  Float64Array.from({ length: 200 }, () => random.uniform() * 3),
  Float64Array.from({ length: 150 }, () => Math.floor(random.uniform() * 4)),
  Float64Array.from({ length: 120 }, () => random.uniform() < 0.6 ? 0 : random.uniform() - 0.5),
  new Float64Array(50).fill(2.5),
  Float64Array.of(0, 1, 1, 1, 0),
].map((sample) => sample.sort());

Deno.test("distributions give what the samples give: gaps, bins, halves, stability and quantiles", () => {
  for (const a of samples) {
    for (const b of samples) {
      const [r, c] = [toDistribution(a), toDistribution(b)];
      const gaps = measureGaps(r, c)!;
      const ks = testKolmogorovSmirnov(a, b)!;
      assertAlmostEquals(gaps.largest, ks.statistic, 1e-12);
      assertAlmostEquals(gaps.pValue, ks.pValue, 1e-9);
      assertAlmostEquals(gaps.area, measureWasserstein(a, b)!, 1e-12);
      assertEquals(gaps.distinct, new Set([...a, ...b]).size);
      const bins = countDistributions(r, c)!;
      assertEquals(bins.bins, countBins(a, b)!.bins);
      // Categories may come in another order.
      const pairs = ({ reference, current }: Pick<typeof bins, "reference" | "current">) =>
        Array.from(reference, (count, bin) => `${count} ${current[bin]}`);
      const expected = pairs(countBins(a, b)!);
      assertEquals(pairs(bins).sort(), expected.sort());
      assertEquals(countHalvesOf(r, c), countHalves(a, b));
      assertAlmostEquals(measureStabilityOf(r, c)!, measureStability(a, b)!, 1e-12);
    }
    const probabilities = [0, 0.1, 1 / 3, 0.5, 0.99, 1];
    assertEquals(
      probabilities.map((p) => quantileOf(toDistribution(a), p)),
      computeQuantiles(a, probabilities),
    );
  }
});

Deno.test("thinDistribution() keeps size, mean and ends, and moves the distribution function little", () => {
  const sample = Float64Array.from({ length: 50_000 }, () => {
    const u = random.uniform();
    return u < 0.3 ? 0.1 : Math.log(random.uniform()) * (u < 0.6 ? 1 : -3);
  }).sort();
  const all = toDistribution(sample);
  for (const most of [8, 100, 4096]) {
    const few = thinDistribution(all, most);
    assert(few.isThinned && few.values.length <= most);
    assertEquals(sizeOf(few), sample.length);
    assertEquals([few.values[0], few.values.at(-1)], [sample[0], sample.at(-1)]);
    const mean = few.values.reduce(
      (sum, value, i) => sum + value * (few.upTo[i] - (few.upTo[i - 1] ?? 0)),
      0,
    ) / sample.length;
    assertAlmostEquals(mean, computeMean(sample)!, 1e-9);
    // The heavy value stays itself, so that those who have it too do not differ by it.
    const heavy = [few, all].map((d) => countUpTo(d, 0.1, true) - countUpTo(d, 0.1, false));
    assertEquals(heavy[0], most === 8 ? 0 : heavy[1]);
    assert(measureGaps(all, few)!.largest < 2 / (most - 3), `${measureGaps(all, few)!.largest}`);
  }
  assertEquals(thinDistribution(all, 50_000), all);
  assertThrows(() => thinDistribution(all, 7), RangeError, 'Cannot thin to "7" values');
});

Deno.test("distributions without values, or with infinite ones that take bins, give null", () => {
  const [none, some] = [toDistribution(new Float64Array()), toDistribution(samples[0])];
  assertEquals([measureGaps(none, some), measureGaps(some, none)], [null, null]);
  assertEquals([countDistributions(none, some), countHalvesOf(some, none)], [null, null]);
  assertEquals(measureStabilityOf(none, some), null);
  const infinite = toDistribution(Float64Array.from([...samples[0], Infinity]));
  assertEquals(countDistributions(infinite, some), null);
  assertEquals(measureGaps(infinite, infinite)!.area, 0);
});
