/** `deno task keys …`. */
import type { Arguments } from "./arguments.ts";
import {
  createApiKey,
  type CreatedApiKey,
  revokeApiKey,
  type Role,
  roles,
  rotateApiKey,
} from "../runtime/api_keys.ts";
import { UsageError } from "../runtime/errors.ts";
import { formatTable, print, printError } from "../runtime/terminal.ts";
import { type Action, runAction } from "./actions.ts";
import { checkName, readNumber, readText } from "./options.ts";

/** Runs one action on the keys of the store. */
export async function run(args: Arguments): Promise<void> {
  await runAction("keys", actions, args);
}

/** Limits that a key may be made with. */
const limitOptions = [
  "requests-per-minute",
  "rows-per-minute",
  "requests-per-day",
  "rows-per-day",
] as const;

const actions: Readonly<Record<string, Action>> = {
  list: {
    positionals: [],
    options: [],
    async handle(store, { options }) {
      const rows = await store.query(
        `select name, key_id, role, state, requests_per_minute, rows_per_minute, requests_per_day,
           rows_per_day, created_at, created_by, expires_at from api_keys order by name, created_at`,
      );
      printRows(rows, options.json === true);
    },
  },
  create: {
    positionals: ["NAME"],
    options: ["role", "expires", ...limitOptions, "reason"],
    async handle(store, { options }, name) {
      const lifetimeMs = readDuration("expires", options.expires);
      if (lifetimeMs === 0) {
        throw new UsageError("Cannot use an --expires of no time: the key would never work");
      }
      const key = await createApiKey(store, {
        name,
        role: readRole(options.role),
        requestsPerMinute: readLimit("requests-per-minute", options),
        rowsPerMinute: readLimit("rows-per-minute", options),
        requestsPerDay: readLimit("requests-per-day", options),
        rowsPerDay: readLimit("rows-per-day", options),
        ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
        ...readReason(options),
      });
      printSecret(key, options, `key "${key.name}" (${key.id}), role ${key.role}`);
    },
  },
  rotate: {
    positionals: ["NAME"],
    options: ["expires", "grace", "reason"],
    async handle(store, { options }, name) {
      const graceMs = readDuration("grace", options.grace);
      const lifetimeMs = readDuration("expires", options.expires);
      const key = await rotateApiKey(store, name, {
        ...(graceMs === undefined ? {} : { graceMs }),
        ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
        ...readReason(options),
      });
      const oldEnd = `the old one works until ${key.oldEndsAt.toISOString()}`;
      printSecret(key, options, `${oldEnd}; key "${key.name}" has a new secret (${key.id})`);
    },
  },
  revoke: {
    positionals: ["NAME|ID"],
    options: ["reason"],
    async handle(store, { options }, reference) {
      const ids = await revokeApiKey(store, reference, readReason(options).reason);
      if (options.json === true) return print(JSON.stringify({ revoked: ids }));
      print(`revoked ${ids.join(", ")}; a server that runs refuses it within a second`);
    },
  },
  history: {
    positionals: [],
    options: [],
    async handle(store, { options }) {
      const rows = await store.query(
        `select changed_at, name, key_id, action, ends_at, changed_by, reason from api_key_history
         order by change`,
      );
      printRows(rows, options.json === true);
    },
  },
};

/** The secret alone goes to standard output, so that a script can take it; the rest is beside it. */
function printSecret(key: CreatedApiKey, options: Arguments["options"], headline: string): void {
  if (options.json === true) return print(JSON.stringify(key));
  const end = key.expiresAt === null ? "no end" : `expires ${key.expiresAt.toISOString()}`;
  printError(`${headline}, ${end}\nsend it as X-API-Key or Bearer; it is not shown again:`);
  print(key.secret);
}

function printRows(rows: readonly Record<string, unknown>[], isJson: boolean): void {
  if (isJson) return print(JSON.stringify(rows));
  if (rows.length === 0) {
    return print(
      'no key yet, so a server answers this machine alone: "deno task keys create NAME --role ROLE"',
    );
  }
  print(formatTable(Object.keys(rows[0]), rows.map((row) => Object.values(row))));
}

function readRole(value: unknown): Role {
  const role = readText(value);
  if (role === undefined) {
    throw new UsageError(`Cannot create a key without --role: there are ${roles.join(", ")}`);
  }
  return checkName("role", role, roles);
}

function readLimit(
  name: typeof limitOptions[number],
  options: Arguments["options"],
): number | null {
  return options[name] === undefined ? null : readNumber(name, options[name]);
}

function readReason(options: Arguments["options"]): { reason?: string } {
  const reason = readText(options.reason);
  return reason === undefined ? {} : { reason };
}

const UNIT_MS: Readonly<Record<string, number>> = {
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
};

/** A hundred years: what a date and a timestamp can surely hold. */
const MAX_DURATION_MS = 36_525 * 86_400_000;

function readDuration(name: string, value: unknown): number | undefined {
  const text = readText(value);
  if (text === undefined) return undefined;
  const [, count = "", unit = ""] = /^(\d{1,9})([mhdw])$/.exec(text) ?? [];
  const ms = Number(count) * (UNIT_MS[unit] ?? NaN);
  if (ms <= MAX_DURATION_MS) return ms;
  throw new UsageError(
    `Cannot use --${name} "${text}": write a number and m, h, d or w, such as 24h or 90d`,
  );
}
