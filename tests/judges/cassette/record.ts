/**
 * Records what a real model answers about rows of the training well, for tests/judges/cassette.test.ts:
 * `deno run -A tests/judges/cassette/record.ts`, after `deno task pipeline` and with a server where
 * judges look for one. To be done anew when the wording of the default form changes.
 *
 * The rows are of P-129 (data/README.md, Apache-2.0); Qwen2.5-Coder-0.5B-Instruct, Q4_K_M (Apache-2.0),
 * answered.
 */
import { makeCases } from "../../../judges/cases/cases.ts";
import { recordClient, writeCassette } from "../../../judges/clients/replay.ts";
import { createLlmJudge } from "../../../judges/forms/form.ts";
import { referenceYesNo } from "../../../judges/forms/reference_yesno.ts";
import { connection } from "../../../judges/mod.ts";
import { readProfiles } from "../../../judges/rows.ts";
import { resolveVersion } from "../../../runtime/registry/model_registry.ts";
import { openStore } from "../../../runtime/store/store.ts";

const [path = ".geophone/dev.duckdb", model = "wells"] = Deno.args;
await using store = await openStore(path, { publish: false });
const version = await resolveVersion(store, model, "production");
const profiles = await readProfiles(store, version);
const found = await makeCases(store, { ...version, count: 40, half: "measure", task: "swapped" });

const { signal } = new AbortController();
const recording = recordClient(await connection.open(signal));
const judge = createLlmJudge({
  name: "llm",
  summary: "",
  form: referenceYesNo(),
  connection: { ...connection, open: () => Promise.resolve(recording) },
  rationale: "never",
});
const cases = [];
for (const { inference, isGood } of found) {
  const verdict = await judge.judge(inference, { profiles, signal });
  if (verdict.status !== "scored") throw new Error(JSON.stringify(verdict));
  const { label, features } = inference;
  cases.push({ isGood, score: verdict.score, label, features });
}
const write = (name: string) => new URL(name, import.meta.url).pathname;
const { server: _, ...cassette } = recording.cassette();
await writeCassette(write("./replies.json"), { server: "recorded", ...cassette });
const lines = cases.map((each) => `    ${JSON.stringify(each)}`);
await Deno.writeTextFile(
  write("./cases.json"),
  `{\n  "profiles": ${JSON.stringify(profiles)},\n  "cases": [\n${lines.join(",\n")}\n  ]\n}\n`,
);
