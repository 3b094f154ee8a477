/**
 * The sections of a model card, each from what was recorded and seen of a version.
 *
 * @module
 */
import { basename } from "node:path";
import type { ClassifierScore } from "../../numeric/metrics.ts";
import type { RateInterval } from "../../numeric/rates.ts";
import type { Origin } from "./environments.ts";
import type { Evidence } from "./evidence.ts";
import { code, escapeMarkdown, markdownTable } from "../markdown.ts";
import { writeWeaknesses } from "./model_card_weaknesses.ts";
import type { ModelVersion } from "./model_registry.ts";
import type { Observations } from "../inference/observations.ts";
import type { RecordedPromotion } from "./promotion.ts";
import { formatInterval, type RecordedReport } from "./recorded_report.ts";
import type { Row } from "../store/store.ts";

const NOT_RECORDED = "Not recorded.";

/** Accuracy of one slice, by the labels that arrived. */
export interface SliceAccuracy {
  readonly slice: string;
  readonly rows: number;
  readonly accuracy: RateInterval;
}

/** All that a card is made from. */
export interface CardFacts {
  readonly version: ModelVersion;
  readonly environment: string;
  readonly evidence: Evidence;
  readonly report: RecordedReport;
  readonly seen: Observations;
  readonly slices: readonly SliceAccuracy[];
  readonly promotions: readonly RecordedPromotion[];
  readonly aliases: readonly Row[];
  readonly origins: readonly Origin[];
}

/** Gives the sections by title; a section that is `null` stands in no card. */
export function writeSections(
  facts: CardFacts,
): readonly (readonly [title: string, body: string | null])[] {
  return [
    ["Identity", writeIdentity(facts)],
    ["Description", writeText(facts.report.about?.description)],
    ["Intended use", writeText(facts.report.about?.intendedUse)],
    ["License", writeText(facts.report.about?.license)],
    ["Training data", writeData(facts)],
    ["Features", writeFeatures(facts)],
    ["Metrics", writeMetrics(facts.report)],
    ["Metrics by class", writeClasses(facts.report)],
    ["Known weaknesses", writeWeaknesses(facts)],
    ["Calibration", writeCalibration(facts.report)],
    ["Checks of the exported model", writeParity(facts)],
    ["In operation", writeOperation(facts.seen)],
    ["Approvals", writeApprovals(facts.seen)],
    ["Promotions", writePromotions(facts.promotions)],
    ["Aliases", writeAliases(facts.aliases)],
  ];
}

function writeText(text: string | undefined): string | null {
  return text === undefined ? null : escapeMarkdown(text);
}

function writeIdentity(
  { version, environment, evidence, report, seen, origins }: CardFacts,
): string {
  const { signature } = evidence;
  return markdownTable(["", ""], [
    ["model", version.model],
    ["version", version.version],
    ["environment", environment],
    ["registered", `${version.createdAt} by ${seen.registrar ?? "nobody known"}`],
    ["run", version.runId || null],
    ["trainer", report.trainer ?? signature?.trainer],
    ["target", signature?.target === "_label" ? "label of the intervals" : signature?.target],
    ["seed", signature?.seed],
    ["model bytes (sha256)", code(evidence.artifact)],
    ["evidence (sha256)", code(version.evidenceHash)],
    ["data hash", code(signature?.dataHash)],
    ["code hash", code(signature?.codeHash)],
    ...origins.map((origin) => [
      "pushed from",
      `${origin.environment}, version ${origin.version} of ${
        basename(origin.store)
      }, ${origin.at} by ${origin.by ?? "nobody known"}`,
    ]),
  ]);
}

function writeData({ report: { data } }: CardFacts): string {
  if (!data) return NOT_RECORDED;
  return [
    `${data.rows} rows, ${data.rowsLeftOut} left out; content hash ${
      code(data.contentHash)?.text
    }.`,
    markdownTable(
      ["source", "rows", "sha256"],
      data.sources.map(({ uri, rows, sha256 }) => [uri, rows, code(sha256)]),
    ),
    markdownTable(["class", "rows"], data.classes.map(({ name, rows }) => [name, rows])),
  ].join("\n\n");
}

function writeFeatures({ evidence: { signature } }: CardFacts): string {
  if (!signature) return NOT_RECORDED;
  const { windows, order, outliers } = signature;
  const table = markdownTable(
    ["input", "unit", "sensible range"],
    signature.inputs.map(({ name, unit, range }) => [name, unit, range?.join(" to ")]),
  );
  const notes = [
    `Values outside the range: ${{ null: "missing", clip: "clipped", keep: "kept" }[outliers]}.`,
    ...(order ? [`Ordered by ${order.column}${order.unit ? ` in ${order.unit}` : ""}.`] : []),
    ...(windows.radii.length > 0
      ? [`Windows of ${windows.radii.join(", ")}: ${windows.statistics.join(", ")}.`]
      : []),
  ];
  return `${table}\n\n${notes.map(escapeMarkdown).join(" ")}`;
}

