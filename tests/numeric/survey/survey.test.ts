import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { Random } from "../../../numeric/random.ts";
import {
  estimateMean,
  estimateStratified,
  estimateTotal,
  type SurveyEstimate,
} from "../../../numeric/survey/design.ts";
import { estimatePowered } from "../../../numeric/survey/powered.ts";
import { estimateWithPredictions } from "../../../numeric/survey/ppi.ts";
import { correctRate } from "../../../numeric/survey/rogan_gladen.ts";
import golden from "../../oracles/survey.json" with { type: "json" };

Deno.test("estimateMean() and estimateTotal() equal the textbook's sums", () => {
  const { values, probabilities, ...expected } = golden.design;
  const mean = estimateMean({ values, probabilities })!;
  assertAlmostEquals(mean.value, expected.mean, 1e-12);
  assertAlmostEquals(mean.standardError, expected.meanError, 1e-12);
  const total = estimateTotal({ values, probabilities });
  assertAlmostEquals(total.value, expected.total, 1e-10);
  assertAlmostEquals(total.standardError, expected.totalError, 1e-10);
});

for (
  const [i, { value, low, high, weights, unlabelledWeights, ...known }] of golden.powered.entries()
) {
  Deno.test(`estimateWithPredictions() equals ppi_py, case ${i}`, () => {
    const estimate = estimateWithPredictions({
      ...known,
      ...(weights ? { weights } : {}),
      ...(unlabelledWeights ? { unlabelledWeights } : {}),
    })!;
    assertAlmostEquals(estimate.value, value, 1e-10);
    assertAlmostEquals(estimate.low, low, 1e-8);
    assertAlmostEquals(estimate.high, high, 1e-8);
  });
}

for (const { counts, value, low, high } of golden.corrected) {
  Deno.test(`correctRate() equals Lang and Reiczigel's formulas for ${counts.join(", ")}`, () => {
    const [k, rows, hits, positives, passes, negatives] = counts;
    const corrected = correctRate({
      rate: k / rows,
      rows,
      sensitivity: hits / positives,
      positives,
      specificity: passes / negatives,
      negatives,
    })!;
    assertAlmostEquals(corrected.value, value, 1e-12);
    assertAlmostEquals(corrected.low, low, 1e-9);
    assertAlmostEquals(corrected.high, high, 1e-9);
  });
}

/** Share of the rounds whose interval holds the truth. */
function cover(
  rounds: number,
  run: (random: Random) => { readonly estimate: SurveyEstimate; readonly truth: number },
): number {
  const random = new Random(2026);
  let held = 0;
  for (let round = 0; round < rounds; round++) {
    const { estimate: { low, high }, truth } = run(random);
    if (low <= truth && truth <= high) held++;
  }
  return held / rounds;
}

/** 93–97 % of 4,000 rounds: a coverage of 95 % strays by 0.34 points. */
function assertCovers(share: number): void {
  assert(share > 0.93 && share < 0.97, `it covers ${(100 * share).toFixed(1)} %`);
}

/** Scores of 3,000 predictions in three strata, and how probable it is that one is drawn. */
function drawPopulation(random: Random) {
  const strata = [[2000, 0.05, 0.9], [700, 0.15, 0.6], [300, 0.5, 0.3]];
  return strata.flatMap(([size, probability, good], stratum) =>
    Array.from({ length: size }, () => ({
      stratum,
      probability,
      value: random.uniform() < good ? 0.5 + random.uniform() / 2 : random.uniform() / 2,
    }))
  );
}

for (const method of ["Hájek's mean", "the total", "the stratified mean"] as const) {
  Deno.test(`intervals of ${method} cover in 93–97 % of 4,000 draws of about 355 of 3,000 rows`, () => {
    const population = drawPopulation(new Random(1));
    const total = population.reduce((sum, { value }) => sum + value, 0);
    const share = cover(4000, (random) => {
      const drawn = population.filter(({ probability }) => random.uniform() < probability);
      const toSample = (rows: typeof drawn) => ({
        values: rows.map(({ value }) => value),
        probabilities: rows.map(({ probability }) => probability),
      });
      if (method === "the total") return { estimate: estimateTotal(toSample(drawn)), truth: total };
      const truth = total / population.length;
      if (method === "Hájek's mean") return { estimate: estimateMean(toSample(drawn))!, truth };
      const strata = [0, 1, 2].map((stratum) => ({
        size: population.filter((row) => row.stratum === stratum).length,
        ...toSample(drawn.filter((row) => row.stratum === stratum)),
      }));
      return { estimate: estimateStratified(strata)!, truth };
    });
    assertCovers(share);
  });
}

Deno.test("intervals of PPI++ cover in 93–97 % of 4,000 draws of 100 labelled and 1,000 other rows, and are narrower than without", () => {
  let width = 0;
  let plain = 0;
  const share = cover(4000, (random) => {
    const draw = () => {
      const truth = random.uniform() < 0.7 ? 1 : 0;
      return {
        truth,
        predicted: Math.min(1, Math.max(0, 0.3 + 0.4 * truth + 0.3 * random.uniform())),
      };
    };
    const labelled = Array.from({ length: 100 }, draw);
    const truth = labelled.map((row) => row.truth);
    const estimate = estimateWithPredictions({
      truth,
      predicted: labelled.map((row) => row.predicted),
      unlabelled: Array.from({ length: 1000 }, () => draw().predicted),
    })!;
    const mean = truth.reduce((a, b) => a + b, 0) / 100;
    width += estimate.standardError;
    plain += Math.sqrt(mean * (1 - mean) / 100);
    return { estimate, truth: 0.7 };
  });
  assertCovers(share);
  assert(width < 0.7 * plain, `${width} against ${plain}`);
});

