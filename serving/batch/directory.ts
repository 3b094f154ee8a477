/** The one directory of a server in which batch jobs read and write. */
import { basename, dirname, join, relative, sep } from "node:path";
import { HttpError } from "../http_error.ts";

/** Longest path in a body. */
const MAX_PATH = 1000;

/** Where a job reads and writes: real paths inside the directory. */
export interface JobPaths {
  /** The directory itself. */
  readonly root: string;
  /** Relative to `root`. */
  readonly input: string;
  /** Absolute. */
  readonly output: string;
}

/**
 * Finds the files of a job. Whatever the paths say and whatever symbolic links there are, both files
 * lie inside the directory; an output that is there is refused unless it may be overwritten.
 *
 * @throws {HttpError} 422 that says what is wrong with a path, 500 when there is no such directory.
 */
export async function findJobPaths(
  directory: string,
  { path, output, overwrite }: {
    readonly path: string;
    readonly output: string;
    readonly overwrite: boolean;
  },
): Promise<JobPaths> {
  checkPath("path", path);
  checkPath("output", output);
  const root = await Deno.realPath(directory).catch((cause) => {
    throw new HttpError(
      "Cannot take a path: the server's batch directory is not there; its operator must create it",
      "internal",
      { cause },
    );
  });
  const input = await enter(root, "path", path);
  const source = await Deno.stat(input);
  if (!source.isFile) throw refuse("path", path, "it is no file");
  const folder = await enter(root, "output", dirname(output), output);
  const target = join(folder, basename(output));
  const there = await Deno.lstat(target).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw refuse("output", output, "it cannot be written", error);
  });
  if (there?.isSymlink) throw refuse("output", output, "it is a symbolic link");
  if (there && !there.isFile) throw refuse("output", output, "it is no file");
  if (there && there.dev === source.dev && there.ino === source.ino) {
    throw refuse("output", output, "it is the input, which stays as it is");
  }
  if (there && !overwrite) {
    throw refuse(
      "output",
      output,
      'it is there already; name another file, or send "overwrite": true',
    );
  }
  return { root, input: relative(root, input), output: target };
}

/** Refuses what is no plain relative path, before the file system is asked. */
function checkPath(field: string, path: string): void {
  const state = path.length > MAX_PATH
    ? `it is longer than ${MAX_PATH} characters`
    : /\p{Cc}/u.test(path)
    ? "it has control characters"
    : /[\\:]/.test(path)
    ? 'it has "\\" or ":"; separate folders by "/"'
    : /[*?[\]{}]/.test(path)
    ? "it has characters of a pattern; name one file"
    : path.startsWith("/")
    ? "it is absolute; paths count from the batch directory"
    : path.split("/").some((part) => part === "" || part.startsWith("."))
    ? 'it has an empty part or one that begins with "."'
    : undefined;
  if (state !== undefined) throw refuse(field, path.slice(0, 100), state);
}

/** Gives the real path of something in the directory, and refuses what lies outside. */
async function enter(root: string, field: string, path: string, shown = path): Promise<string> {
  const real = await Deno.realPath(join(root, path)).catch((error) => {
    throw refuse(field, shown, "there is no such file or folder in the batch directory", error);
  });
  if (real === root || real.startsWith(root.endsWith(sep) ? root : root + sep)) return real;
  throw refuse(field, shown, "it leads out of the batch directory");
}

function refuse(field: string, path: string, state: string, cause?: unknown): HttpError {
  // Control characters stand in the message as a client can read them.
  const shown = JSON.stringify(path);
  return new HttpError(`Cannot use "${field}" ${shown}: ${state}`, "invalid_input", {
    details: [{ field, message: state }],
    cause,
  });
}
