/**
 * The model registry as MLflow clients see it, over the one that pipelines use: the same versions,
 * the same numbers, the same append-only log of aliases. A stage is an alias: `Production` is
 * `production`, `Staging` is `staging`.
 *
 * A version made from one of our ONNX files can be served. Any other is kept with a manifest of its
 * files as its artifact and without a signature: it has a number, tags and aliases, and a server
 * that is asked to serve it says why it cannot and stays with what it serves.
 *
 * @module
 */
import { artifactStep, readArtifact } from "../artifacts.ts";
import { oneRow, recordSteps } from "../audit.ts";
import { readEvidence, writeEvidence } from "../registry/evidence.ts";
import { resolveVersion } from "../registry/model_registry.ts";
import { aliasSteps, recordVersion, removeAliasSteps } from "../registry/registry_steps.ts";
import { readSignature, type Signature } from "../registry/signature.ts";
import type { Row, Step, Store } from "../store/store.ts";
import { type By, getRun } from "./runs.ts";
import { findFiles, pathOfUri } from "./artifacts.ts";
import { commit, invalid, missing, refuseIf, taken } from "./error.ts";
import { checkAlias, checkModelName } from "./limits.ts";
import { getLoggedModel } from "./logged_models.ts";
import {
  checkTag,
  deleteTagStep,
  type Pair,
  pairRows,
  readTags,
  setTagSteps,
  type TagKind,
} from "./tags.ts";

/** Stages of MLflow 2, in their order. */
export const stages = ["None", "Staging", "Production", "Archived"] as const;

/** One of {@linkcode stages}. */
export type ModelStage = typeof stages[number];

/** Tag of a version that keeps a stage which is no alias. */
const STAGE_TAG = "geophone.stage";

/** One version of a registered model. */
export interface ListedVersion {
  readonly model: string;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly createdBy: string | null;
  readonly description: string | null;
  /** Where it was made from, as the client said. */
  readonly source: string;
  /** Where its files are. */
  readonly storage: string;
  /** Empty when it is of no run. */
  readonly runId: string;
  readonly runLink: string | null;
  readonly loggedModelId: string | null;
  readonly isServable: boolean;
  readonly stage: ModelStage;
  readonly aliases: readonly string[];
  readonly tags: readonly Pair[];
}

/** One registered model. */
export interface ListedModel {
  readonly name: string;
  readonly description: string | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly createdBy: string | null;
  readonly tags: readonly Pair[];
  readonly aliases: readonly { readonly alias: string; readonly version: number }[];
  /** The newest version of every stage that has one. */
  readonly latestVersions: readonly ListedVersion[];
}

/** Creates a registered model without versions. @throws {TrackingError} when the name is taken. */
export async function createModel(
  store: Store,
  entry: { readonly name: string; readonly description?: string; readonly tags?: readonly Pair[] },
  { by }: By,
): Promise<ListedModel> {
  checkModelName(entry.name);
  const now = new Date();
  await commit(store, [
    refuseIf(
      taken(`Cannot create registered model "${entry.name}": there is one of this name`),
      "exists (select 1 from registered_models where name = ?)",
      [entry.name],
    ),
    {
      sql: `insert into core.registered_models values (?, ?, ?, ?, ?, null)
        on conflict (name) do update set description = excluded.description,
          created_at = excluded.created_at, updated_at = excluded.updated_at,
          created_by = excluded.created_by, deleted_at = null`,
      params: [entry.name, entry.description || null, now, now, by],
    },
    ...setTagSteps({ kind: "model", subject: entry.name }, entry.tags ?? [], by),
    ...recordSteps({
      action: "registered_model.created",
      by,
      ...oneRow(entry.name, {
        name: entry.name,
        tags: toRecord(entry.tags ?? []),
        description: entry.description || null,
      }),
    }),
  ]);
  return await getModel(store, entry.name);
}

function toRecord(tags: readonly Pair[]): Record<string, string> {
  return Object.fromEntries(tags.map(({ key, value }) => [key, value]));
}

