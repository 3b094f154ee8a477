/** Judges a store in a process of its own: `judging_process.ts STORE`. Says `judging` when it begins. */
// deno-lint-ignore-file no-console
import { judgeSample, JudgingParams } from "../../judges/judging.ts";
import { openStore } from "../../runtime/store/store.ts";
import { makeJudge } from "./held_out.ts";

const [path] = Deno.args;
await using store = await openStore(path, { create: false, publish: false });
let isSaid = false;
const judge = makeJudge(async ({ row }) => {
  if (!isSaid) console.log("judging");
  isSaid = true;
  if (row % 8 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  return { status: "scored", score: (row % 100) / 100 };
});
const [{ left }] = await judgeSample(store, {
  judges: [judge],
  model: "rocks",
  version: 1,
  params: JudgingParams.parse({ samplingRate: 0.8, maxRows: 1e6, canaries: 0 }),
  seed: 42,
  signal: new AbortController().signal,
});
console.log(`left ${left}`);
