import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { connect } from "../../judges/clients/connection.ts";
import { loadJudges, parseJudge } from "../../judges/markdown.ts";
import { openPlugins } from "../../run.ts";
import { UsageError } from "../../runtime/errors.ts";
import { makeJudgeCase } from "../contract.ts";
import { makeReply, serveFault } from "./fault_server.ts";

const nobody = connect({ host: "http://127.0.0.1:1" }, { attempts: 1 });
const POLITE = "---\nform: question\ninputs: [output]\n---\nIs the output polite?\n";

Deno.test("parseJudge() makes a judge that asks the file's question over its inputs", async () => {
  await using server = serveFault(
    "openai",
    () => Response.json(makeReply("openai", { shares: { Yes: 0.9, No: 0.1 } })),
  );
  const judge = parseJudge(POLITE, "/x/polite.md", connect({ host: server.host }));
  const { inference, profiles } = makeJudgeCase({ texts: { output: "Thank you." } });
  const { signal } = new AbortController();
  const verdict = await judge.judge(inference, { profiles, signal });
  assertEquals([judge.name, verdict.status], ["polite", "scored"]);
  const [{ messages }] = server.asked as { messages: { content: string }[] }[];
  assertEquals(
    messages[1].content,
    "<output>\n| Thank you.\n</output>\nIs the output polite? Answer Yes or No.",
  );
});

Deno.test("parseJudge() gives another version when the text, the header or the model changes", () => {
  const version = (text: string) => parseJudge(text, "a.md", nobody).version;
  const versions = [
    POLITE,
    POLITE.replace("polite", "kind"),
    POLITE.replace("form: question", "form: question\nseed: 2"),
    POLITE.replace("form: question", "form: question\nmodel: big"),
    POLITE.replace("form: question", "form: guidelines").replace("Is", "- Is"),
    POLITE.replace("form: question", "form: labels\nlabels: { good: 1, bad: 0 }"),
    POLITE.replace("form: question", "form: rubric-json\nschema: { is_short: boolean }"),
    POLITE.replace("form: question", "form: pairwise\ncandidates: [output, other]"),
    "---\nform: classify\n---\n",
    "---\nform: reference-yesno\n---\nDo the values fit?",
  ].map(version);
  assertEquals(new Set(versions).size, versions.length);
  assertEquals(version(POLITE), versions[0]);
});

Deno.test("parseJudge() names the file and what is wrong with it", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["Is it polite?", "header between lines of ---"],
    ["---\nform: essay\n---\nx", "form"],
    ["---\nfrom: question\n---\nx", "from"],
    ["---\nform: question\n---\n", "no text below"],
    ["---\nform: question\ninputs: ['a b']\n---\nx", "inputs"],
    ["---\nform: question\nlabels: { a: 1, b: 0 }\n---\nx", "belongs to form labels"],
    ["---\nform: guidelines\n---\nno list", "there is no rule"],
    ["---\nform: labels\n---\nx", "labels"],
    ["---\n: [\n---\nx", "Cannot load judge"],
  ];
  for (const [text, reason] of cases) {
    const error = assertThrows(() => parseJudge(text, "bad.md", nobody), UsageError);
    assert(error.message.startsWith('Cannot load judge "bad.md": '), error.message);
    assert(error.message.includes(reason), error.message);
  }
});

Deno.test("openPlugins() loads files, folders and modules, and says which file is missing", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${dir}/judges`);
    await Deno.writeTextFile(`${dir}/judges/b.md`, POLITE);
    await Deno.writeTextFile(`${dir}/judges/a.md`, POLITE);
    await Deno.writeTextFile(`${dir}/judges/notes.txt`, "no judge");
    await Deno.writeTextFile(`${dir}/c.md`, POLITE);
    const judges = await loadJudges(["./judges/", "c.md"], nobody, dir);
    assertEquals(judges.map(({ name }) => name), ["a", "b", "c"]);
    await Deno.writeTextFile(
      `${dir}/d.ts`,
      `export default { kind: "judge", name: "d", summary: "", version: "1" };`,
    );
    const plugins = await openPlugins(["./judges/", "./d.ts"], [], dir);
    for (const name of ["a", "b", "d", "rule", "llm"]) {
      assertEquals(plugins.get("judge", name).name, name);
    }
    await assertRejects(() => loadJudges(["none.md"], nobody, dir), UsageError, '"none.md"');
    await assertRejects(() => openPlugins(["./c.md", "./c.md"], [], dir), UsageError, "taken");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