/** Gives a registered model. @throws {TrackingError} when there is none. */
export async function getModel(store: Store, name: string): Promise<ListedModel> {
  const rows = await store.query("from registered_models where name = ?", [name]);
  const [found] = await toModels(store, rows);
  if (!found) throw noModel(name);
  return found;
}

function noModel(name: string) {
  return missing(`Cannot find registered model "${name}": there is none of this name`);
}

function refuseMissing(name: string): Step {
  return refuseIf(
    noModel(name),
    "not exists (select 1 from registered_models where name = ?)",
    [name],
  );
}

/** Gives rows of the view `registered_models` with tags, aliases and newest versions. */
export async function toModels(store: Store, rows: readonly Row[]): Promise<ListedModel[]> {
  if (rows.length === 0) return [];
  const names = rows.map((row) => row.name as string);
  const list = [JSON.stringify(names)];
  const ofModels = "model in (select unnest(?::json::varchar[]))";
  const [tags, aliases, latest] = await Promise.all([
    readTags(store, "model", names),
    store.query<{ model: string; alias: string; version: number }>(
      `select model, alias, version from aliases where ${ofModels} and version is not null order by alias`,
      list,
    ),
    store.query(
      `from mlflow_model_versions where ${ofModels}
       qualify row_number() over (partition by model, stage order by version desc) = 1 order by version`,
      list,
    ),
  ]);
  const versions = await toVersions(store, latest);
  return rows.map((row) => ({
    name: row.name as string,
    description: row.description as string | null,
    createdAt: new Date(row.created_at as string),
    updatedAt: new Date(row.updated_at as string),
    createdBy: row.created_by as string | null,
    tags: tags.get(row.name as string) ?? [],
    aliases: aliases.filter(({ model }) => model === row.name),
    latestVersions: versions.filter(({ model }) => model === row.name),
  }));
}

/** Steps that keep a row of a model, also of one that only a pipeline has registered so far. */
function touchModelSteps(name: string): Step[] {
  return [
    {
      sql: `insert into core.registered_models
        select name, description, created_at, updated_at, created_by, null from registered_models
        where name = ? on conflict (name) do update set deleted_at = null`,
      params: [name],
    },
    {
      sql: "update core.registered_models set updated_at = ? where name = ?",
      params: [new Date(), name],
    },
  ];
}

/** Changes the description of a registered model. */
export async function describeModel(
  store: Store,
  name: string,
  description: string,
  { by }: By,
): Promise<ListedModel> {
  await commit(store, [
    refuseMissing(name),
    ...recordSteps({
      action: "registered_model.updated",
      by,
      ...oneRow(name, { name, description }),
    }),
    ...touchModelSteps(name),
    {
      sql: "update core.registered_models set description = ? where name = ?",
      params: [description, name],
    },
  ]);
  return await getModel(store, name);
}

/**
 * Takes a model and its versions out of the registry, with its aliases. The rows stay: numbers are
 * never used again, and what was predicted can still be traced.
 */
export async function deleteModel(store: Store, name: string, { by }: By): Promise<void> {
  const now = new Date();
  await commit(store, [
    refuseMissing(name),
    ...removeAliasSteps({ model: name, version: null }, { by, reason: "the model was deleted" }),
    ...recordSteps({ action: "registered_model.deleted", by, ...oneRow(name, { name }) }),
    ...touchModelSteps(name),
    { sql: "update core.registered_models set deleted_at = ? where name = ?", params: [now, name] },
    {
      sql: `insert into core.version_details (model, version, updated_at, deleted_at)
        select model, version, ?, ? from core.model_versions where model = ?
        on conflict (model, version) do update set deleted_at = coalesce(deleted_at, excluded.deleted_at)`,
      params: [now, now, name],
    },
    {
      // A model that gets the name later does not inherit them.
      sql: `insert into core.tag_log (kind, subject, key, value, changed_by, changed_at)
        select kind, subject, key, null, ?, ? from mlflow_tags where kind = 'model' and subject = ?`,
      params: [by, now, name],
    },
  ]);
}

/** A model, or its version. */
interface Tagged {
  readonly name: string;
  readonly version?: number;
}

