/** Artifacts in the MLflow protocol: the proxy that clients put files to and get them from. */
import { missing } from "../../runtime/tracking/error.ts";
import {
  deleteArtifacts,
  type Entry,
  getArtifact,
  listArtifacts,
  pathOfUri,
  putArtifact,
} from "../../runtime/tracking/artifacts.ts";
import { getRun } from "../../runtime/tracking/runs.ts";
import { type MlflowRoute, RawReply, route } from "./route.ts";
import { text } from "./wire.ts";

/** Largest artifact in bytes: it is held in memory on its way to and from the store. */
export const MAX_ARTIFACT_BYTES = 128 * 2 ** 20;

const PATH = "/2.0/mlflow-artifacts/artifacts";

/** Routes of artifacts. */
export const artifactRoutes: readonly MlflowRoute[] = [
  route("GET", PATH, { path: text.default("") }, async ({ path }, { store }) => ({
    files: (await listArtifacts(store, path)).map((entry) => writeEntry("", entry)),
  })),
  route(
    "PUT",
    `${PATH}/*path`,
    { path: text },
    async ({ path }, { store, exchange }) => {
      const mediaType = exchange.request.headers.get("content-type") ?? "application/octet-stream";
      const content = await exchange.readBytes(MAX_ARTIFACT_BYTES);
      await putArtifact(store, path, { content, mediaType: mediaType.slice(0, 200) });
      return {};
    },
    { maxBodyBytes: null },
  ),
  route("GET", `${PATH}/*path`, { path: text }, async ({ path }, { store }) => {
    const { content } = await getArtifact(store, path);
    const name = encodeURIComponent(path.split("/").at(-1) ?? "");
    return new RawReply({
      status: 200,
      body: content as Uint8Array<ArrayBuffer>,
      headers: {
        // Whatever was put here, a browser saves it and shows nothing of it.
        "content-type": "application/octet-stream",
        "content-disposition": `attachment; filename*=UTF-8''${name}`,
      },
    });
  }),
  route("DELETE", `${PATH}/*path`, { path: text }, async ({ path }, { store }) => {
    await deleteArtifacts(store, path);
    return {};
  }),
  route(
    "GET",
    "/2.0/mlflow/artifacts/list",
    { run_id: text.optional(), run_uuid: text.optional(), path: text.default("") },
    async ({ run_id, run_uuid, path }, { store }) => {
      const { artifactUri } = await getRun(store, run_id || run_uuid || "");
      return await listBelow(store, artifactUri, path);
    },
  ),
];

/** Lists a folder below an artifact URI, with paths relative to the URI. */
export async function listBelow(
  store: Parameters<typeof listArtifacts>[0],
  uri: string,
  path: string,
) {
  const root = pathOfUri(uri);
  if (root === null) {
    throw missing(`Cannot list artifacts of "${uri}": they are not kept by this server`);
  }
  const entries = await listArtifacts(store, path === "" ? root : `${root}/${path}`);
  const prefix = path === "" ? "" : `${path.replace(/\/+$/, "")}/`;
  return { root_uri: uri, files: entries.map((entry) => writeEntry(prefix, entry)) };
}

function writeEntry(prefix: string, { name, isFolder, size }: Entry) {
  return { path: `${prefix}${name}`, is_dir: isFolder, file_size: size ?? undefined };
}
