/** `deno task audit …`. */
import { verifyAudit } from "../runtime/audit.ts";
import { UsageError } from "../runtime/errors.ts";
import { formatTable, print } from "../runtime/terminal.ts";
import { type Action, readLimit, runAction } from "./actions.ts";
import type { Arguments } from "./arguments.ts";
import { readText } from "./options.ts";

/** Shows the audit log, or checks it. */
export function run(args: Arguments): Promise<number | void> {
  return runAction("audit", actions, args);
}

const actions: Readonly<Record<string, Action>> = {
  list: {
    positionals: [],
    options: ["limit"],
    async handle(store, args) {
      const rows = await store.query(
        `from (select number, time, actor, action, subject, details from audit
           order by number desc limit ?) order by number`,
        [readLimit(args)],
      );
      if (args.options.json === true) {
        return print(
          JSON.stringify(
            rows.map((row) => ({ ...row, details: JSON.parse(row.details as string) })),
          ),
        );
      }
      if (rows.length === 0) return print("nothing was changed yet");
      print(formatTable(Object.keys(rows[0]), rows.map((row) => Object.values(row))));
    },
  },
  verify: {
    positionals: [],
    options: ["head"],
    async handle(store, { options }) {
      const expected = readText(options.head);
      if (expected !== undefined && !/^[0-9a-f]{64}$/.test(expected)) {
        throw new UsageError(
          `Cannot use --head "${expected}": it is no head that "deno task audit verify" printed`,
        );
      }
      const state = await verifyAudit(store, expected);
      const { entries, head, firstBroken, lostHead } = state;
      if (options.json === true) print(JSON.stringify(state));
      else if (firstBroken !== null) {
        print(`broken at entry ${firstBroken.number}: ${firstBroken.reason}`);
      } else if (lostHead !== null) {
        print(
          `cut off or written anew: no entry has the hash ${lostHead}; ${entries} entries are left, head ${head}`,
        );
      } else print(`whole: ${entries} entries, head ${head}`);
      return firstBroken === null && lostHead === null ? 0 : 1;
    },
  },
};