/** Sets or, with `null`, deletes a tag of a model, or of its version. */
export async function tagModel(
  store: Store,
  of: Tagged,
  tag: { readonly key: string; readonly value: string | null },
  { by }: By,
): Promise<void> {
  if (of.version === undefined) await getModel(store, of.name);
  else await getVersion(store, of.name, of.version);
  if (of.version !== undefined) refuseComputedTag(tag.key);
  if (tag.value === null) await checkTag(store, tagSubject(of), tag.key);
  await commit(store, tagSteps(of, tag, by));
}

function tagSubject({ name, version }: Tagged): { kind: TagKind; subject: string } {
  return version === undefined
    ? { kind: "model", subject: name }
    : { kind: "version", subject: `${name}/${version}` };
}

/** Gives the steps that set or delete a tag, and record it. */
function tagSteps(
  of: Tagged,
  { key, value }: { readonly key: string; readonly value: string | null },
  by: string | null,
): Step[] {
  const { kind, subject } = tagSubject(of);
  return [
    ...(value === null
      ? [deleteTagStep({ kind, subject }, key, by)]
      : setTagSteps({ kind, subject }, [{ key, value }], by)),
    ...recordSteps({
      action: `${kind === "model" ? "registered_model_tag" : "model_version_tag"}.${
        value === null ? "deleted" : "set"
      }`,
      by,
      ...oneRow(subject, {
        name: of.name,
        ...(of.version === undefined ? {} : { version: String(of.version) }),
        key,
        ...(value === null ? {} : { value }),
      }),
    }),
  ];
}

const computedTags = [
  "geophone.artifact",
  "geophone.evidence_hash",
  "geophone.servable",
  STAGE_TAG,
];

function refuseComputedTag(key: string): void {
  if (!computedTags.includes(key)) return;
  throw invalid(`Cannot set tag "${key}": it tells what the version is, and is only read`);
}

/** Gives a version. @throws {TrackingError} when there is none. */
export async function getVersion(
  store: Store,
  model: string,
  version: number,
): Promise<ListedVersion> {
  const rows = await store.query(
    "from mlflow_model_versions where model = ? and version = ?",
    [model, version],
  );
  const [found] = await toVersions(store, rows);
  if (found) return found;
  await getModel(store, model);
  throw missing(`Cannot find version ${version} of model "${model}": there is none of this number`);
}

/** Gives rows of the view `mlflow_model_versions` with their tags. */
export async function toVersions(store: Store, rows: readonly Row[]): Promise<ListedVersion[]> {
  const subjects = rows.map((row) => `${row.model}/${row.version}`);
  const tags = await readTags(store, "version", subjects);
  return rows.map((row, i) => ({
    model: row.model as string,
    version: row.version as number,
    createdAt: new Date(row.created_at as string),
    updatedAt: new Date(row.updated_at as string),
    createdBy: row.created_by as string | null,
    description: row.description as string | null,
    source: row.source as string,
    storage: row.storage as string,
    runId: row.run_id as string,
    runLink: row.run_link as string | null,
    loggedModelId: row.model_id as string | null,
    isServable: row.is_servable as boolean,
    stage: row.stage as ModelStage,
    aliases: row.aliases as string[],
    tags: tags.get(subjects[i]) ?? [],
  }));
}

/** The newest version of each of some stages, or of all. */
export async function latestVersions(
  store: Store,
  name: string,
  wanted: readonly string[],
): Promise<ListedVersion[]> {
  const { latestVersions } = await getModel(store, name);
  const only = wanted.map(parseStage);
  return latestVersions.filter(({ stage }) => only.length === 0 || only.includes(stage));
}

/** The headline numbers of a version's report, each with its key. */
export async function versionMetrics(
  store: Store,
  model: string,
  version: number,
): Promise<{ readonly key: string; readonly value: number }[]> {
  const [row] = await store.query<{ report: string }>(
    "select report from core.model_versions where model = ? and version = ?",
    [model, version],
  );
  const report = JSON.parse(row?.report ?? "null");
  return Object.entries(report?.scores ?? report ?? {}).flatMap(([key, entry]) => {
    const value = typeof entry === "object" ? (entry as { value?: unknown } | null)?.value : entry;
    return typeof value === "number" ? [{ key, value }] : [];
  });
}

