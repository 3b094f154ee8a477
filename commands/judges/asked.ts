/** A judge that a command names, ready to be asked. */
import { type Asked, openAsking, probe } from "../../judges/asking.ts";
import { judgingParams } from "../../run.ts";
import { UsageError } from "../../runtime/errors.ts";
import type { JudgesContext } from "../judges.ts";
import { choosePlugins, readNumber } from "../options.ts";

/**
 * Gives the judge.
 * @throws {UsageError} when there is none of that name.
 * @throws {Error} when it cannot answer now.
 */
export async function openJudge(
  { project, version, args, names: [name] }: JudgesContext,
): Promise<Asked> {
  const judges = choosePlugins(project.plugins, "judge", [name]);
  const { model, version: number } = version;
  const open = await openAsking(project.store, judges, {
    model,
    version: number,
    params: judgingParams(project.config),
    signal: args.signal,
  });
  const { ready, detail } = await probe(judges[0], args.signal);
  if (!ready) throw new Error(`Cannot ask judge "${name}": ${detail}`);
  return await open(judges[0]);
}

/**
 * Reads `--rows`.
 * @throws {UsageError} when it is no positive integer.
 */
export function readRows({ args: { options } }: JudgesContext, otherwise: number): number {
  const rows = options.rows === undefined ? otherwise : readNumber("rows", options.rows);
  if (Number.isSafeInteger(rows) && rows > 0) return rows;
  throw new UsageError(`Cannot use --rows "${options.rows}": it must be a positive integer`);
}
