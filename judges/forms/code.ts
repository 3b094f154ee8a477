/** A judge that is a TypeScript function. */
import {
  definePlugin,
  type Inference,
  type JudgeContext,
  type Plugin,
  type Verdict,
} from "../../plugins/plugin.ts";
import { describeError } from "../../runtime/errors.ts";
import { hashDefinition } from "./form.ts";

/** What a function may give: a verdict, a score in `[0, 1]`, or whether the prediction passes. */
export type CodeAnswer = Verdict | number | boolean;

/** A judge in code. */
export interface CodeJudge {
  readonly name: string;
  readonly summary: string;
  /** Left out: a hash of the function's text, which does not see what the function calls. */
  readonly version?: string;
  readonly params?: Plugin<"judge">["params"];
  judge(inference: Inference, context: JudgeContext): CodeAnswer | Promise<CodeAnswer>;
}

/**
 * Makes a judge of a function. What it throws, and a number that is no score, is an error.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { createCodeJudge } from "./code.ts";
 *
 * const sure = createCodeJudge({
 *   name: "sure",
 *   summary: "the model is more sure than not",
 *   judge: ({ confidence }) => confidence > 0.5,
 * });
 * const inference = {
 *   requestId: "r", row: 0, model: "m", version: 1, features: {}, label: "a", probabilities: {},
 *   confidence: 0.9,
 * };
 * const { signal } = new AbortController();
 * assertEquals(await sure.judge(inference, { profiles: {}, signal }), { status: "scored", score: 1 });
 * ```
 */
export function createCodeJudge(code: CodeJudge): Plugin<"judge"> {
  const { name, summary, params } = code;
  return definePlugin({
    kind: "judge",
    name,
    summary,
    version: code.version ?? `code-1:${hashDefinition(String(code.judge))}`,
    ...(params === undefined ? {} : { params }),
    probe: () => Promise.resolve({ ready: true, detail: "needs no server" }),
    async judge(inference, context): Promise<Verdict> {
      try {
        const answer = await code.judge(inference, context);
        if (typeof answer === "object") return answer;
        const score = Number(answer);
        if (score >= 0 && score <= 1) return { status: "scored", score };
        return { status: "error", kind: "judge", message: `its score ${score} is not in [0, 1]` };
      } catch (error) {
        return { status: "error", kind: "judge", message: describeError(error) };
      }
    },
  });
}
