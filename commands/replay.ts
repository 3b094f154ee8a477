/** `deno task replay REQUEST_ID`. */
import type { Arguments } from "./arguments.ts";
import { replayRequest } from "../runtime/inference/replay.ts";
import { openStore } from "../runtime/store/store.ts";
import { formatCount, print } from "../runtime/terminal.ts";
import { loadStorePath } from "./store_path.ts";

/** Repeats a logged request; 1 when the answer differs. */
export async function run(args: Arguments): Promise<number> {
  await using store = await openStore(await loadStorePath(args), { create: false, publish: false });
  const replay = await replayRequest(store, args.positionals[0]);
  const { requestId, model, version, artifact, rows, difference } = replay;
  if (args.options.json === true) {
    print(JSON.stringify(replay));
    return difference === null ? 0 : 1;
  }
  const subject = `${requestId}: ${formatCount(rows)} rows on ${model} version ${version} (${
    artifact.slice(0, 12)
  })`;
  print(
    difference === null
      ? `${subject} give the same answer bit for bit`
      : `${subject} differ first in row ${difference.row}: ${difference.what} was ${difference.logged} and is ${difference.replayed}`,
  );
  return difference === null ? 0 : 1;
}
