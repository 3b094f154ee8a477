/** The default judge on what a real model of 0.5B answered (cassette/record.ts), without a server. */
import { assert, assertEquals } from "@std/assert";
import { connect } from "../../judges/clients/connection.ts";
import { createLlmJudge } from "../../judges/forms/form.ts";
import { referenceYesNo } from "../../judges/forms/reference_yesno.ts";
import { estimateAuc } from "../../numeric/agreement/auc.ts";
import type { ClassProfile } from "../../plugins/plugin.ts";
import { makeJudgeCase } from "../contract.ts";

interface Recorded {
  readonly profiles: Readonly<Record<string, ClassProfile>>;
  readonly cases: readonly {
    readonly isGood: boolean;
    readonly score: number;
    readonly label: string;
    readonly features: Readonly<Record<string, number | null>>;
  }[];
}

const at = (name: string) => new URL(`./cassette/${name}`, import.meta.url);
const { signal } = new AbortController();

Deno.test("the default judge gives from a cassette the very scores that a real model gave", async () => {
  const { profiles, cases }: Recorded = JSON.parse(await Deno.readTextFile(at("cases.json")));
  const connection = connect({ cassette: at("replies.json").pathname });
  const form = referenceYesNo();
  const judge = createLlmJudge({ name: "llm", summary: "", form, connection });
  const scores = [];
  for (const { label, features } of cases) {
    const inference = { ...makeJudgeCase().inference, label, features };
    // A wording that has changed is a question that nobody recorded.
    const verdict = await judge.judge(inference, { profiles, signal });
    assert(verdict.status === "scored", JSON.stringify(verdict));
    scores.push(verdict.score);
  }
  assertEquals(scores, cases.map(({ score }) => score));
  assertEquals(cases.length, 40);
  const truth = cases.map(({ isGood }) => isGood ? 1 : 0);
  assert(estimateAuc({ scores, truth })!.value > 0.6, "it knows nothing");
});