/** What a new version is made from. */
export interface VersionEntry {
  readonly name: string;
  readonly source: string;
  readonly runId?: string;
  readonly runLink?: string;
  readonly description?: string;
  readonly loggedModelId?: string;
  readonly tags?: readonly Pair[];
}

/**
 * Registers the next version of a model; two at once get two numbers.
 * @throws {TrackingError} when the model, the run or the logged model does not exist.
 */
export async function createVersion(
  store: Store,
  entry: VersionEntry,
  { by }: By,
): Promise<ListedVersion> {
  const { name, source } = entry;
  const storage = await resolveSource(store, source);
  if (entry.runId) await getRun(store, entry.runId);
  const made = await findModel(store, storage) ?? await makeManifest(store, entry, storage);
  const evidence = await writeEvidence({
    model: name,
    artifact: made.artifact,
    signature: made.signature,
    report: {
      source,
      run_id: entry.runId ?? null,
      ...(entry.runId ? { scores: await runScores(store, entry.runId) } : {}),
    },
    // The client asks for a version of its own, even of bytes that have one.
    id: crypto.randomUUID(),
  });
  const evidenceHash = evidence.hash;
  const now = new Date();
  // Checked here; the number that they need is known only within the transaction.
  setTagSteps({ kind: "version", subject: name }, entry.tags ?? [], by);
  for (const { key } of entry.tags ?? []) refuseComputedTag(key);
  await commit(store, [
    refuseMissing(name),
    ...made.steps,
    evidence.step,
    {
      sql: `insert into core.model_versions
        select ?, coalesce(max(version), 0) + 1, ?, ?, ?::json::varchar[], ?::json::varchar[], ?, ?, ?, ?, ?
        from core.model_versions where model = ?`,
      params: [
        name,
        made.artifact,
        entry.runId ?? "",
        JSON.stringify(made.signature?.inputs.map((input) => input.name) ?? []),
        JSON.stringify(made.signature?.classes ?? []),
        evidence.signature,
        evidence.report,
        evidenceHash,
        now,
        by,
        name,
      ],
    },
    {
      sql: `insert into core.version_details
        select model, version, ?, ?, ?, ?, ?, ?, null from core.model_versions
        where model = ? and evidence_hash = ?`,
      params: [
        entry.description || null,
        source,
        storage,
        entry.runLink || null,
        entry.loggedModelId || /^models:\/(m-[0-9a-f]+)$/.exec(source)?.[1] || null,
        now,
        name,
        evidenceHash,
      ],
    },
    ...(entry.tags?.length
      ? [{
        sql: `insert into core.tag_log (kind, subject, key, value, changed_by, changed_at)
          select 'version', v.model || '/' || v.version, n.key, n.value, ?, ?
          from ${pairRows} n, core.model_versions v where v.model = ? and v.evidence_hash = ?`,
        params: [by, now, JSON.stringify(entry.tags), name, evidenceHash],
      }]
      : []),
    ...touchModelSteps(name),
    ...recordVersion({
      model: name,
      run_id: entry.runId || null,
      description: entry.description || null,
      tags: toRecord(entry.tags ?? []),
      artifact: made.artifact,
      evidence_hash: evidenceHash,
    }, {
      by,
      number: "version",
      source: "?::varchar",
      from: "from core.model_versions where model = ? and evidence_hash = ?",
      params: [source, name, evidenceHash],
    }),
  ]);
  const [{ version }] = await store.query<{ version: number }>(
    "select version from core.model_versions where model = ? and evidence_hash = ?",
    [name, evidenceHash],
  );
  return await getVersion(store, name, version);
}

