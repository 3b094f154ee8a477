/** The built-in judges. */
import type { Plugin } from "../plugins/plugin.ts";
import { connect, type Connection } from "./clients/connection.ts";
import { combined } from "./combined/combined.ts";
import { createLlmJudge } from "./forms/form.ts";
import { referenceYesNo } from "./forms/reference_yesno.ts";
import { calibration } from "./predictions/calibration.ts";
import { consistency } from "./predictions/consistency.ts";
import { edgeCase } from "./predictions/edge_case.ts";
import { plausibility } from "./predictions/plausibility.ts";
import { createTriage } from "./predictions/triage.ts";
import { rule } from "./rule.ts";
import { createTextJudges } from "./texts/llm.ts";
import { textRules } from "./texts/rules.ts";

/** The built-in judges, those with a language model asking over this connection. */
export function createJudges(connection: Connection): Plugin<"judge">[] {
  const llm = createLlmJudge({
    name: "llm",
    summary: "LLM: P(Yes) that the features fit the predicted class's profile",
    form: referenceYesNo(),
    connection,
  });
  return [
    rule,
    llm,
    combined,
    consistency,
    calibration,
    edgeCase,
    plausibility,
    createTriage(connection),
    ...createTextJudges(connection),
    ...textRules,
  ];
}

/** The server and model of this process, by its environment. */
export const connection: Connection = connect();

/** Judges in the order in which lists show them. */
export const judges: readonly Plugin<"judge">[] = createJudges(connection);
