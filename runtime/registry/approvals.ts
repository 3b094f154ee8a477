/**
 * Who approved or rejected a version. A decision is about an evidence hash: it does not count for other
 * bytes, whatever number they have.
 *
 * @module
 */
import { type Role, roles } from "../api_keys.ts";
import { recordSteps } from "../audit.ts";
import { UsageError } from "../errors.ts";
import { readEvidence } from "./evidence.ts";
import type { ModelVersion } from "./model_registry.ts";
import type { Store } from "../store/store.ts";

/** What somebody may say about a version. */
export type ApprovalDecision = "approved" | "rejected";

/** The last word of one person on a version. */
export interface Approval {
  readonly approver: string;
  readonly role: Role;
  readonly decision: ApprovalDecision;
  readonly reason: string | null;
  readonly decidedAt: string;
}

/** What is said, and by whom. */
export interface NewApproval {
  readonly decision: ApprovalDecision;
  /** `null` when nobody knows; then it is refused. */
  readonly by: string | null;
  readonly role: Role;
  readonly reason?: string | undefined;
  /** Whether whoever registered the version may not approve it; default false. */
  readonly fourEyes?: boolean;
}

/**
 * Records that somebody approved or rejected a version, after every byte of it was checked.
 *
 * @throws {UsageError} when nobody knows who decides, or `fourEyes` forbids them to approve.
 * @throws {EvidenceError} when a byte of the version has changed.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decideOn, listApprovals } from "./approvals.ts";
 * import { resolveVersion } from "./model_registry.ts";
 * import { openStore } from "../store/store.ts";
 * import { createModel, createVersion } from "../tracking/registry.ts";
 *
 * await using store = await openStore(":memory:");
 * await createModel(store, { name: "rocks" }, { by: "ada" });
 * await createVersion(store, { name: "rocks", source: "s3://bucket/rocks" }, { by: "ada" });
 * const version = await resolveVersion(store, "rocks", "1");
 * await decideOn(store, version, { decision: "approved", by: "bob", role: "operator" });
 * assertEquals((await listApprovals(store, version))[0].approver, "bob");
 * ```
 */
export async function decideOn(
  store: Store,
  version: ModelVersion,
  { decision, by, role, reason, fourEyes = false }: NewApproval,
): Promise<void> {
  const { model, version: number, evidenceHash } = version;
  const verb = decision === "approved" ? "approve" : "reject";
  const refuse = (state: string) => {
    throw new UsageError(`Cannot ${verb} "${model}" version ${number}: ${state}`);
  };
  if (!by) return refuse("nobody knows who you are; set GEOPHONE_USER or send an API key");
  if (decision === "approved" && fourEyes) {
    const registrar = await readRegistrar(store, version);
    if (registrar === null) refuse("nobody knows who registered it, and four eyes are asked for");
    if (registrar === by) refuse(`${by} registered it; somebody else has to`);
  }
  await readEvidence(store, version);
  const details = {
    name: model,
    version: String(number),
    role,
    reason: reason ?? null,
    evidence_hash: evidenceHash,
  };
  const isThere = "core.model_versions where model = ? and version = ? and evidence_hash = ?";
  const key = [model, number, evidenceHash];
  await store.transaction([
    {
      sql: `insert into core.approvals
          (model, version, evidence_hash, decision, approver, role, reason, decided_at)
        select model, version, evidence_hash, ?, ?, ?, ?, ? from ${isThere}`,
      params: [decision, by, role, reason ?? null, new Date(), ...key],
    },
    ...recordSteps({
      action: `model_version.${decision}`,
      by,
      rows: `select ?::varchar as subject, ?::json as details from ${isThere}`,
      params: [`${model}/${number}`, JSON.stringify(details), ...key],
    }),
  ]);
}

/** Gives the last decision of everybody who decided on these bytes, by name. */
export async function listApprovals(store: Store, version: ModelVersion): Promise<Approval[]> {
  const rows = await store.query(
    `select approver, role, decision, reason, decided_at from core.approvals
     where model = ? and version = ? and evidence_hash = ?
     qualify row_number() over (partition by approver order by change desc) = 1 order by approver`,
    [version.model, version.version, version.evidenceHash],
  );
  return rows.map((row) => ({
    approver: row.approver as string,
    role: row.role as Role,
    decision: row.decision as ApprovalDecision,
    reason: row.reason as string | null,
    decidedAt: row.decided_at as string,
  }));
}

/** Gives who registered a version, `null` when nobody knows. */
export async function readRegistrar(store: Store, version: ModelVersion): Promise<string | null> {
  const [row] = await store.query<{ created_by: string | null }>(
    "select created_by from core.model_versions where model = ? and version = ?",
    [version.model, version.version],
  );
  return row?.created_by ?? null;
}

/**
 * Gives the role in which a caller of the server decides: that of the key; without keys only this
 * machine can call, and whoever is at it may do everything.
 */
export async function roleOf(store: Store, requester: string | null): Promise<Role> {
  if (requester === null) return "admin";
  const [row] = await store.query<{ role: string }>(
    "select role from core.api_keys where name = ? limit 1",
    [requester],
  );
  // The key of the environment is in no table, and has every right.
  return roles.find((role) => role === row?.role) ?? "admin";
}
