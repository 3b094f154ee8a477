/** Several judges as one: their scores combined, with how far they agree. */
import { definePlugin, type Plugin, type Verdict } from "../../plugins/plugin.ts";
import { describeError } from "../../runtime/errors.ts";
import { isLasting } from "../lasting.ts";
import { hashDefinition } from "./form.ts";

/** How scores become one; the last three count those of at least `threshold`. */
export const ensembleMethods = ["mean", "min", "max", "all", "any", "majority"] as const;

/** An ensemble. */
export interface EnsembleOptions {
  readonly name: string;
  readonly summary: string;
  readonly members: readonly Plugin<"judge">[];
  readonly method: typeof ensembleMethods[number];
  /** A member whose score is at least this is in favor; default 0.5. */
  readonly threshold?: number;
  /** Members that must give a score; default all of them. */
  readonly quorum?: number;
}

const METHODS: Readonly<
  Record<typeof ensembleMethods[number], (scores: readonly number[], votes: number) => number>
> = {
  mean: (scores) => scores.reduce((a, b) => a + b) / scores.length,
  min: (scores) => Math.min(...scores),
  max: (scores) => Math.max(...scores),
  all: (scores, votes) => votes === scores.length ? 1 : 0,
  any: (_, votes) => votes > 0 ? 1 : 0,
  // Half against half is no majority in favor.
  majority: (scores, votes) => 2 * votes > scores.length ? 1 : 0,
};

/**
 * Makes one judge of several. Its `raw` has each member's score (`null` where it gave none), the
 * threshold and the agreement: the share of the scores that lie on the more frequent side of the
 * threshold. Where fewer than the quorum gave a score, it gives none either: an error when a member
 * ended in one.
 *
 * @throws {RangeError} when there is no member, or the quorum is not in `1 … members`.
 */
export function createEnsemble(options: EnsembleOptions): Plugin<"judge"> {
  const { name, summary, members, method, threshold = 0.5 } = options;
  const quorum = options.quorum ?? members.length;
  if (members.length === 0 || !Number.isInteger(quorum) || quorum < 1 || quorum > members.length) {
    throw new RangeError(
      `Cannot make ensemble "${name}": a quorum of ${quorum} is not in 1 … ${members.length} members`,
    );
  }
  return definePlugin({
    kind: "judge",
    name,
    summary,
    get version() {
      const parts = members.map(({ name, version }) => [name, version]);
      return `ensemble-1:${method}:${hashDefinition([parts, method, threshold, quorum])}`;
    },
    async probe(signal) {
      const states = await Promise.all(members.map((member) => member.probe(signal)));
      const ready = states.filter((state) => state.ready).length;
      const details = states.map(({ detail }, i) => `${members[i].name}: ${detail}`).join("; ");
      return { ready: ready >= quorum, detail: details };
    },
    async judge(inference, context): Promise<Verdict> {
      const verdicts = await Promise.all(members.map(async (member): Promise<Verdict> => {
        try {
          return await member.judge(inference, context);
        } catch (error) {
          return { status: "error", kind: "judge", message: describeError(error) };
        }
      }));
      return combine(verdicts);
    },
  });

  function combine(verdicts: readonly Verdict[]): Verdict {
    const scores = verdicts.flatMap((v) => v.status === "scored" ? [v.score] : []);
    const votes = scores.filter((score) => score >= threshold).length;
    const agreement = scores.length === 0
      ? null
      : Math.max(votes, scores.length - votes) / scores.length;
    const spent = (key: "tokensIn" | "tokensOut" | "ms") => {
      const known = verdicts.flatMap((verdict) => verdict[key] ?? []);
      return known.length === 0 ? {} : { [key]: known.reduce((a, b) => a + b) };
    };
    const evidence = {
      ...spent("tokensIn"),
      ...spent("tokensOut"),
      ...spent("ms"),
      raw: JSON.stringify({
        members: Object.fromEntries(
          verdicts.map((v, i) => [members[i].name, v.status === "scored" ? v.score : null]),
        ),
        threshold,
        agreement,
      }),
    };
    if (scores.length >= quorum) {
      const score = METHODS[method](scores, votes);
      const rationale = `${votes} of ${scores.length} in favor, agreement ${agreement!.toFixed(2)}`;
      return { status: "scored", score, rationale, ...evidence };
    }
    const failed = verdicts.flatMap((verdict, i) =>
      verdict.status === "error" ? [{ ...verdict, member: members[i].name }] : []
    );
    const detail = `${scores.length} of ${members.length} gave a score, ${quorum} must`;
    if (failed.length === 0) {
      return { status: "abstained", kind: "quorum", rationale: detail, ...evidence };
    }
    // What all other predictions would meet says more than what this one alone did.
    const { member, message, kind, isRetryable = false } =
      failed.find((error) => isLasting(error.kind)) ?? failed[0];
    return {
      status: "error",
      kind,
      message: `${detail}; ${member}: ${message}`,
      isRetryable,
      ...evidence,
    };
  }
}
