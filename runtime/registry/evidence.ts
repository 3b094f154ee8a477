/**
 * What a model version is, as one canonical JSON document: the hash of its model bytes, its signature,
 * its report with golden batch, data and code hashes. The document is an artifact of the store, and its
 * sha256 is the version's evidence hash: approvals and promotions name it, and equal bytes with an equal
 * report have it in every store.
 *
 * Whoever loads, deploys, approves or promotes a version reads its evidence first, and by that checks
 * every byte of it, also against the hash that the {@link ./audit.ts audit log} names. Whoever may write
 * the whole store could compute all of these anew; then the chain of the audit log has another head.
 *
 * @module
 */
import { artifactStep, readArtifact, sha256 } from "../artifacts.ts";
import { describeError } from "../errors.ts";
import type { ModelVersion } from "./model_registry.ts";
import type { Signature } from "./signature.ts";
import type { Step, Store } from "../store/store.ts";

/** What was recorded of a version when it was registered; nothing in it ever changes. */
export interface Evidence {
  readonly format: 1;
  readonly model: string;
  /** sha256 of the ONNX bytes. */
  readonly artifact: string;
  /** `null` of what an MLflow client registered and nobody here can serve. */
  readonly signature: Signature | null;
  /** As the evaluation left it, with parity, profiles and data. */
  readonly report: unknown;
  /** sha256 of the report as text, as it stands with the version. */
  readonly reportHash: string;
  /** sha256 of the golden batch; `null` without one. */
  readonly golden: string | null;
  /** Tells apart what a client wants as versions of their own. */
  readonly id?: string;
}

/** A byte of what was registered is not there any more as it was. */
export class EvidenceError extends Error {
  override readonly name = "EvidenceError";
}

/**
 * Gives JSON whose text depends on the value alone: keys in the order of their UTF-16 units, no blanks.
 *
 * @throws {TypeError} when the value is no JSON.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { canonicalJson } from "./evidence.ts";
 *
 * assertEquals(canonicalJson({ b: [1, { d: null, c: "x" }], a: 2 }), '{"a":2,"b":[1,{"c":"x","d":null}]}');
 * ```
 *
 * @see RFC 8785, JSON Canonicalization Scheme
 */
export function canonicalJson(value: unknown): string {
  const text = JSON.stringify(
    value,
    (_key, each) =>
      typeof each === "object" && each !== null && !Array.isArray(each)
        ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => a < b ? -1 : 1))
        : each,
  );
  if (text !== undefined) return text;
  throw new TypeError(`Cannot write a ${typeof value} as JSON: it has no form there`);
}

/** Evidence that is ready to be stored. */
export interface WrittenEvidence {
  /** The evidence hash of the version. */
  readonly hash: string;
  readonly document: Evidence;
  /** Texts of the version's own columns, bound by the document. */
  readonly report: string;
  readonly signature: string;
  /** Stores the document. */
  readonly step: Step;
}

/** Makes the evidence of a version from what is recorded of it. */
export async function writeEvidence(
  parts: Pick<Evidence, "model" | "artifact" | "signature" | "report" | "id">,
): Promise<WrittenEvidence> {
  const report = JSON.stringify(parts.report);
  const golden = (parts.report as { golden?: unknown } | null)?.golden;
  const document: Evidence = {
    ...parts,
    format: 1,
    reportHash: await sha256(report),
    golden: typeof golden === "string" ? golden : null,
  };
  const { sha256: hash, step } = await storeDocument(document);
  return { hash, document, report, signature: canonicalJson(parts.signature), step };
}

/** Gives the address of a JSON document and the step that stores it in its canonical form. */
export async function storeDocument(
  document: unknown,
): Promise<{ readonly sha256: string; readonly step: Step }> {
  return await artifactStep(new TextEncoder().encode(canonicalJson(document)), "application/json");
}