/** Gives where the files of a source are: of a run or a logged model, within its artifacts. */
async function resolveSource(store: Store, source: string): Promise<string> {
  const run = /^runs:\/+([^/]+)\/?(.*)$/.exec(source);
  if (run) return join((await getRun(store, run[1])).artifactUri, run[2]);
  const model = /^models:\/+(m-[^/]+)\/?(.*)$/.exec(source);
  if (model) return join((await getLoggedModel(store, model[1])).artifactUri, model[2]);
  const version = /^models:\/+([^/@]+)\/(\d{1,9})$/.exec(source);
  if (version) return (await getVersion(store, version[1], Number(version[2]))).storage;
  if (source.trim() === "") throw invalid("Cannot register a version: its source is empty");
  return source;
}

function join(folder: string, path: string): string {
  return path === "" ? folder : `${folder}/${path}`;
}

interface Made {
  readonly artifact: string;
  readonly signature: Signature | null;
  readonly steps: readonly Step[];
}

/** Gives the one ONNX model of ours among the files of a source, `null` when there is none. */
async function findModel(store: Store, storage: string): Promise<Made | null> {
  const path = pathOfUri(storage);
  if (path === null) return null;
  const files = await findFiles(store, path);
  for (const file of files.filter(({ path }) => path.endsWith(".onnx"))) {
    try {
      const signature = readSignature(await readArtifact(store, file.artifact));
      return { artifact: file.artifact, signature, steps: [] };
    } catch {
      // An ONNX file of somebody else: it is listed and not served.
    }
  }
  return null;
}

/** Gives the artifact of a version that cannot be served: what it is made of, as JSON. */
async function makeManifest(store: Store, entry: VersionEntry, storage: string): Promise<Made> {
  const path = pathOfUri(storage);
  const manifest = JSON.stringify({
    kind: "manifest of a model that Geophone cannot serve",
    source: entry.source,
    storage,
    run_id: entry.runId ?? null,
    files: path === null ? [] : await findFiles(store, path),
  });
  const { sha256, step } = await artifactStep(
    new TextEncoder().encode(manifest),
    "application/vnd.geophone.manifest+json",
  );
  return { artifact: sha256, signature: null, steps: [step] };
}

async function runScores(store: Store, runId: string): Promise<Record<string, number | null>> {
  const { metrics } = await getRun(store, runId);
  return Object.fromEntries(
    metrics.map(({ key, value }) => [key, Number.isFinite(value) ? value : null]),
  );
}

/** Changes the description of a version. */
export async function describeVersion(
  store: Store,
  { name, version }: { readonly name: string; readonly version: number },
  description: string,
  { by }: By,
): Promise<ListedVersion> {
  await getVersion(store, name, version);
  await commit(store, [
    touchVersionStep(name, version),
    {
      sql: "update core.version_details set description = ? where model = ? and version = ?",
      params: [description, name, version],
    },
    ...recordSteps({
      action: "model_version.updated",
      by,
      ...oneRow(`${name}/${version}`, { name, version: String(version), description }),
    }),
  ]);
  return await getVersion(store, name, version);
}

function touchVersionStep(name: string, version: number): Step {
  return {
    sql: `insert into core.version_details (model, version, updated_at) values (?, ?, ?)
      on conflict (model, version) do update set updated_at = excluded.updated_at`,
    params: [name, version, new Date()],
  };
}

/** Takes a version out of the registry, with its aliases; its number is never used again. */
export async function deleteVersion(
  store: Store,
  { name, version }: { readonly name: string; readonly version: number },
  { by }: By,
): Promise<void> {
  await getVersion(store, name, version);
  await commit(store, [
    ...removeAliasSteps({ model: name, version }, { by, reason: "the version was deleted" }),
    ...recordSteps({
      action: "model_version.deleted",
      by,
      rows: `select model || '/' || version as subject,
          json_object('name', model, 'version', version::varchar) as details
        from mlflow_model_versions where model = ? and version = ?`,
      params: [name, version],
    }),
    touchVersionStep(name, version),
    {
      sql: "update core.version_details set deleted_at = ? where model = ? and version = ?",
      params: [new Date(), name, version],
    },
    ...touchModelSteps(name),
  ]);
}

/** Who changes an alias, and why. */
export interface AliasReason extends By {
  readonly reason: string;
}

