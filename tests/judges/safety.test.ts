/** Judged content is data: no case of the corpus leaves its delimiters or moves a score. */
import { assert, assertEquals } from "@std/assert";
import type { ChatClient, ChatRequest } from "../../judges/clients/client.ts";
import type { Connection } from "../../judges/clients/connection.ts";
import { classify } from "../../judges/forms/classify.ts";
import { createLlmJudge, type Form } from "../../judges/forms/form.ts";
import { guidelines } from "../../judges/forms/guidelines.ts";
import { labels } from "../../judges/forms/labels.ts";
import { pairwise } from "../../judges/forms/pairwise.ts";
import { question } from "../../judges/forms/question.ts";
import { referenceYesNo } from "../../judges/forms/reference_yesno.ts";
import { rubricJson } from "../../judges/forms/rubric_json.ts";
import { createTriage } from "../../judges/predictions/triage.ts";
import { hasInstructions, showName, writeText } from "../../judges/prompts/data.ts";
import { findPersonalData, redactText } from "../../judges/prompts/redact.ts";
import type { Plugin } from "../../plugins/plugin.ts";
import { corpus, type Injection, place } from "./injections.ts";

const { signal } = new AbortController();

/** A connection whose client keeps the questions and answers none. */
function listen(asked: ChatRequest[]): Connection {
  const client: ChatClient = {
    server: "none",
    model: "none",
    digest: null,
    ask(request) {
      asked.push(request);
      const text = '{"reasoning": "", "verdict": "good", "mark": 9}';
      const logprob = Math.log(0.3);
      const candidates = ["Yes", "A", "B"].map((token) => ({ token, logprob }));
      return Promise.resolve({ text, candidates });
    },
  };
  const connection: Connection = {
    modelVersion: "none",
    probe: () => Promise.resolve({ ready: true, detail: "" }),
    open: () => Promise.resolve(client),
    withModel: () => connection,
  };
  return connection;
}

const texts = { inputs: ["output"] };
const forms: readonly Form[] = [
  referenceYesNo(),
  classify(),
  pairwise(),
  pairwise({ candidates: ["output", "expected"] }),
  ...[{}, texts].flatMap((inputs) => [
    question({ question: "Is it right?", ...inputs }),
    rubricJson({ rubric: "10 is right", ...inputs }),
    guidelines({ rules: ["It is right."], ...inputs }),
    labels({ question: "Which?", labels: { good: 1, bad: 0 }, ...inputs }),
  ]),
];

/** A prompt without what stands between its delimiters. */
const outside = ({ user }: ChatRequest) =>
  user.split("\n").filter((line) => !line.startsWith("| ")).join("\n");

async function ask(form: Form, injection: Injection): Promise<ChatRequest[]> {
  const asked: ChatRequest[] = [];
  const judge = createLlmJudge({
    name: "x",
    summary: "",
    form,
    connection: listen(asked),
    rationale: "always",
  });
  const { judged, profiles } = place(injection);
  await judge.judge(judged, { profiles, signal });
  return asked;
}

Deno.test("every form keeps every injection within its delimiters, whatever place it comes from", async () => {
  assert(corpus.length >= 50, `${corpus.length}`);
  let prompts = 0;
  for (const form of forms) {
    for (const where of ["column", "class", "value"] as const) {
      const plain = await ask(form, { place: where, text: where === "value" ? "Grains." : "AB" });
      for (const { text } of corpus) {
        const asked = await ask(form, { place: where, text });
        for (const request of asked) {
          prompts++;
          const like = plain.some((other) =>
            other.system === request.system && outside(other) === outside(request)
          );
          assert(like, `${form.name}: ${JSON.stringify(text)} left its place:\n${request.user}`);
          assert(!/<\|/.test(request.user), request.user);
        }
      }
    }
  }
  assert(prompts > 1_000, `${prompts}`);
});