const shownMetrics = [
  ["accuracy", "accuracy"],
  ["balancedAccuracy", "balanced accuracy"],
  ["macroF1", "macro-F1"],
  ["rocAuc", "ROC-AUC"],
  ["logLoss", "log-loss"],
] as const;

function writeMetrics({ trainer, scores, baselines = [], split, rows }: RecordedReport): string {
  if (!scores) return NOT_RECORDED;
  const line = (name: unknown, of: Partial<ClassifierScore>) => [
    name,
    ...shownMetrics.map(([metric]) => formatInterval(of[metric])),
  ];
  const how = split
    ? `${
      rows ?? "Unknown number of"
    } rows, each held out once in ${split.folds} ${split.kind} folds ` +
      `(embargo ${split.embargo}); 95 % intervals.`
    : "How rows were held out was not recorded.";
  const parts = [
    how,
    markdownTable(["trainer", ...shownMetrics.map(([, name]) => name)], [
      line(trainer ?? "this model", scores),
      ...baselines.map((baseline) => line(baseline.trainer, baseline.scores)),
    ]),
  ];
  if (baselines.length > 0) {
    parts.push(markdownTable(
      ["model minus baseline", "accuracy", "macro-F1", "log-loss"],
      baselines.map(({ trainer, difference }) => [
        trainer,
        ...(["accuracy", "macroF1", "logLoss"] as const).map((metric) => {
          const found = difference[metric];
          return found && formatInterval({ ...found, value: found.difference });
        }),
      ]),
    ));
  }
  return parts.join("\n\n");
}

function writeClasses({ scores }: RecordedReport): string {
  if (!scores?.classes) return NOT_RECORDED;
  return markdownTable(
    ["class", "rows", "precision", "recall", "F1", "ROC-AUC"],
    scores.classes.map((each) => [
      each.name,
      each.support,
      ...[each.precision, each.recall, each.f1, each.rocAuc].map(formatNumber),
    ]),
  );
}

function writeCalibration({ scores }: RecordedReport): string {
  if (!scores?.calibrationError && !scores?.brier) return NOT_RECORDED;
  return markdownTable(["metric", "value"], [
    ["expected calibration error", formatInterval(scores.calibrationError)],
    ["Brier score", formatInterval(scores.brier)],
    ["log-loss", formatInterval(scores.logLoss)],
  ]);
}

function writeParity({ report: { parity }, evidence: { golden } }: CardFacts): string {
  return markdownTable(["check", "outcome"], [
    [
      "ONNX graph against trainer",
      parity
        ? `probabilities differ by ${parity.maxDifference.toExponential(1)} at most, ` +
          `${parity.flips} of ${parity.rows} labels flip`
        : NOT_RECORDED,
    ],
    ["golden batch (sha256)", code(golden) ?? NOT_RECORDED],
  ]);
}

function writeOperation({ drift, judges, alerts }: Observations): string {
  const rows = [
    drift
      ? ["drift", `${drift.drifted.length} of ${drift.features} features, run ${drift.runId}`]
      : ["drift", "not measured"],
    ...judges.map(({ judge, scored, score }) => [
      `judge ${judge}`,
      `mean score ${formatInterval(score)} of ${scored} predictions`,
    ]),
    ...(judges.length === 0 ? [["judges", "nothing was judged"]] : []),
    ...alerts.map(({ alert, severity, state }) => [`alert ${alert} (${severity})`, state]),
    ...(alerts.length === 0 ? [["alerts", "none was evaluated"]] : []),
  ];
  return markdownTable(["what", "latest"], rows);
}

function writeApprovals({ approvals }: Observations): string {
  if (approvals.length === 0) return "None.";
  return markdownTable(
    ["time", "who", "role", "decision", "reason"],
    approvals.map((each) => [each.decidedAt, each.approver, each.role, each.decision, each.reason]),
  );
}

function writePromotions(promotions: readonly RecordedPromotion[]): string {
  if (promotions.length === 0) return "None.";
  return markdownTable(
    ["time", "alias", "from", "environment", "who", "outcome", "reason", "evidence (sha256)"],
    promotions.map((each) => [
      each.decidedAt,
      each.alias,
      each.from,
      each.environment,
      each.by,
      (each.isForced ? "forced against the gates" : each.isPassed ? "gates passed" : "refused") +
      (each.evidenceError === null ? "" : "; its evidence has changed"),
      each.reason,
      code(each.evidence),
    ]),
  );
}

function writeAliases(changes: readonly Row[]): string {
  if (changes.length === 0) return "None.";
  return markdownTable(
    ["time", "alias", "from", "to", "who", "reason"],
    changes.map((row) => Object.values(row)),
  );
}

function formatNumber(value: number | null): string | null {
  return value === null ? null : value.toFixed(3);
}
