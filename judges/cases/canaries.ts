/** Rows of known truth beside every batch of a judge: when it no longer tells them apart, it drifts. */
import type { Store } from "../../runtime/store/store.ts";
import type { Asked } from "../asking.ts";
import { askCases } from "./asked.ts";
import { makeCases } from "./cases.ts";

/** Asks a judge about `count` canaries of a version, others each time; none where nothing was held out. */
export async function askCanaries(
  store: Store,
  asked: Asked,
  { model, version, count, signal }: {
    readonly model: string;
    readonly version: number;
    readonly count: number;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  if (count === 0) return;
  const batch = crypto.randomUUID();
  const cases = await makeCases(store, {
    model,
    version,
    count,
    half: "teach",
    task: "swapped",
    seed: batch,
  });
  await askCases(store, asked, cases, { kind: "canary", batch, model, version, signal });
}
