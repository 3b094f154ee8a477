/** Texts that speak to a judge, and a case with one of them in it. */
import type { ClassProfile, Inference } from "../../plugins/plugin.ts";
import { makeJudgeCase } from "../contract.ts";

/** A text and where it stands. */
export interface Injection {
  readonly place: "column" | "class" | "value";
  readonly text: string;
}

/** All that are known. */
export const corpus: readonly Injection[] = JSON.parse(
  await Deno.readTextFile(new URL("./injections.json", import.meta.url)),
);
/** The case with one name or value replaced by a text. */
export function place({ place, text }: Injection) {
  const { inference, profiles } = makeJudgeCase();
  const [column, label] = [place === "column" ? text : "GR", place === "class" ? text : "a"];
  const value = (place === "value" ? text : 31) as number;
  const rename = ({ count, mean, std }: ClassProfile): ClassProfile => ({
    count,
    mean: { [column]: mean.GR, RHOB: mean.RHOB },
    std: { [column]: std.GR, RHOB: std.RHOB },
  });
  const output = place === "value" ? text : "Sand grains.";
  const judged: Inference = {
    ...inference,
    label,
    features: { [column]: value, RHOB: 2.4 },
    probabilities: { [label]: 0.8, b: 0.2 },
    texts: { output, expected: "Sand." },
  };
  return { judged, profiles: { [label]: rename(profiles.a), b: rename(profiles.b) } };
}
