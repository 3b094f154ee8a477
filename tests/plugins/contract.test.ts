/** Every built-in plugin passes its kind's suite; trainers have theirs in `trainers/`. */
import { assertEquals } from "@std/assert";
import { judges } from "../../judges/mod.ts";
import { createOllamaJudge } from "../../judges/ollama.ts";
import { loadPlugins } from "../../plugins/mod.ts";
import { Plugins } from "../../plugins/plugin.ts";
import type { Store } from "../../runtime/store.ts";
import { quoteLiteral } from "../../runtime/sql.ts";
import {
  type Receiver,
  sampleRows,
  testAlert,
  testDrift,
  testJudge,
  testSink,
  testSource,
} from "../contract.ts";
import { openReceiver } from "./sinks/receiver.ts";

const plugins = new Plugins([...await loadPlugins(), ...judges]);

/** How a file of the sample rows comes to be, by source. A new source is one line here. */
const samples: Readonly<Record<string, (path: string, store: Store) => Promise<unknown>>> = {
  las: (path) => Deno.writeTextFile(path, toLas()),
  csv: (path) =>
    Deno.writeTextFile(
      path,
      ["depth,gr", ...sampleRows.map(({ depth, gr }) => `${depth},${gr ?? ""}`)].join("\n"),
    ),
  json: (path) => Deno.writeTextFile(path, JSON.stringify(sampleRows)),
  parquet: (path, store) =>
    store.query(
      `copy (select * from (values ${
        sampleRows.map(({ depth, gr }) => `(${depth}::double, ${gr ?? "null"}::double)`).join(", ")
      }) t(depth, gr)) to ${quoteLiteral(path)} (format parquet)`,
    ),
};

function toLas(): string {
  return [
    "~Version",
    "VERS. 2.0 :",
    "WRAP. NO :",
    "~Well",
    "STRT.m 100 :",
    "STOP.m 101 :",
    "STEP.m 0.5 :",
    "NULL. -999.25 :",
    "WELL. SAMPLE :",
    "~Curve",
    "depth.m :",
    "gr.gAPI :",
    "~ASCII",
    ...sampleRows.map(({ depth, gr }) => `${depth} ${gr ?? -999.25}`),
    "",
  ].join("\n");
}

/** What stands at the far end of a sink. A new sink is one line here. */
const receivers: Readonly<Record<string, () => Receiver>> = {
  log: openStderr,
  webhook() {
    const receiver = openReceiver();
    Deno.env.set("GEOPHONE_WEBHOOK_URL", receiver.url);
    return {
      ...receiver,
      async [Symbol.asyncDispose]() {
        Deno.env.delete("GEOPHONE_WEBHOOK_URL");
        await receiver[Symbol.asyncDispose]();
      },
    };
  },
};

function openStderr(): Receiver {
  const { writeSync } = Deno.stderr;
  let text = "";
  let isBroken = false;
  Deno.stderr.writeSync = (bytes) => {
    if (isBroken) throw new Deno.errors.BrokenPipe("Broken pipe");
    // A pipe takes what it has room for.
    const taken = bytes.subarray(0, 7);
    text += String.fromCharCode(...taken);
    return taken.length;
  };
  return {
    text: () => new TextDecoder().decode(Uint8Array.from(text, (c) => c.charCodeAt(0))),
    fail: () => isBroken = true,
    [Symbol.asyncDispose]() {
      Deno.stderr.writeSync = writeSync;
      return Promise.resolve();
    },
  };
}

for (const source of plugins.list("source")) testSource(source, samples[source.name]);
for (const drift of plugins.list("drift")) testDrift(drift);
for (const alert of plugins.list("alert")) testAlert(alert);
for (const sink of plugins.list("sink")) testSink(sink, receivers[sink.name]);
for (const judge of plugins.list("judge")) {
  // A server that may run on this machine is no part of the tests.
  testJudge(judge.name === "ollama" ? createOllamaJudge({ host: "http://127.0.0.1:1" }) : judge);
}

Deno.test("loadPlugins() gives every built-in plugin a summary and the samples above fit them", () => {
  for (const kind of ["source", "trainer", "drift", "alert", "sink", "judge"] as const) {
    for (const { name, summary } of plugins.list(kind)) {
      assertEquals([name.length > 0, summary.length > 0], [true, true], `${kind} ${name}`);
    }
  }
  const names = (kind: "source" | "sink") => plugins.list(kind).map(({ name }) => name).sort();
  assertEquals(names("source"), Object.keys(samples).sort());
  assertEquals(names("sink"), Object.keys(receivers).sort());
});
