/**
 * Promotions: an alias moves to a version when the gates pass, or when an administrator overrides them
 * with a reason. Every decision is a row, with a document of all that it was made on.
 *
 * @module
 */
import type { Role } from "../api_keys.ts";
import { readArtifact } from "../artifacts.ts";
import { recordSteps } from "../audit.ts";
import { describeError, UsageError } from "../errors.ts";
import { readEvidence, storeDocument } from "./evidence.ts";
import { checkGates, type GateCheck } from "./gates.ts";
import type { GateParams } from "./gate_params.ts";
import { checkAliasName, currentVersion, type ModelVersion } from "./model_registry.ts";
import { type Observations, observe } from "../inference/observations.ts";
import { aliasSteps } from "./registry_steps.ts";
import type { Store } from "../store/store.ts";

/** What is to be decided. */
export interface PromotionQuestion {
  readonly version: ModelVersion;
  readonly alias: string;
  readonly environment: string;
  readonly params: GateParams;
  /** What the caller has just seen itself; the rest is read from the store. */
  readonly seen?: Partial<Observations>;
}

/** What the gates say of a version for an alias, before anything is done about it. */
export interface Decision extends Omit<PromotionQuestion, "params"> {
  /** Version that the alias serves, or `null`. */
  readonly previous: number | null;
  readonly isPassed: boolean;
  readonly checks: readonly GateCheck[];
  readonly seen: Observations;
}

/** Who acts on a decision, and why. */
export interface PromotionReason {
  /** `null` when nobody knows. */
  readonly by: string | null;
  /** `null` of a pipeline, which can force nothing. */
  readonly role: Role | null;
  readonly reason: string;
  /** Promote whatever the gates say; default false. */
  readonly isForced?: boolean;
}

/** What became of a decision. */
export interface PromotionOutcome {
  readonly model: string;
  readonly version: number;
  readonly alias: string;
  readonly previous: number | null;
  readonly isPassed: boolean;
  /** Whether the gates were overridden. */
  readonly isForced: boolean;
  readonly isPromoted: boolean;
  readonly checks: readonly GateCheck[];
  /** sha256 of the document that the decision was made on. */
  readonly evidence: string;
}

/**
 * Asks the gates whether an alias may move to a version. Changes nothing.
 * @throws {EvidenceError} when a byte of the version has changed: that is no matter of opinion.
 */
export async function decidePromotion(
  store: Store,
  { params, ...question }: PromotionQuestion,
): Promise<Decision> {
  const { version, alias } = question;
  checkAliasName(alias);
  const checked = await readEvidence(store, version);
  const previous = await currentVersion(store, version.model, alias);
  const seen = { ...await observe(store, version), ...question.seen };
  const checks = await checkGates(store, { version, checked, alias, previous, seen }, params);
  return { ...question, previous, checks, seen, isPassed: checks.every((each) => each.isPassed) };
}

/** Ends a transaction whose decision was made on what is not so any more. */
const MARK = "geophone-moved";

/**
 * Records a decision and, when the gates passed or are overridden, moves the alias, in one transaction.
 *
 * @throws {UsageError} when somebody forces without the role `admin`, or without a reason.
 * @throws {Error} when alias or version has changed since the decision.
 */
