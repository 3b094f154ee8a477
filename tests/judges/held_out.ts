/** A store with held-out predictions of a model that errs, and judges that know more or less. */
import { matrix } from "../../numeric/matrix.ts";
import { Random } from "../../numeric/random.ts";
import { type Asked, openAsking } from "../../judges/asking.ts";
import { JudgingParams } from "../../judges/judging.ts";
import type { Inference, Plugin, Verdict } from "../../plugins/plugin.ts";
import { heldOutSteps } from "../../runtime/estimates/held_out.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { addModel } from "../plugins/alerts/rows.ts";

export const { signal } = new AbortController();

/** The version that all of this is about. */
export const about = { model: "rocks", version: 1 } as const;

const profiles = {
  sandstone: { count: 9, mean: { GR: 40, RHOB: 2.3 }, std: { GR: 12, RHOB: 0.1 } },
  siltstone: { count: 9, mean: { GR: 80, RHOB: 2.5 }, std: { GR: 12, RHOB: 0.1 } },
  anhydrite: { count: 9, mean: { GR: 10, RHOB: 2.95 }, std: { GR: 12, RHOB: 0.1 } },
};

function drawNormal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
}

/**
 * Opens a store with a model of three classes and its held-out predictions: records lie around the
 * profile of their class; the model errs in `errors` of them, and is less sure then.
 */
export async function openHeldOut(
  { rows = 1200, errors = 0.2, path = ":memory:" }: {
    readonly rows?: number;
    readonly errors?: number;
    readonly path?: string;
  } = {},
): Promise<Store> {
  const store = await openStore(path);
  const random = new Random(7);
  const X = matrix(rows, 3);
  const P = matrix(rows, 3);
  const y = new Int32Array(rows);
  const classes = Object.values(profiles);
  for (let i = 0; i < rows; i++) {
    y[i] = random.below(3);
    const { mean, std } = classes[y[i]];
    // Three times as wide as the rule believes, so that it errs.
    X.data.set([
      mean.GR + 3 * std.GR * drawNormal(random),
      mean.RHOB + 3 * std.RHOB * drawNormal(random),
      random.uniform() / 2,
    ], 3 * i);
    const isWrong = random.uniform() < errors;
    const predicted = isWrong ? (y[i] + 1 + random.below(2)) % 3 : y[i];
    const sure = (isWrong ? 0.45 : 0.6) + 0.35 * random.uniform();
    for (let c = 0; c < 3; c++) P.data[3 * i + c] = c === predicted ? sure : (1 - sure) / 2;
  }
  const groups = Array.from({ length: rows }, () => null);
  const order = Float64Array.from({ length: rows }, (_, i) => i);
  const { handle, steps } = await heldOutSteps({ X, P, y, groups, order });
  await store.transaction(steps);
  await addModel(store, { report: { profiles, predictions: handle } });
  return store;
}

/** A judge that answers as `answer` says. */
export function makeJudge(
  answer: (inference: Inference) => Verdict | Promise<Verdict>,
  more: Partial<Plugin<"judge">> = {},
): Plugin<"judge"> {
  return {
    kind: "judge",
    name: "fake",
    summary: "a test",
    version: "fake-1",
    probe: () => Promise.resolve({ ready: true, detail: "here" }),
    judge: (inference) => Promise.resolve(answer(inference)),
    ...more,
  };
}

/** A judge, ready to be asked. */
export async function openJudge(store: Store, judge: Plugin<"judge">): Promise<Asked> {
  const params = JudgingParams.parse({});
  return await (await openAsking(store, [judge], { ...about, params, signal }))(judge);
}