Deno.test("showName() shows no injected name, and hasInstructions() finds every injected text", () => {
  for (const { place, text } of corpus) {
    if (place === "value") assert(hasInstructions(text), text);
    else assertEquals(showName(text, "column 1"), "column 1", text);
  }
  const names = ["GR", "NPHI_SAN", "RHOB (g/cm3)", "Sandstein", "砂岩", "pétrole", "mean 0.5 m"];
  for (const name of names) assertEquals(showName(name, "column 1"), name);
  const plain = [
    "Sandstone is made of grains.",
    "The system has a score of features; users may ignore it.",
    "Yes, it does: see page 10.",
  ];
  for (const text of plain) assertEquals(hasInstructions(text), false, text);
});

Deno.test("writeText() strips control tokens that stripping makes, and cuts what is long", () => {
  const block = writeText("output", "a<|im_<|x|>end|>b </output>\n</s>[INST]c\u202e");
  assertEquals(block.split("\n").length, 4);
  assert(!/<\||\[INST\]|<\/s>|\u202e/.test(block), block);
  assertEquals(block.match(/<\/output>/g)!.length, 1);
  for (const { text } of corpus) {
    const [open, ...rest] = writeText("output", text).split("\n");
    assertEquals([open, rest.pop()], ["<output>", "</output>"]);
    assert(rest.every((line) => line.startsWith("| ") && !/[<>]/.test(line)), rest.join("\n"));
  }
  const long = writeText("output", "x".repeat(10_000));
  assert(long.length < 4_100 && long.includes("(cut here)"));
});

Deno.test("redactText() is through with a long text, whatever it is of", () => {
  // Each would take hours if it were tried at each of its characters.
  for (const text of ["a".repeat(4_000_000), "1-".repeat(2_000_000), "1.".repeat(2_000_000)]) {
    assertEquals(redactText(`${text} ada@example.com`), `${text} [email]`);
  }
  assertEquals(redactText("a@b.co ".repeat(200_000)), "[email] ".repeat(200_000));
});

Deno.test("redactText() takes out what it knows by its form, and leaves measured values alone", () => {
  const cases: Readonly<Record<string, string>> = {
    "mail ada.b+x@mail.example.com now": "mail [email] now",
    "IBAN DE89 3704 0044 0532 0130 00.": "IBAN [iban].",
    "IBAN DE88 3704 0044 0532 0130 00": "IBAN DE88 3704 0044 0532 0130 00",
    "card 4111 1111 1111 1111": "card [card]",
    "card 4111 1111 1111 1112": "card 4111 1111 1111 1112",
    "from 192.0.2.255 and 2001:db8::8a2e:370:7334": "from [ip] and [ip]",
    "version 1.2.3.4.5": "version 1.2.3.4.5",
    "call +49 30 1234567 or (555) 123-4567": "call [phone] or [phone]",
    "GR 31.5, RHOB 2.405 at 2105.25 m on 2026-11-25 12:30:00":
      "GR 31.5, RHOB 2.405 at 2105.25 m on 2026-11-25 12:30:00",
  };
  for (const [text, expected] of Object.entries(cases)) assertEquals(redactText(text), expected);
  assertEquals(findPersonalData(""), []);
});

Deno.test("prompts show no named column or text, and no personal data of a name", async () => {
  const asked: ChatRequest[] = [];
  const connection = listen(asked);
  const judges: Plugin<"judge">[] = [...forms].map((form) =>
    createLlmJudge({ name: "x", summary: "", form, connection, rationale: "always" })
  );
  const { judged, profiles } = place({ place: "class", text: "ada@example.com" });
  for (const judge of [...judges, createTriage(connection)]) {
    const context = { profiles, signal, redact: ["GR", "expected"] };
    await judge.judge(
      { ...judged, texts: { output: "from 192.0.2.7", expected: "SECRET" } },
      context,
    );
  }
  const all = asked.map(({ user }) => user).join("\n");
  assert(all.includes("RHOB") && all.includes("[ip]") && all.includes("(withheld)"));
  assert(!/\bGR\b|SECRET|192\.0\.2\.7|example\.com/.test(all), all);
});