export async function recordPromotion(
  store: Store,
  decision: Decision,
  { by, role, reason, isForced: mayForce = false }: PromotionReason,
): Promise<PromotionOutcome> {
  const { version: { model, version, evidenceHash, artifact }, alias, environment } = decision;
  const { previous, checks, isPassed, seen } = decision;
  if (mayForce && role !== "admin") {
    throw new UsageError(
      `Cannot force "${model}@${alias}": role ${role ?? "none"} may not; ask for role admin`,
    );
  }
  if (mayForce && reason.trim() === "") {
    throw new UsageError(`Cannot force "${model}@${alias}": it has no reason; give one`);
  }
  const isForced = mayForce && !isPassed;
  const isPromoted = isPassed || isForced;
  const now = new Date();
  const document = await storeDocument({
    format: 1,
    kind: "promotion",
    model,
    version,
    evidenceHash,
    artifact,
    alias,
    previous,
    environment,
    decidedAt: now.toISOString(),
    decidedBy: by,
    role,
    reason,
    isPassed,
    isForced,
    checks,
    seen,
  });
  const action = isForced
    ? "model_version.promotion_forced"
    : isPassed
    ? "model_version.promoted"
    : "model_version.promotion_refused";
  const details = {
    name: model,
    version: String(version),
    alias,
    from_version: previous === null ? null : String(previous),
    environment,
    reason,
    failed: checks.filter((check) => !check.isPassed).map((check) => check.reason),
    evidence: document.sha256,
  };
  const steps = [
    {
      // Gates and alias are one decision: it falls with what it was made on.
      sql: `select error('${MARK}') where
        (select version from aliases where model = ? and alias = ?) is distinct from ?::integer
        or not exists (select 1 from models m join core.model_versions v using (model, version)
          where model = ? and version = ? and v.evidence_hash = ? and v.artifact = ?)`,
      params: [model, alias, previous, model, version, evidenceHash, artifact],
    },
    document.step,
    {
      sql:
        `insert into core.promotions (model, version, alias, from_version, environment, decided_by,
          role, reason, is_passed, is_forced, is_promoted, checks, evidence_hash, evidence, decided_at)
        values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      params: [
        ...[model, version, alias, previous, environment, by, role, reason],
        ...[isPassed, isForced, isPromoted, JSON.stringify(checks)],
        ...[evidenceHash, document.sha256, now],
      ],
    },
    ...recordSteps({
      action,
      by,
      rows: "select ?::varchar as subject, ?::json as details",
      params: [`${model}@${alias}`, JSON.stringify(details)],
    }),
    ...(isPromoted ? aliasSteps({ model, alias, version, reason }, by) : []),
  ];
  await store.transaction(steps).catch((cause) => {
    if (!String(cause).includes(MARK)) throw cause;
    throw new Error(
      `Cannot promote "${model}" version ${version} to ${alias}: alias or version has changed since ` +
        "the gates looked; try again",
      { cause },
    );
  });
  const evidence = document.sha256;
  return { model, version, alias, previous, isPassed, isForced, isPromoted, checks, evidence };
}

/**
 * Asks the gates and acts on what they say.
 * @throws as {@linkcode decidePromotion} and {@linkcode recordPromotion}.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { GateParams } from "./gate_params.ts";
 * import { resolveVersion } from "./model_registry.ts";
 * import { promote } from "./promotion.ts";
 * import { openStore } from "../store/store.ts";
 * import { createModel, createVersion } from "../tracking/registry.ts";
 *
 * await using store = await openStore(":memory:");
 * await createModel(store, { name: "rocks" }, { by: "ada" });
 * await createVersion(store, { name: "rocks", source: "s3://bucket/rocks" }, { by: "ada" });
 * const outcome = await promote(store, {
 *   version: await resolveVersion(store, "rocks", "1"),
 *   alias: "production",
 *   environment: "dev",
 *   params: GateParams.parse({}),
 * }, { by: "ada", role: "operator", reason: "first" });
 * assertEquals(outcome.isPromoted, false);
 * assertEquals(outcome.checks[0].state, "no data");
 * ```
 */
export async function promote(
  store: Store,
  question: PromotionQuestion,
  reason: PromotionReason,
): Promise<PromotionOutcome> {
  return await recordPromotion(store, await decidePromotion(store, question), reason);
}

/** One recorded decision. */
export interface RecordedPromotion {
  readonly decidedAt: string;
  readonly alias: string;
  readonly from: number | null;
  readonly environment: string;
  readonly by: string | null;
  readonly role: Role | null;
  readonly reason: string;
  readonly isPassed: boolean;
  readonly isForced: boolean;
  readonly isPromoted: boolean;
  readonly checks: readonly GateCheck[];
  /** sha256 of its document, and why it cannot be trusted any more; `null` when it can. */
  readonly evidence: string;
  readonly evidenceError: string | null;
}

/** Gives every decision on a version, the oldest first, each with its document checked. */
export async function listPromotions(
  store: Store,
  { model, version }: ModelVersion,
): Promise<RecordedPromotion[]> {
  const rows = await store.query(
    "from core.promotions where model = ? and version = ? order by promotion",
    [model, version],
  );
  return await Promise.all(rows.map(async (row) => ({
    decidedAt: row.decided_at as string,
    alias: row.alias as string,
    from: row.from_version as number | null,
    environment: row.environment as string,
    by: row.decided_by as string | null,
    role: row.role as Role | null,
    reason: row.reason as string,
    isPassed: row.is_passed as boolean,
    isForced: row.is_forced as boolean,
    isPromoted: row.is_promoted as boolean,
    checks: JSON.parse(row.checks as string),
    evidence: row.evidence as string,
    evidenceError: await readArtifact(store, row.evidence as string).then(
      () => null,
      describeError,
    ),
  })));
}
