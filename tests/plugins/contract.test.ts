/** Every built-in plugin passes its kind's suite; trainers have theirs in `trainers/`. */
import { assertEquals } from "@std/assert";
import { connect } from "../../judges/clients/connection.ts";
import { createJudges } from "../../judges/mod.ts";
import { loadPlugins } from "../../plugins/mod.ts";
import { Plugins } from "../../plugins/plugin.ts";
import type { Store } from "../../runtime/store/store.ts";
import { quoteLiteral } from "../../runtime/store/sql.ts";
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
import { openSmtpServer } from "./sinks/smtp_server.ts";

// A server that may run on this machine is no part of the tests.
const nobody = connect({ host: "http://127.0.0.1:1" }, { attempts: 1 });
const plugins = new Plugins([...await loadPlugins(), ...createJudges(nobody)]);

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
const receivers: Readonly<Record<string, () => Receiver | Promise<Receiver>>> = {
  log: openStderr,
  file: openFile,
  webhook: () => openHttp("GEOPHONE_WEBHOOK_URL"),
  slack: () => openHttp("GEOPHONE_SLACK_URL"),
  email: openMailbox,
  alertmanager: () => openHttp("GEOPHONE_ALERTMANAGER_URL"),
};

function openHttp(variable: string): Receiver {
  const receiver = openReceiver();
  Deno.env.set(variable, receiver.url);
  return {
    ...receiver,
    // Slack's escapes of & and < are what it undoes when it shows them.
    text: () => receiver.text().replaceAll("&lt;", "<").replaceAll("&amp;", "&"),
    async [Symbol.asyncDispose]() {
      Deno.env.delete(variable);
      await receiver[Symbol.asyncDispose]();
    },
  };
}

function openMailbox(): Receiver {
  let isBroken = false;
  const server = openSmtpServer((command) => isBroken && command === "RCPT" ? "550 no" : undefined);
  Deno.env.set("GEOPHONE_SMTP_URL", server.url);
  return {
    params: { to: ["team@example.com"] },
    text: () => server.mails.map(({ text }) => text).join(""),
    fail: () => isBroken = true,
    async [Symbol.asyncDispose]() {
      Deno.env.delete("GEOPHONE_SMTP_URL");
      await server[Symbol.asyncDispose]();
    },
  };
}

async function openFile(): Promise<Receiver> {
  const dir = await Deno.makeTempDir();
  return { ...watchFile(`${dir}/a folder/alerts.ndjson`), [Symbol.asyncDispose]: close };

  function close(): Promise<void> {
    return Deno.remove(dir, { recursive: true });
  }
}

/** A file that is read, or in whose place a folder stands. */
function watchFile(path: string): Pick<Receiver, "params" | "text" | "fail"> {
  return {
    params: { path },
    text() {
      try {
        return Deno.readTextFileSync(path);
      } catch (error) {
        if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.IsADirectory) {
          return "";
        }
        throw error;
      }
    },
    fail: () => Deno.mkdirSync(path, { recursive: true }),
  };
}

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

/** What drift methods do not look at; all others see every change. */
const blindSpots: Readonly<Record<string, readonly ("scale" | "collapse")[]>> = {
  t_test: ["scale", "collapse"],
  mannw: ["scale", "collapse"],
  z: ["scale"],
  fisher_exact: ["scale"],
};

for (const source of plugins.list("source")) testSource(source, samples[source.name]);
for (const drift of plugins.list("drift")) {
  testDrift(drift, { blindTo: blindSpots[drift.name] ?? [] });
}
for (const alert of plugins.list("alert")) testAlert(alert);
for (const sink of plugins.list("sink")) testSink(sink, receivers[sink.name]);
for (const judge of plugins.list("judge")) {
  // That nothing was measured is what a triage of data is about.
  testJudge(judge, { judgesAbsence: judge.name === "triage" });
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
