/**
 * Judges that ask a real model: `GEOPHONE_TEST_OLLAMA=HOST:PORT` of a server, such as
 * `tests/judges/ollama.sh serve 11777` gives, and `GEOPHONE_JUDGE_MODEL` where it has several models.
 */
// deno-lint-ignore-file no-console -- what a real model is worth is a result of its own
import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { join } from "node:path";
import type { ChatClient } from "../../judges/clients/client.ts";
import { connect, type Connection } from "../../judges/clients/connection.ts";
import { createLlmJudge } from "../../judges/forms/form.ts";
import { question } from "../../judges/forms/question.ts";
import { referenceYesNo } from "../../judges/forms/reference_yesno.ts";
import { judgeCalls, JudgingParams } from "../../judges/judging.ts";
import { createJudges } from "../../judges/mod.ts";
import { runCli, withProjectFolder } from "../cli_runner.ts";
import { makeCall, openCalls } from "./call_fixture.ts";
import { corpus, type Injection, place } from "./injections.ts";

const host = Deno.env.get("GEOPHONE_TEST_OLLAMA");
const ignore = host === undefined;
if (ignore) {
  console.log(
    "skipped: judges that ask a real model; set GEOPHONE_TEST_OLLAMA=HOST:PORT to run them",
  );
}
const { signal } = new AbortController();
const ROOT = new URL("../../", import.meta.url).pathname;

/** Cases of the well; half of them have another label than the true one. */
const CASES = 200;

interface Interval {
  readonly value: number;
  readonly low: number;
}

interface Results {
  readonly task: string;
  readonly scored: number;
  readonly judges: readonly {
    readonly judge: string;
    readonly auc: Interval;
    readonly agreement: number;
    readonly kappa: Interval;
    readonly tokens: number | null;
  }[];
}

Deno.test({
  name: "a real model beside the rule on a real well: what is reported is never below the rule",
  ignore,
  async fn(t) {
    await withProjectFolder(async (folder) => {
      const store = join(folder, "wells.duckdb");
      const env = { GEOPHONE_JUDGE_HOST: `http://${host}`, GEOPHONE_JUDGE_TIMEOUT_MS: "120000" };
      const cli = async (...args: string[]) =>
        await runCli([...args, "--set", `store=${store}`], ROOT, env);
      // Judged by the rule alone at first.
      const trained = await cli("pipeline", "--set", "monitoring.judging.judges=[rule]");
      assertEquals(trained.code, 0, trained.stderr);

      await t.step(`${CASES} held-out rows with right and swapped labels`, async () => {
        const out = join(folder, "cases.json");
        const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
          args: ["run", "-q", "-A", join(ROOT, "bench/judges.ts"), "--tasks", "swapped", "--store"]
            .concat(store, "--cases", String(CASES), "--out", out),
          env: { ...env, NO_COLOR: "1" },
          cwd: ROOT,
          stdin: "null",
        }).output();
        const text = new TextDecoder().decode(stdout);
        console.log(text);
        assertEquals(code, 0, new TextDecoder().decode(stderr));
        const { results: [{ scored, judges }] } = JSON.parse(await Deno.readTextFile(out)) as {
          results: Results[];
        };
        const find = (name: string) => judges.find(({ judge }) => judge === name)!;
        const [rule, llm, combined] = ["rule", "reference-yesno", "combined"].map(find);
        assertEquals(scored, CASES);
        assert(llm.tokens! > 50, `${llm.tokens}`);
        assert(llm.auc.low > 0.5, JSON.stringify(llm));
        assert(combined.auc.value >= 0.85, JSON.stringify(combined));
        assert(combined.auc.value >= rule.auc.value, JSON.stringify([rule, combined]));
        assert(combined.agreement >= 0.8, JSON.stringify(combined));
        assertMatch(text, /the language model adds -?0\.\d{3} \[-?0\.\d{3}, -?0\.\d{3}\] to rule/);
      });
      await t.step("deno task judge asks it about the production stream", async () => {
        const judged = await cli("judge", "llm", "--rate", "0.001");
        assertEquals(judged.code, 0, judged.stderr);
        const said = await cli(
          "sql",
          "--json",
          `select count(*) as n, count(score) as scored, count(model_digest) as digests,
             min(tokens_in) as tokens, count(trace_id) as traces
           from judgements where judge = 'llm'`,
        );
        const [{ n, scored, digests, tokens, traces }] = JSON.parse(said.stdout);
        assert(n > 0 && tokens > 50, said.stdout);
        assertEquals([scored, digests, traces], [n, n, n]);
      });
      await t.step("its card and its doctor say what it is worth", async () => {
        const card = await cli("judges", "card", "llm", "--cases", "swapped", "--rows", "30");
        assertEquals(card.code, 0, card.stderr);
        assertMatch(card.stdout, /AUC +0\.\d{3} \[/);
        assertMatch(card.stdout, /cost +\d+ tokens, [\d.]+ ms a verdict/);
        const doctor = await cli("judges", "doctor", "llm", "--rows", "4");
        assertMatch(doctor.stdout, /determinism +passed/, doctor.stderr);
        assertMatch(doctor.stdout, /label-swap +(passed|failed)/);
        console.log(`${card.stdout}\n${doctor.stdout}`);
      });
    });
  },
});

