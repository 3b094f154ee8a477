/** `deno task doctor`. */
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import type { Arguments } from "./arguments.ts";
import { judges } from "../judges/mod.ts";
import { openPlugins, sections } from "../run.ts";
import { type Config, loadConfig } from "../runtime/config.ts";
import { describeError } from "../runtime/errors.ts";
import { describeRecovery, listJournals } from "../runtime/store/journal_recovery.ts";
import { currentVersion, loadModel, resolveVersion } from "../runtime/registry/model_registry.ts";
import { Predictor } from "../runtime/predict/predictor.ts";
import { openStore } from "../runtime/store/store.ts";
import { walPath } from "../runtime/store/store_file.ts";
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
  const look: Look = async (check, action) => {
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

type Look = (check: string, action: () => Promise<Omit<Check, "check">>) => Promise<void>;

/** Less than this is soon full: the log before a checkpoint alone may take a tenth of it. */
const LOW_DISK_BYTES = 2 ** 30;

/** Looks at the disk and the files beside the store before that is opened, which changes them. */
async function lookAtFiles(path: string, look: Look): Promise<void> {
  await look("disk", async () => {
    const { bavail, bsize } = await statfs(dirname(path));
    const free = bavail * bsize;
    const wal = await Deno.stat(walPath(path)).then(({ size }) => size, () => 0);
    return {
      state: free < LOW_DISK_BYTES ? "note" : "ok",
      detail: `${mebibytes(free)} free, write-ahead log ${mebibytes(wal)}`,
    };
  });
  await look("journals", async () => {
    const files = await listJournals(path);
    return {
      state: files.some(({ state }) => state !== "in use") ? "note" : "ok",
      detail: files.map(({ name, bytes, state }) => `${name} (${state}, ${mebibytes(bytes)})`)
        .join(", ") || "none is left behind",
    };
  });
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

async function lookAtStore(config: Config, look: Look): Promise<void> {
  const isThere = await Deno.stat(config.store).then(() => true, () => false);
  if (!isThere) {
    return await look("store", () =>
      Promise.resolve({
        state: "note",
        detail: `${config.store} is not there yet: run "deno task pipeline"`,
      }));
  }
  await lookAtFiles(config.store, look);
  await look("store", async () => {
    await using store = await openStore(config.store, { publish: false });
    const recovered = store.recoveries.map(describeRecovery);
    const [{ version }] = await store.query("select version() as version");
    const [{ requests }] = await store.query("select count(*) as requests from requests");
    return {
      state: recovered.length === 0 ? "ok" : "note",
      detail: [
        `DuckDB ${version}, ${requests} requests logged, ${
          store.isOwner ? "free" : "held by a running process that shares it"
        }`,
        ...recovered,
      ].join("; "),
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