/** A version whose every byte was checked. */
export interface CheckedVersion {
  readonly evidence: Evidence;
  /** The ONNX bytes. */
  readonly bytes: Uint8Array;
  /** The report as text. */
  readonly report: string;
  /** Whether the evidence is a document of the store; not so of versions from before there was one. */
  readonly isDocumented: boolean;
}

interface VersionRow extends Record<string, unknown> {
  readonly artifact: string;
  readonly report: string;
  readonly signature: string;
  readonly evidence_hash: string;
  readonly inputs: string;
  readonly classes: string;
  readonly is_bound: boolean | null;
  /** Evidence hash in the audit log; `null` of versions from before there was one. */
  readonly audited: string | null;
}

/**
 * Reads what was recorded of a version and checks it: model bytes, report, signature, golden batch and
 * evidence document against their hashes, and these against each other.
 *
 * @throws {EvidenceError} when something has changed or is missing; the message names it.
 */
export async function readEvidence(store: Store, version: ModelVersion): Promise<CheckedVersion> {
  const name = `model "${version.model}" version ${version.version}`;
  const changed = (what: string, state: string, cause?: unknown) =>
    new EvidenceError(`Cannot use ${name}: its ${what} changed: ${state}`, { cause });
  const read = async (what: string, address: string) => {
    try {
      return await readArtifact(store, address);
    } catch (cause) {
      const state = describeError(cause).replace(/^Cannot read artifact "\w+": /, "");
      throw changed(what, state, cause);
    }
  };
  const restore = "restore the store from a backup, or register the model again";
  const [row] = await store.query<VersionRow>(
    `select v.artifact, v.report, v.signature, v.evidence_hash, v.input_names::json as inputs,
       v.class_names::json as classes, u.is_bound,
       (select any_value(details->>'evidence_hash') from core.audit_log
        where action = 'model_version.created' and subject = v.model || '/' || v.version) as audited
     from core.model_versions v left join core.undocumented_versions u using (model, version)
     where v.model = ? and v.version = ?`,
    [version.model, version.version],
  );
  if (!row) throw changed("entry", `the registry has none any more; ${restore}`);
  if (row.artifact !== version.artifact || row.evidence_hash !== version.evidenceHash) {
    throw changed("entry", `it names other bytes or another evidence hash than before; ${restore}`);
  }
  if (row.audited !== null && row.audited !== row.evidence_hash) {
    throw changed("entry", `the audit log names another evidence hash; ${restore}`);
  }
  const bytes = await read("model bytes", row.artifact);
  if (row.is_bound !== null) {
    const isSame = await sha256(`${row.artifact}\n${row.report}`) === row.evidence_hash;
    if (row.is_bound && !isSame) throw changed("report", `it does not have its hash; ${restore}`);
    const { document } = await writeEvidence({
      model: version.model,
      artifact: row.artifact,
      signature: JSON.parse(row.signature),
      report: JSON.parse(row.report),
    });
    return { evidence: document, bytes, report: row.report, isDocumented: false };
  }
  const evidence: Evidence = JSON.parse(
    new TextDecoder().decode(await read("evidence", row.evidence_hash)),
  );
  if (evidence.artifact !== row.artifact || evidence.model !== version.model) {
    throw changed("entry", `it names other model bytes than its evidence; ${restore}`);
  }
  if (await sha256(row.report) !== evidence.reportHash) {
    throw changed("report", `it does not have the hash in the evidence; ${restore}`);
  }
  const { signature } = evidence;
  const isAsSigned = row.signature === canonicalJson(signature) &&
    row.classes === JSON.stringify(signature?.classes ?? []) &&
    row.inputs === JSON.stringify(signature?.inputs.map((input) => input.name) ?? []);
  if (!isAsSigned) throw changed("signature", `it is not the one in the evidence; ${restore}`);
  if (evidence.golden !== null) await read("golden batch", evidence.golden);
  return { evidence, bytes, report: row.report, isDocumented: true };
}
