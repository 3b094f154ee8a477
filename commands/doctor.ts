/** `deno task doctor`. */
import type { Arguments } from "./arguments.ts";
import { judges } from "../judges/mod.ts";
import { openPlugins, sections } from "../run.ts";
import { type Config, loadConfig } from "../runtime/config.ts";
import { describeError } from "../runtime/errors.ts";
import { currentVersion, loadModel, resolveVersion } from "../runtime/model_registry.ts";
import { Predictor } from "../runtime/predictor.ts";
import { openStore } from "../runtime/store.ts";
import { formatTable, print } from "../runtime/terminal.ts";
import { projectOptions } from "./options.ts";

/** Outcome of one look: `note` is something to know that stops nothing. */
interface Check {
  readonly check: string;
  readonly state: "ok" | "note" | "FAIL";
  readonly detail: string;
}

/** The Deno this was tested with. */
const TESTED_DENO = "2.9.6";

/** Looks at everything a run needs; 1 when something would fail. */
export async function run(args: Arguments): Promise<number> {
  const results: Check[] = [];
  const look = async (check: string, action: () => Promise<Omit<Check, "check">>) => {
    try {
      results.push({ check, ...await action() });
    } catch (error) {
      results.push({ check, state: "FAIL", detail: describeError(error) });
    }
  };
  let config: Config | undefined;
  await look("deno", () =>
    Promise.resolve({
      state: Deno.version.deno === TESTED_DENO ? "ok" : "note",
      detail: `${Deno.version.deno} on ${Deno.build.target}, tested with ${TESTED_DENO}`,
    }));
  await look("onnxruntime", async () => {
    const { env } = await import("onnxruntime-node");
    return { state: "ok", detail: `onnxruntime-node ${env.versions.node ?? env.versions.common}` };
  });
  await look("config", async () => {
    config = await loadConfig(sections, projectOptions(args));
    return { state: "ok", detail: `${config.name}, environment ${config.environment}` };
  });
  await look("plugins", async () => {
    const plugins = await openPlugins(config?.plugins);
    const counts = (["source", "trainer", "drift", "alert", "sink", "judge"] as const)
      .map((kind) => `${plugins.list(kind).length} ${kind}`);
    return { state: "ok", detail: counts.join(", ") };
  });
  if (config) await lookAtStore(config, look);
  for (const judge of judges) {
    await look(`judge ${judge.name}`, async () => {
      const { ready, detail } = await judge.probe(args.signal);
      return { state: ready ? "ok" : "note", detail };
    });
  }
  if (args.options.json === true) print(JSON.stringify(results));
  else {
    print(formatTable(
      ["check", "state", "detail"],
      results.map(({ check, state, detail }) => [check, state, detail]),
    ));
  }
  return results.some(({ state }) => state === "FAIL") ? 1 : 0;
}

async function lookAtStore(
  config: Config,
  look: (check: string, action: () => Promise<Omit<Check, "check">>) => Promise<void>,
): Promise<void> {
  const isThere = await Deno.stat(config.store).then(() => true, () => false);
  if (!isThere) {
    return await look("store", () =>
      Promise.resolve({
        state: "note",
        detail: `${config.store} is not there yet: run "deno task pipeline"`,
      }));
  }
  await look("store", async () => {
    await using store = await openStore(config.store, { publish: false });
    const [{ version }] = await store.query("select version() as version");
    const [{ requests }] = await store.query("select count(*) as requests from requests");
    return {
      state: "ok",
      detail: `DuckDB ${version}, ${requests} requests logged, ${
        store.isOwner ? "free" : "held by a running process that shares it"
      }`,
    };
  });
  await look("model", async () => {
    await using store = await openStore(config.store, { publish: false });
    if (await currentVersion(store, config.name, "production") === null) {
      return { state: "note", detail: "none is in production: run the pipeline" };
    }
    const version = await resolveVersion(store, config.name, "production");
    const predictor = await Predictor.open(await loadModel(store, version));
    await predictor.close();
    return {
      state: "ok",
      detail: `${config.name} version ${version.version}, bytes match its hash`,
    };
  });
}
