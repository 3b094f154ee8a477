/**
 * The model registry: versions that are never reused, and aliases with an append-only history.
 *
 * @module
 */
import { artifactStep } from "../artifacts.ts";
import { UsageError } from "../errors.ts";
import { readEvidence, writeEvidence, type WrittenEvidence } from "./evidence.ts";
import { type AliasMove, aliasSteps, recordVersion } from "./registry_steps.ts";
import { readSignature } from "./signature.ts";
import type { Step, Store } from "../store/store.ts";

/** One registered model version. */
export interface ModelVersion {
  readonly model: string;
  readonly version: number;
  /** sha256 of the ONNX bytes. */
  readonly artifact: string;
  readonly runId: string;
  readonly createdAt: string;
  /** Hash of the evidence, over model bytes and report: what was judged is what is deployed. */
  readonly evidenceHash: string;
}

/** One change of an alias. */
export interface AliasChange extends AliasMove {
  readonly version: number;
}

/**
 * Registers ONNX bytes with their evaluation report as the next version of their model. The same
 * bytes with the same report are the same version.
 */
export async function registerVersion(
  store: Store,
  entry: { readonly bytes: Uint8Array; readonly report: unknown; readonly runId: string },
): Promise<ModelVersion> {
  const signature = readSignature(entry.bytes);
  const artifact = await artifactStep(entry.bytes, "application/onnx");
  const evidence = await writeEvidence({
    model: signature.model,
    artifact: artifact.sha256,
    signature,
    report: entry.report,
  });
  const by = userName();
  await store.transaction([artifact.step, ...versionSteps(evidence, { runId: entry.runId, by })]);
  return (await findByEvidence(store, signature.model, evidence.hash))!;
}

/**
 * Gives the steps that make evidence the next version of its model; they do nothing when there is a
 * version of this evidence already. The model bytes are for the caller to store.
 */
export function versionSteps(
  { document, hash, report, signature, step }: WrittenEvidence,
  { runId, by }: { readonly runId: string; readonly by: string | null },
): Step[] {
  const { model, artifact } = document;
  const number = "coalesce(max(version), 0) + 1";
  const ifNew = `from core.model_versions v left join core.version_details d using (model, version)
    where model = ? having count(*) filter (where evidence_hash = ? and d.deleted_at is null) = 0`;
  return [
    step,
    // Before the version: after it, nothing is new.
    ...recordVersion({
      model,
      run_id: runId,
      description: null,
      tags: {},
      artifact,
      evidence_hash: hash,
    }, {
      by,
      number,
      source: `'mlflow-artifacts:/models/' || ?::varchar || '/' || (${number})`,
      from: ifNew,
      params: [model, model, hash],
    }),
    {
      sql: `insert into core.model_versions
        select ?, ${number}, ?, ?, ?::json::varchar[], ?::json::varchar[], ?, ?, ?, ?, ? ${ifNew}`,
      params: [
        model,
        artifact,
        runId,
        JSON.stringify(document.signature?.inputs.map((input) => input.name) ?? []),
        JSON.stringify(document.signature?.classes ?? []),
        signature,
        report,
        hash,
        new Date(),
        by,
        model,
        hash,
      ],
    },
  ];
}

/** Gives the version that has this evidence, `null` when there is none. */
export async function findByEvidence(
  store: Store,
  model: string,
  evidenceHash: string,
): Promise<ModelVersion | null> {
  const [row] = await store.query(
    `${selectVersions} where model = ? and evidence_hash = ? order by version desc limit 1`,
    [model, evidenceHash],
  );
  return row ? toVersion(row) : null;
}

/** Deleted versions keep their number and are not found. */
const selectVersions =
  `select v.model, v.version, v.artifact, v.run_id, v.created_at, v.evidence_hash
  from core.model_versions v
  anti join (from core.version_details where deleted_at is not null) d using (model, version)`;

function toVersion(row: Record<string, unknown>): ModelVersion {
  return {
    model: row.model as string,
    version: row.version as number,
    artifact: row.artifact as string,
    runId: row.run_id as string,
    createdAt: row.created_at as string,
    evidenceHash: row.evidence_hash as string,
  };
}

/** A version number as people write it, `3` or `v3`; the column is an int32. */
const VERSION = /^v?(\d{1,9})$/;

/** What an alias may be called, so that it never reads as a version number. */
const ALIAS = /^(?!v?\d+$)[a-z][a-z0-9_-]{0,62}$/;

/**
 * Finds a version by `reference`: a number (`"3"` or `"v3"`) or an alias (`"production"` or `"@production"`).
 * @throws {UsageError} when the model, version or alias does not exist; the message lists those there are.
 */