Deno.test("intervals of PPI++ cover in 93–97 % of 4,000 unequal draws, with more rows from where truths are rarer", () => {
  const share = cover(4000, (random) => {
    const rows = Array.from({ length: 1200 }, (_, i) => {
      const isRare = i % 3 === 0;
      const truth = random.uniform() < (isRare ? 0.3 : 0.8) ? 1 : 0;
      const predicted = 0.5 * truth + 0.5 * random.uniform();
      return { truth, predicted, probability: isRare ? 0.6 : 0.25 };
    }).filter(({ probability }) => random.uniform() < probability);
    const labelled = rows.filter((_, i) => i % 3 === 0);
    const others = rows.filter((_, i) => i % 3 !== 0);
    const estimate = estimatePowered({
      truth: labelled.map((row) => row.truth),
      predicted: labelled.map((row) => row.predicted),
      probabilities: labelled.map((row) => row.probability),
      unlabelled: others.map((row) => row.predicted),
      unlabelledProbabilities: others.map((row) => row.probability),
    })!;
    return { estimate, truth: (0.3 + 0.8 + 0.8) / 3 };
  });
  assertCovers(share);
});

Deno.test("estimatePowered() is the labelled rows' mean where predictions are of no use, and refuses what is no sample", () => {
  const probabilities = [0.5, 0.25, 0.5];
  const useless = estimatePowered({
    truth: [1, 0, 0],
    predicted: [0.5, 0.5, 0.5],
    probabilities,
    unlabelled: [0.5, 0.5],
    unlabelledProbabilities: [1, 1],
  })!;
  assertEquals([useless.lambda, useless.value], [0, 0.25]);
  // Left out one by one: 0, 1/2 and 1/3.
  const moves = [0.25, -0.25, -1 / 12];
  const middle = moves.reduce((a, b) => a + b) / 3;
  const variance = 2 / 3 * moves.reduce((sum, move) => sum + (move - middle) ** 2, 0);
  assertAlmostEquals(useless.standardError, Math.sqrt(variance), 1e-12);
  const one = { truth: [1], predicted: [1], probabilities: [1] };
  const none = { unlabelled: [1, 1], unlabelledProbabilities: [1, 1] };
  assertEquals(estimatePowered({ ...one, ...none }), null);
  assertThrows(() => estimatePowered({ ...one, ...none, predicted: [] }), TypeError);
  assertThrows(() => estimatePowered({ ...one, ...none, probabilities: [] }), TypeError);
  assertThrows(() => estimatePowered({ ...one, ...none, probabilities: [0] }), RangeError, "row");
  assertThrows(() => estimatePowered({ ...one, ...none, truth: [NaN] }), RangeError);
});

Deno.test("intervals of Rogan and Gladen cover in 93–97 % of 4,000 draws of 500 rows with 60 and 60 known ones", () => {
  const count = (random: Random, n: number, p: number) => {
    let hits = 0;
    for (let i = 0; i < n; i++) hits += random.uniform() < p ? 1 : 0;
    return hits / n;
  };
  const [prevalence, sensitivity, specificity] = [0.25, 0.85, 0.8];
  assertCovers(cover(4000, (random) => ({
    truth: prevalence,
    estimate: correctRate({
      rate: count(random, 500, prevalence * sensitivity + (1 - prevalence) * (1 - specificity)),
      rows: 500,
      sensitivity: count(random, 60, sensitivity),
      positives: 60,
      specificity: count(random, 60, specificity),
      negatives: 60,
    })!,
  })));
});

Deno.test("estimates are null, not numbers, when there is nothing to go by", () => {
  assertEquals(estimateMean({ values: [1], probabilities: [0.5] }), null);
  assertEquals(estimateStratified([{ size: 10, values: [1], probabilities: [0.5] }]), null);
  assertEquals(estimateStratified([]), null);
  const coin = {
    rate: 0.3,
    rows: 10,
    sensitivity: 0.5,
    positives: 9,
    specificity: 0.4,
    negatives: 9,
  };
  assertEquals(correctRate(coin), null);
  assertEquals(
    estimateWithPredictions({ truth: [1, 0], predicted: [1, 0], unlabelled: [1] }),
    null,
  );
  const useless = estimateWithPredictions({
    truth: [1, 0, 1, 0],
    predicted: [0, 1, 0, 1],
    unlabelled: [0, 1, 1, 1],
  })!;
  assertEquals([useless.value, useless.lambda], [0.5, 0]);
});

Deno.test("estimates refuse values and probabilities that are none", () => {
  assertThrows(() => estimateMean({ values: [1, NaN], probabilities: [1, 1] }), RangeError, '"1"');
  assertThrows(
    () => estimateTotal({ values: [1], probabilities: [0] }),
    RangeError,
    "probability 0",
  );
  assertThrows(() => estimateMean({ values: [1], probabilities: [] }), TypeError);
  assertThrows(
    () => estimateWithPredictions({ truth: [1], predicted: [], unlabelled: [] }),
    TypeError,
  );
  assertThrows(
    () =>
      correctRate({ rate: 2, rows: 1, sensitivity: 1, positives: 1, specificity: 1, negatives: 1 }),
    RangeError,
    '"2"',
  );
});
