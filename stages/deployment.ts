/** Deployment: the version answers its golden batch, then an alias moves to it atomically. */
import { z } from "zod";
import { checkGolden } from "../runtime/registry/golden.ts";
import { currentVersion, loadModel, setAlias } from "../runtime/registry/model_registry.ts";
import { Predictor } from "../runtime/predict/predictor.ts";
import { defineStage } from "../runtime/stage.ts";
import type { Registered } from "./registry.ts";

const Params = z.strictObject({
  alias: z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/).default("challenger")
    .describe("alias that moves to the new version; release moves production"),
});

/** A version that an alias serves. */
export interface Deployment {
  readonly registered: Registered;
  readonly alias: string;
  /** Version the alias served before, or `null`. */
  readonly previous: number | null;
}

/** Moves the alias. A running server loads, warms and swaps without dropping a request. */
export const deployment = defineStage<Registered, Deployment, z.infer<typeof Params>>({
  name: "deployment",
  summary: "golden batch checked, then the alias moves",
  module: import.meta.url,
  params: Params,
  async run(registered, { alias }, { store, runId }) {
    const bytes = await loadModel(store, registered);
    const predictor = await Predictor.open(bytes);
    try {
      await checkGolden(store, predictor, {
        golden: registered.golden,
        name: `${registered.model} ${registered.version}`,
      });
    } finally {
      await predictor.close();
    }
    const previous = await currentVersion(store, registered.model, alias);
    await setAlias(store, {
      model: registered.model,
      alias,
      version: registered.version,
      reason: `deployed by run ${runId}`,
    });
    return { registered, alias, previous };
  },
  describe: ({ registered, alias, previous }) =>
    `${registered.model}@${alias} is version ${registered.version}` +
    (previous === null || previous === registered.version ? "" : `, was ${previous}`),
  async isCurrent({ registered, alias }, _params, { store }) {
    return await currentVersion(store, registered.model, alias) === registered.version;
  },
});
