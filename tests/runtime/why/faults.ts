/** Faults of known kinds with random places and strengths, and the cause that is to be found first. */
import { Random } from "../../../numeric/random.ts";
import type { Store } from "../../../runtime/store/store.ts";
import {
  drawRows,
  inputs,
  logRequests,
  logRows,
  requesters,
  type RowDraft,
  slices,
} from "./world.ts";

/** What is to be found: one of the kinds, of this subject. */
export interface TrueCause {
  readonly kinds: readonly string[];
  readonly subject: string;
}

/** Puts a fault into the store, and gives its cause. */
export type Fault = (store: Store, random: Random) => Promise<TrueCause>;

/** Which alert looks at it, and how many of the fifty there are. */
export interface FaultKind {
  readonly symptom: "predictions" | "errors" | "latency";
  readonly count: number;
  readonly inject: Fault;
}

const BEFORE = 1_400;
const NOW = 900;

const choose = <T>(values: readonly T[], random: Random): T => values[random.below(values.length)];

/** A fault in one feature of some rows: everywhere, in one slice or of one requester. */
function inFeature(
  kinds: readonly string[],
  make: (random: Random, feature: number) => (value: number) => number,
  features: readonly number[] = [0, 1, 2, 3],
): Fault {
  return async (store, random) => {
    const feature = choose(features, random);
    const place = random.below(3);
    const slice = choose(slices, random);
    const requester = choose(requesters, random);
    const change = make(random, feature);
    const now = drawRows(NOW, random);
    for (const row of now) {
      const isHit = place === 0 ||
        (place === 1 ? row.slice === slice : row.requester === requester);
      if (isHit) row.x[feature] = change(row.x[feature]);
    }
    await logRows(store, { before: drawRows(BEFORE, random), now });
    return { kinds, subject: inputs[feature].name };
  };
}

const spreads = [35, 0.12, 0.1, 22, 180];

/** Conversions to a unit that is meant by nobody, by input. */
const wrongUnits: readonly (((value: number) => number) | undefined)[] = [
  undefined,
  (value) => value * 1000,
  (value) => value * 100,
  (value) => value / 0.3048,
  (value) => value / 0.3048,
];

/** The kinds, fifty faults in all. */
export const faultKinds: Readonly<Record<string, FaultKind>> = {
  "feature shift": {
    symptom: "predictions",
    count: 5,
    inject: inFeature(["shift"], (random, feature) => {
      const by = (random.uniform() < 0.5 ? -1 : 1) * (1 + random.uniform()) * spreads[feature];
      return (value) => value + by;
    }),
  },
  scale: {
    symptom: "predictions",
    count: 5,
    inject: inFeature(["scale", "unit"], (random) => {
      const factor = random.uniform() < 0.5
        ? 1.6 + 2 * random.uniform()
        : 0.2 + 0.4 * random.uniform();
      return (value) => value * factor;
    }),
  },
  unit: {
    symptom: "predictions",
    count: 4,
    inject: inFeature(["unit"], (_, feature) => wrongUnits[feature]!, [1, 2, 3]),
  },
  missing: {
    symptom: "predictions",
    count: 5,
    inject: inFeature(["missing values"], (random) => {
      const share = 0.5 + 0.5 * random.uniform();
      return (value) => random.uniform() < share ? NaN : value;
    }),
  },
  "stuck value": {
    symptom: "predictions",
    count: 5,
    inject: inFeature(["stuck value"], (random, feature) => {
      const [level] = drawRows(1, random);
      const share = 0.6 + 0.4 * random.uniform();
      return (value) => random.uniform() < share ? level.x[feature] : value;
    }),
  },
  "swapped columns": {
    symptom: "predictions",
    count: 4,
    async inject(store, random) {
      const a = random.below(4);
      const b = (a + 1 + random.below(3)) % 4;
      const now = drawRows(NOW, random);
      const slice = random.uniform() < 0.5 ? choose(slices, random) : null;
      for (const { x, slice: of } of now) {
        if (slice === null || of === slice) [x[a], x[b]] = [x[b], x[a]];
      }
      await logRows(store, { before: drawRows(BEFORE, random), now });
      const names = [a, b].sort().map((j) => inputs[j].name);
      return { kinds: ["swapped columns"], subject: names.join(", ") };
    },
  },
  "slice mix": {
    symptom: "predictions",
    count: 5,
    async inject(store, random) {
      const grown = random.below(slices.length);
      const weights = slices.map((_, i) => i === grown ? 4 + 6 * random.uniform() : 1);
      await logRows(store, {
        before: drawRows(BEFORE, random),
        now: drawRows(NOW, random, { slices: weights }),
      });
      return { kinds: ["slice"], subject: slices[grown] };
    },
  },
  "model swap": {
    symptom: "predictions",
    count: 4,
    async inject(store, random) {
      const share = 0.4 + 0.6 * random.uniform();
      const now = drawRows(NOW, random).map((row) => ({
        ...row,
        version: random.uniform() < share ? 2 : 1,
      }));
      await logRows(store, { before: drawRows(BEFORE, random), now });
      return { kinds: ["version"], subject: "2" };
    },
  },
  "noisy requester": {
    symptom: "predictions",
    count: 4,
    async inject(store, random) {
      const isNew = random.uniform() < 0.5;
      const requester = isNew ? "eve" : choose(requesters, random);
      const now = drawRows(NOW, random);
      // What it sends are the inputs of another kind of rock in all columns.
      const [other] = drawRows(1, random, { slices: [0, 0, 1] });
      const garble = (row: RowDraft) => {
        row.x = row.x.map((_, j) => other.x[j] + spreads[j] * (random.uniform() - 0.5));
        row.requester = requester;
      };
      for (const row of now) {
        if (isNew ? random.uniform() < 0.4 : row.requester === requester) garble(row);
      }
      await logRows(store, { before: drawRows(BEFORE, random), now });
      return { kinds: ["requester"], subject: requester };
    },
  },
  "error burst": {
    symptom: "errors",
    count: 5,
    async inject(store, random) {
      const isNew = random.uniform() < 0.5;
      const culprit = isNew ? "eve" : choose(requesters, random);
      const share = 0.3 + 0.6 * random.uniform();
      await logRequests(store, {
        count: 4_000,
        random,
        draft(isNow, requester) {
          const by = isNow && isNew && random.uniform() < 0.2 ? culprit : requester;
          const isBad = isNow && by === culprit && random.uniform() < share;
          return {
            requester: by,
            status: isBad || random.uniform() < 0.005 ? choose([500, 503], random) : 200,
          };
        },
      });
      return { kinds: ["requester"], subject: culprit };
    },
  },
  "slow model": {
    symptom: "latency",
    count: 4,
    async inject(store, random) {
      const factor = 2 + 6 * random.uniform();
      await logRequests(store, {
        count: 4_000,
        random,
        draft: (isNow) => ({ modelMs: (2 + random.uniform()) * (isNow ? factor : 1) }),
      });
      return { kinds: ["time in the model"], subject: "time in the model" };
    },
  },
};
