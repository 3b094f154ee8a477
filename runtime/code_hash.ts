/** Hashes the code a stage really runs: its file and everything that file imports, transitively. */
import { sha256 } from "./artifacts.ts";

/** Specifiers of static and literal dynamic imports and re-exports. */
const IMPORT = /(?:from|import)\s*\(?\s*(["'])(\.{1,2}\/[^"']+)\1/g;

const closures = new Map<string, Promise<string>>();

/**
 * Gives the hash over the local modules reachable from `roots` (file URLs). Packages are pinned by
 * the lock file, whose text is one of the things hashed; a root that is no file counts by its name.
 *
 * Within one process the same roots keep their hash, as the loaded modules keep their code.
 */
export async function hashCode(roots: readonly string[]): Promise<string> {
  const key = roots.join("\n");
  const known = closures.get(key);
  if (known) return await known;
  const hash = hashClosure(roots);
  closures.set(key, hash);
  hash.catch(() => closures.delete(key));
  return await hash;
}

async function hashClosure(roots: readonly string[]): Promise<string> {
  const seen = new Map<string, string>();
  const pending = [...roots];
  while (pending.length > 0) {
    const url = pending.pop()!;
    if (seen.has(url)) continue;
    const text = await readModule(url);
    seen.set(url, text);
    for (const [, , specifier] of text.matchAll(IMPORT)) pending.push(new URL(specifier, url).href);
  }
  const root = new URL("../", import.meta.url).href;
  const files = [...seen].map(([url, text]) => `${url.replace(root, "")}\n${text}`).sort();
  const lock = await readModule(new URL("../deno.lock", import.meta.url).href);
  return await sha256([...files, lock].join("\n"));
}

/** The text of a module, empty when there is none: an example in a comment names files, too. */
async function readModule(url: string): Promise<string> {
  if (!url.startsWith("file:")) return "";
  try {
    return await Deno.readTextFile(new URL(url));
  } catch (error) {
    const { NotFound, IsADirectory, NotADirectory } = Deno.errors;
    if ([NotFound, IsADirectory, NotADirectory].some((Class) => error instanceof Class)) return "";
    throw error;
  }
}
