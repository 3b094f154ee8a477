import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect } from "../../judges/clients/connection.ts";
import { openAsking } from "../../judges/asking.ts";
import { JudgingParams } from "../../judges/judging.ts";
import { openPromptJudge } from "../../judges/registry/judges.ts";
import { registerPrompt, resolvePrompt, setPromptAlias } from "../../judges/registry/registry.ts";
import { verifyAudit } from "../../runtime/audit.ts";
import { UsageError } from "../../runtime/errors.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { makeJudgeCase } from "../contract.ts";
import { makeReply, serveFault } from "./fault_server.ts";
import { about, openHeldOut, signal } from "./held_out.ts";

const connection = connect({ host: "http://127.0.0.1:1" }, { attempts: 1 });
const ask = (question: string) => `---\ninputs: [output]\n---\n${question}\n`;

async function register(store: Store, question: string) {
  const options = { text: ask(question), file: "polite.md", message: "m", by: "ada" };
  return await registerPrompt(store, options, connection);
}

Deno.test("registerPrompt() numbers texts, and gives a text that is there the version it has", async () => {
  await using store = await openStore(":memory:");
  const versions = [];
  for (const question of ["Is it polite?", "Is it kind?", "Is it polite?"]) {
    const { name, version, isNew } = await register(store, question);
    versions.push([name, version, isNew]);
  }
  assertEquals(versions, [["polite", 1, true], ["polite", 2, true], ["polite", 1, false]]);
  const rows = await store.query("select subject, action, actor from audit order by number");
  assertEquals(rows, [
    { subject: "polite/1", action: "judge_prompt.created", actor: "ada" },
    { subject: "polite/2", action: "judge_prompt.created", actor: "ada" },
  ]);
  assertEquals((await verifyAudit(store)).firstBroken, null);
});

Deno.test("registerPrompt() of one text at the same time twice keeps it once", async () => {
  await using store = await openStore(":memory:");
  const both = await Promise.all([register(store, "Is it kind?"), register(store, "Is it kind?")]);
  assertEquals(both.map(({ version }) => version), [1, 1]);
  const [{ rows, entries }] = await store.query(
    "select (select count(*) from judge_prompts) as rows, (select count(*) from audit) as entries",
  );
  assertEquals([rows, entries], [1, 1]);
});

Deno.test("registerPrompt() keeps no text that is no judge", async () => {
  await using store = await openStore(":memory:");
  await assertRejects(
    () =>
      registerPrompt(
        store,
        { text: "Is it polite?", file: "polite.md", by: null },
        connection,
      ),
    UsageError,
    'Cannot load judge "polite.md": it does not begin with a header',
  );
  await assertRejects(
    () =>
      registerPrompt(store, { text: ask("Is it?"), file: "höflich 2.md", by: null }, connection),
    UsageError,
    'Cannot register prompt "höflich 2": ',
  );
  assertEquals(await store.query("from judge_prompts"), []);
});

Deno.test("setPromptAlias() moves an alias and records each move once", async () => {
  await using store = await openStore(":memory:");
  await register(store, "Is it polite?");
  await register(store, "Is it kind?");
  const move = (reference: string) =>
    setPromptAlias(store, { reference, alias: "production", by: "ada" });
  await move("polite/1");
  await move("polite/1");
  assertEquals((await resolvePrompt(store, "polite@production")).version, 1);
  assertEquals((await resolvePrompt(store, "polite")).version, 2);
  await move("polite");
  assertEquals((await resolvePrompt(store, "polite@production")).text, ask("Is it kind?"));
  const rows = await store.query("select aliases from judge_prompts order by version");
  assertEquals(rows.map(({ aliases }) => aliases), [null, ["production"]]);
  const moves = await store.query(
    `select details->>'version' as version from audit
     where action = 'judge_prompt_alias.created' order by number`,
  );
  assertEquals(moves, [{ version: "1" }, { version: "2" }]);
  await assertRejects(
    () => setPromptAlias(store, { reference: "polite", alias: "2", by: null }),
    UsageError,
    'Cannot set alias "2"',
  );
});

Deno.test("resolvePrompt() says which prompts, versions and aliases there are", async () => {
  await using store = await openStore(":memory:");
  const fails = async (reference: string, reason: string) => {
    const error = await assertRejects(() => resolvePrompt(store, reference), UsageError);
    assert(error.message.startsWith(`Cannot find prompt "${reference}": `), error.message);
    assert(error.message.includes(reason), error.message);
  };
  await fails("polite", "there are none");
  await register(store, "Is it polite?");
  await setPromptAlias(store, { reference: "polite", alias: "staging", by: null });
  await fails("polit", 'did you mean "polite"');
  await fails("polite/2", "it has the versions 1 @staging");
  await fails("polite@production", "it has the versions 1 @staging");
  await fails("polite:1", "NAME@ALIAS");
  await fails("", "NAME@ALIAS");
});

Deno.test("a judge of the registry follows its alias with its next probe, under another version", async () => {
  await using server = serveFault(
    "openai",
    () => Response.json(makeReply("openai", { shares: { Yes: 0.9, No: 0.1 } })),
  );
  const real = connect({ host: server.host });
  await using store = await openHeldOut({ rows: 60 });
  for (const question of ["Is it polite?", "Is it kind?"]) await register(store, question);
  const move = (reference: string) =>
    setPromptAlias(store, { reference, alias: "production", by: null });
  await move("polite/1");
  const judge = await openPromptJudge(store, "prompts:/polite@production", real);
  const params = JudgingParams.parse({});
  const open = await openAsking(store, [judge], { ...about, params, signal });
  const { inference, profiles } = makeJudgeCase({ texts: { output: "Thank you." } });
  const seen: string[][] = [];
  for (const reference of ["polite/1", "polite/2"]) {
    await move(reference);
    const { detail } = await judge.probe(signal);
    const { judgeVersion } = await open(judge);
    assertEquals((await judge.judge(inference, { profiles, signal })).status, "scored");
    seen.push([detail.split(", ").at(-1)!, judgeVersion]);
  }
  assertEquals(seen.map(([detail]) => detail), ["prompt polite/1", "prompt polite/2"]);
  const rows = await store.query<{ judge_version: string; definition: string }>(
    "select judge, judge_version, prompt, definition from judge_versions order by prompt",
  );
  assertEquals(rows.map(({ judge_version }) => judge_version), seen.map(([, version]) => version));
  assertEquals(
    rows.map(({ definition }) => JSON.parse(definition).options.question),
    ["Is it polite?", "Is it kind?"],
  );
  const asked = server.asked as { messages: { content: string }[] }[];
  assert(asked.at(-1)!.messages[1].content.includes("Is it kind?"));
});