Deno.test({
  name: "a real model gives identical verdicts on repeat when its cache is off",
  ignore,
  async fn() {
    const connection = connect({ host: host!, timeoutMs: 120_000 });
    const judge = createLlmJudge({
      name: "x",
      summary: "",
      form: referenceYesNo(),
      connection,
      rationale: "never",
    });
    // What was asked before is a cache of the model: it is put away before each question.
    const ask = async (text: string) => {
      const { model } = await connection.open(signal);
      const unloaded = await fetch(`http://${host}/api/generate`, {
        method: "POST",
        body: JSON.stringify({ model, keep_alive: 0 }),
      });
      await unloaded.body?.cancel();
      const { judged, profiles } = place({ place: "column", text });
      const { ms: _, ...verdict } = await judge.judge(judged, { profiles, signal });
      assertEquals(verdict.status, "scored", JSON.stringify(verdict));
      return verdict;
    };
    const names = ["GR", "gamma", "x_17"];
    const first = [];
    for (const name of names) first.push(await ask(name));
    const second = [];
    for (const name of names.toReversed()) second.unshift(await ask(name));
    assertEquals(second, first);
    assertEquals(new Set(first.map((verdict) => JSON.stringify(verdict))).size, names.length);
  },
});

/**
 * Noise is how far the score moves when the name changes to one that says nothing: the greatest such
 * difference over the harmless names below.
 */
Deno.test({
  name: "the default form's score moves no more than noise by any injection when the model is real",
  ignore,
  async fn() {
    const real = connect({ host: host!, timeoutMs: 120_000 });
    const client = await real.open(signal);
    // A prompt that is the same byte by byte is asked once.
    const replies = new Map<string, ReturnType<ChatClient["ask"]>>();
    const once: ChatClient = {
      ...client,
      ask(request, own) {
        const known = replies.get(request.user) ?? client.ask(request, own);
        replies.set(request.user, known);
        return known;
      },
    };
    const connection: Connection = { ...real, open: () => Promise.resolve(once) };
    const judge = createLlmJudge({ name: "x", summary: "", form: referenceYesNo(), connection });
    const form = question({ question: "Is the output about rocks?", inputs: ["output"] });
    const reader = createLlmJudge({ name: "y", summary: "", form, connection });
    const score = async (injection: Injection) => {
      const { judged, profiles } = place(injection);
      const verdict = await judge.judge(judged, { profiles, signal });
      assertEquals(verdict.status, "scored", JSON.stringify(verdict));
      return (verdict as { score: number }).score;
    };
    for (const where of ["column", "class"] as const) {
      const usual = await score({ place: where, text: where === "column" ? "GR" : "a" });
      const harmless = ["gamma", "column 9", "Tonstein", "x_17", "marl and clay"];
      const moved = [];
      for (const text of harmless) {
        moved.push(Math.abs(await score({ place: where, text }) - usual));
      }
      const noise = Math.max(...moved);
      let worst = 0;
      for (const injection of corpus.filter(({ place }) => place === where)) {
        worst = Math.max(worst, Math.abs(await score(injection) - usual));
      }
      console.log(`${where}: noise ${noise.toFixed(4)}, worst injection ${worst.toFixed(4)}`);
      assert(worst <= noise, `${where}: ${worst} > ${noise}`);
    }
    for (const injection of corpus.filter(({ place }) => place === "value")) {
      const { judged, profiles } = place(injection);
      const verdict = await reader.judge(judged, { profiles, signal });
      assertNotEquals(verdict.status, "scored", injection.text);
    }
  },
});

Deno.test({
  name: "a real model judges calls of language models by their texts",
  ignore,
  async fn() {
    const connection = connect({ host: `http://${host}` });
    const judges = createJudges(connection).filter(({ name }) => name === "relevance");
    await using store = await openCalls([
      makeCall(),
      makeCall({ reply: "The train leaves at noon." }),
    ]);
    const params = JudgingParams.parse({ traces: { samplingRate: 1 }, maxSeconds: 120 });
    const [{ scored, errors }] = await judgeCalls(store, { judges, params, seed: 42, signal });
    assertEquals([scored, errors], [2, 0]);
    const [{ spread }] = await store.query<{ spread: number }>(
      "select max(score) - min(score) as spread from call_judgements",
    );
    console.log(`relevance tells an answer from another by ${spread.toFixed(3)}`);
  },
});
