/**
 * Artifacts by path, as clients put them: the bytes are content-addressed in `core.artifacts`, the
 * paths lead to them. Below `models/<model>/<version>/` lie the files of our own model versions,
 * which are read only; they are not copied.
 *
 * @module
 */
import { artifactStep, readArtifact } from "../artifacts.ts";
import { type Signature, SIGNATURE_KEY } from "../registry/signature.ts";
import type { Store } from "../store/store.ts";
import { commit, invalid, missing } from "./error.ts";

/** A file or folder below a path. */
export interface Entry {
  /** The last part of its path. */
  readonly name: string;
  readonly isFolder: boolean;
  /** Bytes; `null` of a folder. */
  readonly size: number | null;
}

/** Scheme of paths that this server keeps. */
export const ARTIFACT_SCHEME = "mlflow-artifacts:/";

/** Folder of our own model versions. */
const MODELS = "models";

const MAX_PATH = 1_024;

/**
 * Gives a path in its one form.
 *
 * @throws {TrackingError} when it would leave the store or could mean two things.
 *
 * @example
 * ```ts
 * import { assertEquals, assertThrows } from "@std/assert";
 * import { cleanPath } from "./artifacts.ts";
 *
 * assertEquals(cleanPath("0/abc/artifacts/model.onnx"), "0/abc/artifacts/model.onnx");
 * assertThrows(() => cleanPath("0/../secret"), Error, "clean relative path");
 * ```
 */
export function cleanPath(path: string): string {
  const trimmed = path.replace(/\/+$/, "");
  const isClean = trimmed !== "" && trimmed.length <= MAX_PATH &&
    // deno-lint-ignore no-control-regex
    !/[\\\u0000-\u001f\u007f]|^[A-Za-z]:|%2e|%2f|%5c/i.test(trimmed) &&
    trimmed.split("/").every((part) => part !== "" && part !== "." && part !== "..");
  if (isClean) return trimmed;
  throw invalid(
    `Cannot use path "${
      path.slice(0, 200)
    }": give a clean relative path of at most ${MAX_PATH} characters`,
  );
}

/** Gives the path that an artifact URI of this server leads to, `null` of another URI. */
export function pathOfUri(uri: string): string | null {
  const found = /^mlflow-artifacts:(?:\/\/[^/]*)?\/+(.*)$/.exec(uri);
  return found ? cleanPath(found[1]) : null;
}

/** Stores a file; one of the same path is replaced, its bytes stay in `core.artifacts`. */
export async function putArtifact(
  store: Store,
  path: string,
  { content, mediaType }: { readonly content: Uint8Array; readonly mediaType: string },
): Promise<void> {
  const clean = cleanPath(path);
  refuseOwn(clean);
  const { sha256, step } = await artifactStep(content, mediaType);
  await commit(store, [
    step,
    {
      sql: `insert into core.artifact_paths values (?, ?, ?, ?) on conflict (path)
        do update set artifact = excluded.artifact, size = excluded.size, created_at = excluded.created_at`,
      params: [clean, sha256, content.length, new Date()],
    },
  ]);
}

function refuseOwn(path: string): void {
  if (path.split("/")[0] !== MODELS) return;
  throw invalid(`Cannot write "${path}": the files of registered models are only read`);
}

/** Gives the bytes of a file. @throws {TrackingError} when there is none at `path`. */
export async function getArtifact(
  store: Store,
  path: string,
): Promise<{ readonly content: Uint8Array; readonly mediaType: string }> {
  const clean = cleanPath(path);
  if (clean.split("/")[0] === MODELS) return await readOwn(store, clean);
  const [row] = await store.query<{ artifact: string; media_type: string }>(
    `select p.artifact, a.media_type from core.artifact_paths p
     join core.artifacts a on a.sha256 = p.artifact where p.path = ?`,
    [clean],
  );
  if (!row) throw noFile(clean);
  return { content: await readArtifact(store, row.artifact), mediaType: row.media_type };
}

function noFile(path: string) {
  return missing(`Cannot read artifact "${path}": there is no such file`);
}

/** Deletes a file, or a folder with all in it; gives how many files had a path. */
export async function deleteArtifacts(store: Store, path: string): Promise<number> {
  const clean = cleanPath(path);
  refuseOwn(clean);
  const rows = await store.query(
    "delete from core.artifact_paths where path = ? or starts_with(path, ?) returning path",
    [clean, `${clean}/`],
  );
  return rows.length;
}