/**
 * Points an alias at a version, or at none; one row of the alias log, none when nothing changes. A
 * server that serves the alias swaps to the version.
 *
 * @throws {TrackingError} when there is no such version, or the alias has no proper name.
 * @throws {EvidenceError} when a byte of the version has changed.
 */
export async function moveAlias(
  store: Store,
  { name, alias, version }: {
    readonly name: string;
    readonly alias: string;
    readonly version: number | null;
  },
  why: AliasReason,
): Promise<void> {
  checkAlias(alias);
  if (version === null) await getModel(store, name);
  else await checkWhole(store, name, version);
  await commit(store, [
    ...(version === null ? [] : [refuseDeleted(name, version)]),
    ...aliasSteps({ model: name, alias, version, reason: why.reason }, why.by),
  ]);
}

/**
 * Checks that there is a version, and every byte of it.
 * @throws {EvidenceError} when a byte has changed.
 */
async function checkWhole(store: Store, name: string, version: number): Promise<ListedVersion> {
  const found = await getVersion(store, name, version);
  await readEvidence(store, await resolveVersion(store, name, String(version)));
  return found;
}

function refuseDeleted(name: string, version: number): Step {
  return refuseIf(
    missing(`Cannot find version ${version} of model "${name}": there is none of this number`),
    "not exists (select 1 from mlflow_model_versions where model = ? and version = ?)",
    [name, version],
  );
}

/** Gives the version that an alias points to; `latest` is the newest. */
export async function versionByAlias(
  store: Store,
  name: string,
  alias: string,
): Promise<ListedVersion> {
  await getModel(store, name);
  const [row] = await store.query<{ version: number | null }>(
    alias.toLowerCase() === "latest"
      ? "select max(version) as version from mlflow_model_versions where model = ?"
      : "select version from aliases where model = ? and alias = ?",
    alias.toLowerCase() === "latest" ? [name] : [name, alias],
  );
  if (row?.version === undefined || row.version === null) {
    throw invalid(`Cannot find alias "${alias}" of model "${name}": it points to no version`);
  }
  return await getVersion(store, name, row.version);
}

/** Gives a stage in its proper letters. @throws {TrackingError} when there is no such stage. */
export function parseStage(text: string): ModelStage {
  const found = stages.find((stage) => stage.toLowerCase() === text.toLowerCase());
  if (found === undefined) {
    throw invalid(`Cannot use stage "${text}": there are ${stages.join(", ")}`);
  }
  return found;
}

/**
 * Moves a version to a stage. `Production` and `Staging` are the aliases of these names, so that a
 * stage has one version at most; the version that was there turns to `None`, or to `Archived` when
 * `isArchiving`.
 */
export async function moveToStage(
  store: Store,
  { name, version, stage }: {
    readonly name: string;
    readonly version: number;
    readonly stage: ModelStage;
  },
  { by, isArchiving }: By & { readonly isArchiving: boolean },
): Promise<ListedVersion> {
  const current = await checkWhole(store, name, version);
  const reason = `transition to stage ${stage}`;
  const alias = stage === "Production" || stage === "Staging" ? stage.toLowerCase() : null;
  const before = alias === null ? null : await aliasVersion(store, name, alias);
  const leaves = ["production", "staging"].filter((other) =>
    other !== alias && current.aliases.includes(other)
  );
  const setStage = (of: number, value: ModelStage) =>
    tagSteps({ name, version: of }, { key: STAGE_TAG, value }, by);
  const moveTo = (alias: string, version: number | null) =>
    aliasSteps({ model: name, alias, version, reason }, by);
  await commit(store, [
    refuseDeleted(name, version),
    ...leaves.flatMap((other) => moveTo(other, null)),
    ...(alias === null ? setStage(version, stage) : moveTo(alias, version)),
    ...(before !== null && before !== version
      ? setStage(before, isArchiving ? "Archived" : "None")
      : []),
    touchVersionStep(name, version),
  ]);
  return await getVersion(store, name, version);
}

async function aliasVersion(store: Store, name: string, alias: string): Promise<number | null> {
  const [row] = await store.query<{ version: number | null }>(
    "select version from aliases where model = ? and alias = ?",
    [name, alias],
  );
  return row?.version ?? null;
}