export async function resolveVersion(
  store: Store,
  model: string,
  reference: string,
): Promise<ModelVersion> {
  const number = VERSION.exec(reference)?.[1];
  const rows = await store.query(
    number !== undefined
      ? `${selectVersions} where model = ? and version = ?`
      : `${selectVersions} join aliases a using (model, version) where model = ? and a.alias = ?`,
    [model, number !== undefined ? Number(number) : reference.replace(/^@/, "")],
  );
  if (rows.length === 1) return toVersion(rows[0]);
  const known = await store.query<{ model: string; version: number; aliases: string[] | null }>(
    "select model, version, aliases from models order by model, version",
  );
  const here = known.filter((row) => row.model === model);
  throw new UsageError(
    here.length === 0
      ? `Cannot find model "${model}": ${
        known.length === 0
          ? 'none is registered; run "deno task pipeline"'
          : `there are ${[...new Set(known.map((row) => row.model))].join(", ")}`
      }`
      : `Cannot find "${reference}" of model "${model}": there are versions ${
        here.map((row) => [row.version, ...(row.aliases ?? []).map((a) => `@${a}`)].join(" ")).join(
          ", ",
        )
      }`,
  );
}

/**
 * Loads the ONNX bytes of a version, with everything that was recorded of it checked.
 * @throws {EvidenceError} when a byte of the model, the report or the evidence has changed.
 */
export async function loadModel(store: Store, version: ModelVersion): Promise<Uint8Array> {
  return (await readEvidence(store, version)).bytes;
}

/** Version an alias points to now, or `null`. */
export async function currentVersion(
  store: Store,
  model: string,
  alias: string,
): Promise<number | null> {
  const [row] = await store.query<{ version: number | null }>(
    "select version from aliases where model = ? and alias = ?",
    [model, alias],
  );
  return row?.version ?? null;
}

/**
 * Points an alias at a version, in one transaction with its history; no change writes no row. No gate
 * is asked: `promote()` does.
 * @throws {UsageError} when there is no such version or the alias has no proper name.
 * @throws {EvidenceError} when a byte of the version has changed.
 */
export async function setAlias(store: Store, change: AliasChange): Promise<void> {
  checkAliasName(change.alias);
  await readEvidence(store, await resolveVersion(store, change.model, String(change.version)));
  await store.transaction(aliasSteps(change, userName()));
}

/**
 * Checks what an alias may be called.
 * @throws {UsageError} when it may not.
 */
export function checkAliasName(alias: string): void {
  if (ALIAS.test(alias)) return;
  throw new UsageError(
    `Cannot set alias "${alias}": a name begins with a letter, is of small letters, ` +
      "digits, _ and -, and is no version number",
  );
}

/**
 * Points an alias back at the version it served before; gives that version. A second call goes one
 * further back, and never forward to a version that was rolled back.
 * @throws {UsageError} when the alias has no earlier version.
 */
export async function rollbackAlias(
  store: Store,
  model: string,
  alias: string,
  reason: string,
): Promise<number> {
  const changes = await store.query<{ to_version: number | null; kind: string }>(
    "select to_version, kind from core.alias_log where model = ? and alias = ? order by change",
    [model, alias],
  );
  if (changes.length === 0) await resolveVersion(store, model, `@${alias}`);
  const served: number[] = [];
  for (const { to_version: version, kind } of changes) {
    if (version === null) continue;
    if (kind === "rolled back") served.pop();
    else served.push(version);
  }
  const earlier = served.at(-2);
  if (earlier === undefined) {
    throw new UsageError(
      `Cannot roll back "${model}@${alias}": it has no earlier version; see "deno task models history"`,
    );
  }
  await setAlias(store, { model, alias, version: earlier, reason, kind: "rolled back" });
  return earlier;
}

/** Version an alias pointed to at `time`, or `null`: "what was production then". */
export async function versionAt(
  store: Store,
  model: string,
  alias: string,
  time: Date,
): Promise<number | null> {
  const [row] = await store.query<{ to_version: number | null }>(
    `select to_version from core.alias_log where model = ? and alias = ? and changed_at <= ?
     order by change desc limit 1`,
    [model, alias, time],
  );
  return row?.to_version ?? null;
}

/** Who runs this process, as far as the environment tells. */
export function userName(): string | null {
  for (const name of ["GEOPHONE_USER", "USER", "USERNAME"]) {
    try {
      const value = Deno.env.get(name);
      if (value) return value;
    } catch {
      // Not permitted to look: unknown, not an error.
    }
  }
  return null;
}
