/**
 * Versions on their way from one environment to the next: each has a store of its own, and a version
 * moves as its bytes, under the hash that it has everywhere.
 *
 * @module
 */
import { artifactStep, readArtifact } from "../artifacts.ts";
import { recordSteps } from "../audit.ts";
import { UsageError } from "../errors.ts";
import { canonicalJson, EvidenceError, readEvidence, storeDocument } from "./evidence.ts";
import { readRegistrar } from "./approvals.ts";
import { findByEvidence, type ModelVersion, versionSteps } from "./model_registry.ts";
import type { Store } from "../store/store.ts";

/** A store, and the environment it is of. */
export interface Place {
  readonly store: Store;
  readonly environment: string;
}

/** What moves, from where to where. */
export interface Push {
  readonly version: ModelVersion;
  readonly from: Place;
  readonly to: Place;
  /** Who pushes; `null` when nobody knows. */
  readonly by: string | null;
}

/** What a push came to. */
export interface Pushed {
  /** The version there; its number may be another, its evidence hash is the same. */
  readonly version: ModelVersion;
  /** Whether there was none of this evidence before. */
  readonly isNew: boolean;
}

/** Where a version came from. */
export interface Origin {
  readonly environment: string;
  readonly store: string;
  readonly version: number;
  readonly by: string | null;
  readonly at: string;
}

const MARK = "geophone-changed";

/**
 * Copies a version with everything that was recorded of it into the store of another environment. Every
 * byte is checked here before, there within the one transaction that writes, and there again after it.
 * A second push changes nothing; aliases and approvals stay where they are.
 *
 * @throws {UsageError} when both are one store, or the version is from before evidence was a document.
 * @throws {EvidenceError} when a byte has changed on either side; then nothing is written.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { pushVersion } from "./environments.ts";
 * import { resolveVersion } from "./model_registry.ts";
 * import { openStore } from "../store/store.ts";
 * import { createModel, createVersion } from "../tracking/registry.ts";
 *
 * await using dev = await openStore(":memory:");
 * await using staging = await openStore(":memory:");
 * await createModel(dev, { name: "rocks" }, { by: "ada" });
 * await createVersion(dev, { name: "rocks", source: "s3://bucket/rocks" }, { by: "ada" });
 * const version = await resolveVersion(dev, "rocks", "1");
 * const pushed = await pushVersion({
 *   version,
 *   from: { store: dev, environment: "dev" },
 *   to: { store: staging, environment: "staging" },
 *   by: "ada",
 * });
 * assertEquals(pushed.version.evidenceHash, version.evidenceHash);
 * ```
 */
export async function pushVersion({ version, from, to, by }: Push): Promise<Pushed> {
  const { model, version: number, evidenceHash } = version;
  const what = `"${model}" version ${number} to ${to.environment}`;
  if (from.store === to.store || await isSameFile(from.store.path, to.store.path)) {
    throw new UsageError(
      `Cannot push ${what}: ${from.environment} has the same store, ${to.store.path}; give each ` +
        "environment a store of its own",
    );
  }
  const { evidence, bytes, report, isDocumented } = await readEvidence(from.store, version);
  if (!isDocumented) {
    throw new UsageError(
      `Cannot push ${what}: it was registered before evidence was kept as a document; register it again`,
    );
  }
  const parts = [await artifactStep(bytes, await readMediaType(from.store, evidence.artifact))];
  if (evidence.golden !== null) {
    const golden = await readArtifact(from.store, evidence.golden);
    parts.push(await artifactStep(golden, await readMediaType(from.store, evidence.golden)));
  }
  const document = await storeDocument(evidence);
  const addresses = JSON.stringify([...parts.map((part) => part.sha256), document.sha256]);
  const [registrar, before] = await Promise.all([
    readRegistrar(from.store, version),
    findByEvidence(to.store, model, evidenceHash),
  ]);
  const origin = [from.environment, from.store.path, number, evidenceHash];
  const ifNew = `from core.model_versions v semi join models using (model, version)
    where v.model = ? and v.evidence_hash = ? and not exists (
      select 1 from core.version_origins o where o.model = v.model and o.version = v.version
        and o.from_environment = ? and o.from_store = ? and o.from_version = ?)`;
  const key = [model, evidenceHash, from.environment, from.store.path, number];
  await to.store.transaction([
    ...parts.map((part) => part.step),
    ...versionSteps(
      {
        document: evidence,
        hash: evidenceHash,
        report,
        step: document.step,
        signature: canonicalJson(evidence.signature),
      },
      { runId: version.runId, by: registrar },
    ),
    {
      // What was there already under these addresses was not written by this transaction.
      sql: `select error('${MARK}') from core.artifacts
        where sha256 in (select unnest(?::json::varchar[])) and sha256(content) <> sha256`,
      params: [addresses],
    },
    ...recordSteps({
      action: "model_version.pushed",
      by,
      rows: `select v.model || '/' || v.version as subject, json_object('name', v.model,
          'version', v.version::varchar, 'from_environment', ?::varchar, 'from_store', ?::varchar,
          'from_version', ?::integer::varchar, 'evidence_hash', ?::varchar) as details ${ifNew}`,
      params: [...origin, ...key],
    }),
    {
      sql: `insert into core.version_origins
        select v.model, v.version, ?, ?, ?, ?, ?, ? ${ifNew}`,
      params: [...origin, by, new Date(), ...key],
    },
  ]).catch((cause) => {
    if (!String(cause).includes(MARK)) throw cause;
    throw new EvidenceError(
      `Cannot push ${what}: the store there holds other bytes under one of its hashes; restore that ` +
        "store from a backup",
      { cause },
    );
  });
  const there = await findByEvidence(to.store, model, evidenceHash);
  if (!there) throw new Error(`Cannot push ${what}: it was deleted there meanwhile; push it again`);
  await readEvidence(to.store, there);
  return { version: there, isNew: before === null };
}

/** Gives where a version was pushed from, the oldest first; none when it was registered here. */
export async function listOrigins(store: Store, version: ModelVersion): Promise<Origin[]> {
  const rows = await store.query(
    "from core.version_origins where model = ? and version = ? order by pushed_at",
    [version.model, version.version],
  );
  return rows.map((row) => ({
    environment: row.from_environment as string,
    store: row.from_store as string,
    version: row.from_version as number,
    by: row.pushed_by as string | null,
    at: row.pushed_at as string,
  }));
}

async function readMediaType(store: Store, address: string): Promise<string> {
  const [row] = await store.query<{ media_type: string }>(
    "select media_type from core.artifacts where sha256 = ?",
    [address],
  );
  return row.media_type;
}

async function isSameFile(a: string, b: string): Promise<boolean> {
  if (a === ":memory:" || b === ":memory:") return false;
  const [one, other] = await Promise.all([a, b].map((path) => Deno.realPath(path)));
  return one === other;
}
