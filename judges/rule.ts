/** A judge without a language model: how near the observed features lie to the predicted class. */
import { type ClassProfile, definePlugin, type Inference } from "../plugins/plugin.ts";

/** Fewer usable features than this share of the profile's, and the rule has no opinion. */
const MINIMUM_COVERAGE = 0.3;

/**
 * Compares the mean squared standardized distance to every class's training mean; the score is the
 * predicted class's share of the resulting likelihoods, so it needs no threshold of its own:
 * above `1 / k` the class is more plausible than chance.
 *
 * All classes are compared over the same features: those that are present and vary within each of
 * them. A class without any such feature is left out. Below 30 % of the profile's features, or when
 * the values lie so far from every class that no likelihood is left, the rule abstains.
 */
export const rule = definePlugin({
  kind: "judge",
  name: "rule",
  summary: "distance of the observed features to the predicted class's training profile; no LLM",
  version: "rule-1",
  probe() {
    return Promise.resolve({ ready: true, detail: "needs no server" });
  },
  judge(inference, { profiles }) {
    const { label } = inference;
    if (!Object.hasOwn(profiles, label)) {
      return Promise.resolve({
        status: "abstained",
        kind: "no_profile",
        rationale: `training left no profile of class "${label}"`,
      });
    }
    const candidates = Object.entries(profiles).map(([name, profile]) =>
      [name, profile, listUsable(inference, profile)] as const
    ).filter(([name, , usable]) => name === label || usable.length > 0);
    const shared = candidates.map(([, , usable]) => usable)
      .reduce((a, b) => a.filter((feature) => b.includes(feature)));
    const total = Object.keys(profiles[label].mean).length;
    if (total === 0 || shared.length < MINIMUM_COVERAGE * total) {
      return Promise.resolve({
        status: "abstained",
        kind: "low_coverage",
        rationale: `${shared.length} of the profile's ${total} features can be compared`,
      });
    }
    const logs = candidates.map(([name, profile]) =>
      [name, logLikelihood(inference, profile, shared)] as const
    );
    const top = Math.max(...logs.map(([, value]) => value));
    if (!Number.isFinite(top)) {
      return Promise.resolve({
        status: "abstained",
        kind: "out_of_range",
        rationale: "the values lie too far from every class to compare",
      });
    }
    const own = logs.find(([name]) => name === label)![1];
    const sum = logs.reduce((sum, [, value]) => sum + Math.exp(value - top), 0);
    const [best] = logs.find(([, value]) => value === top)!;
    return Promise.resolve({
      status: "scored",
      score: Math.exp(own - top) / sum,
      rationale: own === top
        ? `nearest class profile is "${label}", as predicted`
        : `nearest class profile is "${best}", not "${label}"`,
    });
  },
});

/** Features with a value in the record and a finite center and width in the profile. */
function listUsable({ features }: Inference, { mean, std }: ClassProfile): string[] {
  return Object.keys(mean).filter((name) =>
    isNumber(Object.hasOwn(features, name) ? features[name] : null) && isNumber(mean[name]) &&
    isNumber(std[name]) && std[name] > 0
  );
}

/** Mean over the features of the Gaussian log density, so that coverage does not weigh. */
function logLikelihood(
  { features }: Inference,
  { mean, std }: ClassProfile,
  names: readonly string[],
): number {
  const sum = names.reduce((sum, name) => {
    const distance = ((features[name] as number) - mean[name]) / std[name];
    return sum - 0.5 * distance ** 2 - Math.log(std[name]);
  }, 0);
  return sum / names.length;
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}
