/** What was recorded and seen of a version, as facts: those of its card. */
import type { Interval } from "../../numeric/metrics.ts";
import { readCardFacts } from "../../runtime/registry/model_card.ts";
import { generatedSubject } from "../../runtime/registry/model_card_generated.ts";
import type { CardFacts } from "../../runtime/registry/model_card_sections.ts";
import { listConfusions, WEAK_RECALL } from "../../runtime/registry/model_card_weaknesses.ts";
import type { ModelVersion } from "../../runtime/registry/model_registry.ts";
import { formatInterval } from "../../runtime/registry/recorded_report.ts";
import type { Store } from "../../runtime/store/store.ts";
import {
  boundFacts,
  createNamer,
  type Fact,
  fact,
  type Facts,
  type Namer,
  quoteWords,
  writeTime,
} from "./facts.ts";

/** Classes and confusions that are shown, the worst. */
const SHOWN_CLASSES = 3;
const SHOWN_CONFUSIONS = 3;

/**
 * Reads what a description of a version may say.
 * @throws {EvidenceError} when a byte of the version has changed.
 */
export async function readModelFacts(
  store: Store,
  version: ModelVersion,
  environment: string,
): Promise<Facts> {
  const card = await readCardFacts(store, version, environment);
  const name = await createNamer();
  return {
    kind: "model",
    subject: generatedSubject(version),
    title: `${name("model", version.model).text} version ${version.version}`,
    facts: boundFacts([
      ...describeIdentity(card, name),
      ...describeScores(card, name),
      ...describeClasses(card, name),
      ...describeUse(card, name),
    ]),
    nothing: null,
  };
}

function describeIdentity({ version, evidence, report }: CardFacts, name: Namer): Fact[] {
  const { signature } = evidence;
  const { about, data } = report;
  const trainer = report.trainer ?? signature?.trainer;
  return [
    fact`${name("model", version.model)} version ${version.version}, registered ${
      writeTime(version.createdAt)
    } UTC`,
    ...(trainer === undefined ? [] : [fact`trained by ${name("trainer", trainer)}`]),
    ...(about?.description ? [fact`description: ${quoteWords(about.description)}`] : []),
    ...(about?.intendedUse ? [fact`intended use: ${quoteWords(about.intendedUse)}`] : []),
    ...(signature
      ? [fact`predicts ${signature.classes.length} classes from ${signature.inputs.length} inputs`]
      : []),
    ...(data
      ? [
        fact`trained on ${data.rows} rows${
          data.rowsLeftOut === 0 ? "" : `, ${data.rowsLeftOut} more were left out`
        }`,
      ]
      : [fact`training data was not recorded`]),
  ];
}

const metrics = [
  ["accuracy", "accuracy"],
  ["balancedAccuracy", "balanced accuracy"],
  ["macroF1", "macro-F1"],
  ["rocAuc", "ROC-AUC"],
  ["logLoss", "log-loss"],
  ["calibrationError", "expected calibration error"],
] as const;

function describeScores(
  { report: { scores, split, rows, baselines = [] } }: CardFacts,
  name: Namer,
): Fact[] {
  if (!scores) return [fact`scores were not recorded`];
  const line = (label: string | Fact, interval: Partial<Interval> | null | undefined) => {
    const value = formatInterval(interval);
    return value === null ? [] : [fact`${label}: ${value}`];
  };
  return [
    ...(split
      ? [
        fact`scores are of ${
          rows ?? "an unknown number of"
        } rows held out in ${split.folds} ${split.kind} folds, with 95 % intervals`,
      ]
      : []),
    ...metrics.flatMap(([metric, label]) => line(label, scores[metric])),
    ...baselines.flatMap(({ trainer, difference: { macroF1 } }) => {
      if (!macroF1) return [];
      const { difference, low, high } = macroF1;
      const isClear = low !== null && high !== null && (low > 0 || high < 0);
      const how = !isClear ? "not clearly different from" : difference > 0 ? "above" : "below";
      return line(fact`macro-F1 is ${how} that of ${name("baseline", trainer)}, difference`, {
        ...macroF1,
        value: difference,
      } as Interval);
    }),
  ];
}

function describeClasses({ report: { scores } }: CardFacts, name: Namer): Fact[] {
  const classes = (scores?.classes ?? []).filter(({ recall }) => recall !== null)
    .toSorted((a, b) => a.recall! - b.recall!);
  const weak = classes.filter(({ recall }) => recall! < WEAK_RECALL).length;
  const format = (value: number | null) => value === null ? "unknown" : value.toFixed(3);
  return [
    ...(classes.length === 0 ? [] : [
      fact`${weak} of ${classes.length} classes have a recall below ${WEAK_RECALL}; the lowest recalls are`,
    ]),
    ...classes.slice(0, SHOWN_CLASSES).map((each) =>
      fact`${name("class", each.name)}: recall ${format(each.recall)}, precision ${
        format(each.precision)
      }, F1 ${format(each.f1)} on ${each.support} rows`
    ),
    ...listConfusions(scores).toSorted((a, b) => b.count / b.rows - a.count / a.rows)
      .slice(0, SHOWN_CONFUSIONS).map(({ truth, predicted, count, rows }) =>
        fact`${name("class", truth)} is taken for ${
          name("class", predicted)
        } in ${count} of ${rows} rows`
      ),
  ];
}

function describeUse({ seen, slices, promotions }: CardFacts, name: Namer): Fact[] {
  const { drift, judges, alerts } = seen;
  const last = promotions.at(-1);
  return [
    drift
      ? fact`${drift.drifted.length} of ${drift.features} features drifted`
      : fact`drift was not measured`,
    ...(drift?.drifted ?? []).slice(0, SHOWN_CLASSES).map((each) =>
      fact`${name("feature", each)} drifted`
    ),
    ...slices.map(({ slice, rows, accuracy }) =>
      fact`${name("slice", slice)}: accuracy ${formatInterval(accuracy)!} on ${rows} labelled rows`
    ),
    ...judges.map(({ judge, status, scored, score }) =>
      fact`${name("judge", judge)} (${status}): mean score ${formatInterval(
        score,
      )!} of ${scored} predictions`
    ),
    alerts.length === 0
      ? fact`no alert was evaluated on it`
      : fact`${
        alerts.filter(({ state }) => state === "firing").length
      } of ${alerts.length} alerts fire`,
    ...alerts.filter(({ state }) => state === "firing").map(({ alert, severity }) =>
      fact`${name("alert", alert)} (${severity}) fires`
    ),
    last
      ? fact`the gates ${
        last.isPassed ? "passed" : last.isForced ? "refused it and were overridden" : "refused it"
      } for ${name("alias", last.alias)}, ${
        last.checks.filter(({ isPassed }) => isPassed).length
      } of ${last.checks.length} checks passed`
      : fact`no gate has decided on it`,
    ...(last?.checks ?? []).filter(({ isPassed }) => !isPassed).map(({ reason }) =>
      fact`a gate that did not pass: ${quoteWords(reason)}`
    ),
  ];
}