/** Lists what lies directly in a folder, by name; nothing of a file or of what is not there. */
export async function listArtifacts(store: Store, folder: string): Promise<Entry[]> {
  const prefix = folder.replaceAll("/", "") === "" ? "" : `${cleanPath(folder)}/`;
  if (prefix.split("/")[0] === MODELS) return await listOwn(store, prefix);
  const rows = await store.query<{ name: string; is_folder: boolean; size: number }>(
    `select split_part(substr(path, length(?) + 1), '/', 1) as name,
       bool_or(contains(substr(path, length(?) + 1), '/')) as is_folder, max(size) as size
     from core.artifact_paths where starts_with(path, ?) group by name order by name`,
    [prefix, prefix, prefix],
  );
  return rows.map(({ name, is_folder, size }) => ({
    name,
    isFolder: is_folder,
    size: is_folder ? null : size,
  }));
}

/** Gives every file at or below a path, with the address of its bytes. */
export async function findFiles(
  store: Store,
  path: string,
): Promise<{ readonly path: string; readonly artifact: string }[]> {
  const clean = cleanPath(path);
  const [, model, version, ...rest] = clean.split("/");
  if (clean.split("/")[0] === MODELS) {
    const row = await ownVersion(store, model, version);
    const isWhole = rest.length === 0 || rest.join("/") === MODEL_FILE;
    return row && isWhole
      ? [{ path: `${MODELS}/${model}/${version}/${MODEL_FILE}`, artifact: row.artifact }]
      : [];
  }
  return await store.query<{ path: string; artifact: string }>(
    "select path, artifact from core.artifact_paths where path = ? or starts_with(path, ?) order by path",
    [clean, `${clean}/`],
  );
}

/** The files of one of our own versions. */
const MODEL_FILE = "model.onnx";
const ownFiles = [MODEL_FILE, "MLmodel", "report.json"];

interface OwnVersion {
  readonly [column: string]: unknown;
  readonly model: string;
  readonly version: number;
  readonly artifact: string;
  readonly run_id: string;
  readonly created_at: string;
  readonly signature: string;
  readonly report: string;
}

async function ownVersion(
  store: Store,
  model: string | undefined,
  version: string | undefined,
): Promise<OwnVersion | undefined> {
  if (model === undefined || !/^\d{1,9}$/.test(version ?? "")) return undefined;
  const [row] = await store.query<OwnVersion>(
    `from core.model_versions where model = ? and version = ? and signature::varchar <> 'null'`,
    [model, Number(version)],
  );
  return row;
}

async function readOwn(store: Store, path: string) {
  const [, model, version, name, ...rest] = path.split("/");
  const row = rest.length === 0 && ownFiles.includes(name)
    ? await ownVersion(store, model, version)
    : undefined;
  if (!row) throw noFile(path);
  if (name === MODEL_FILE) {
    return { content: await readArtifact(store, row.artifact), mediaType: "application/onnx" };
  }
  const content = new TextEncoder().encode(name === "MLmodel" ? describeModel(row) : row.report);
  return { content, mediaType: name === "MLmodel" ? "application/yaml" : "application/json" };
}

async function listOwn(store: Store, prefix: string): Promise<Entry[]> {
  const [, model, version, ...rest] = prefix.replace(/\/$/, "").split("/");
  if (rest.length > 0) return [];
  if (version !== undefined) {
    const row = await ownVersion(store, model, version);
    if (!row) return [];
    return await Promise.all(ownFiles.map(async (name) => {
      const { content } = await readOwn(store, `${MODELS}/${model}/${version}/${name}`);
      return { name, isFolder: false, size: content.length };
    }));
  }
  const rows = await store.query<{ name: string }>(
    model === undefined
      ? "select distinct model as name from core.model_versions where signature::varchar <> 'null' order by name"
      : `select version::varchar as name from core.model_versions
         where model = ? and signature::varchar <> 'null' order by version`,
    model === undefined ? [] : [model],
  );
  return rows.map(({ name }) => ({ name, isFolder: true, size: null }));
}

/** The MLmodel file by which MLflow's own loaders find the ONNX file. JSON is YAML, too. */
function describeModel(row: OwnVersion): string {
  const signature = JSON.parse(row.signature) as Signature;
  const tensor = (type: string, shape: readonly number[]) => ({
    type: "tensor",
    "tensor-spec": { dtype: type, shape },
  });
  return JSON.stringify(
    {
      artifact_path: "model",
      flavors: {
        onnx: { data: MODEL_FILE, code: null, providers: ["CPUExecutionProvider"] },
        python_function: { loader_module: "mlflow.onnx", data: MODEL_FILE, env: {} },
      },
      run_id: row.run_id,
      utc_time_created: row.created_at.replace("T", " ").replace("Z", ""),
      metadata: { [SIGNATURE_KEY]: signature },
      signature: {
        inputs: JSON.stringify([
          { name: "input", ...tensor("float32", [-1, signature.features.length]) },
        ]),
        outputs: JSON.stringify([
          { name: "label", ...tensor("int64", [-1]) },
          { name: "probabilities", ...tensor("float32", [-1, signature.classes.length]) },
        ]),
      },
    },
    null,
    2,
  );
}
