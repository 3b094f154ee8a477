/** Commands of several actions, such as `keys list` and `keys create NAME`: what to check, and where to go. */
import type { Arguments } from "./arguments.ts";
import { UsageError } from "../runtime/errors.ts";
import type { OutboxDispatcher } from "../runtime/notifications/dispatcher.ts";
import { openStore, type Store } from "../runtime/store/store.ts";
import { print } from "../runtime/terminal.ts";
import { checkName, readNumber } from "./options.ts";
import { loadStorePath } from "./store_path.ts";

/** One action of a command. */
export interface Action {
  /** Names of its positional arguments, for the usage. */
  readonly positionals: readonly string[];
  /** Options that it takes beside those of every action. */
  readonly options: readonly string[];
  /** Gives the exit code when it is not 0. */
  handle(store: Store, args: Arguments, reference: string): Promise<number | void>;
}

/**
 * Runs the action that the first argument names, `list` without one, on the store of the config.
 * @throws {UsageError} when there is no such action, or it takes other arguments or options.
 */
export async function runAction(
  command: string,
  actions: Readonly<Record<string, Action>>,
  args: Arguments,
): Promise<number | void> {
  const [name = "list", ...rest] = args.positionals;
  const { handle, options, positionals } = actions[checkName("action", name, Object.keys(actions))];
  if (rest.length !== positionals.length) {
    throw new UsageError(
      `Cannot ${name} ${command} with ${rest.length} arguments: usage is deno task ${
        [command, name, ...positionals].join(" ")
      }`,
    );
  }
  const odd = Object.values(actions).flatMap((action) => action.options).find((option) =>
    args.options[option] !== undefined && !options.includes(option)
  );
  if (odd !== undefined) {
    throw new UsageError(
      `Cannot use --${odd} with "${command} ${name}": it takes ${
        options.map((option) => `--${option}`).join(", ") || "none of these options"
      }`,
    );
  }
  await using store = await openStore(await loadStorePath(args), { create: false, publish: false });
  return await handle(store, args, rest[0]);
}

/** Rows that a list shows unless `--limit` says otherwise. */
const DEFAULT_LIMIT = 50;

/**
 * Gives the most rows to show.
 * @throws {UsageError} when `--limit` is no positive integer.
 */
export function readLimit({ options }: Arguments): number {
  const limit = options.limit === undefined ? DEFAULT_LIMIT : readNumber("limit", options.limit);
  if (Number.isSafeInteger(limit) && limit > 0) return limit;
  throw new UsageError(`Cannot use --limit "${options.limit}": it must be a positive integer`);
}

/** Sends what an outbox holds and is due, and prints what came of it; 1 when something was not sent. */
export async function deliverDue(
  dispatcher: OutboxDispatcher,
  { signal, isJson }: { readonly signal: AbortSignal; readonly isJson: boolean },
): Promise<number> {
  const stop = () => void dispatcher.close();
  signal.addEventListener("abort", stop, { once: true });
  const { delivered, retried, dead } = await dispatcher.drain();
  signal.removeEventListener("abort", stop);
  const obstacles = [...dispatcher.obstacles.values()];
  print(
    isJson
      ? JSON.stringify({ delivered, retried, dead, obstacles })
      : `${delivered} delivered, ${retried} failed and tried again later, ${dead} dead letters`,
  );
  return retried + dead + obstacles.length === 0 ? 0 : 1;
}
