/**
 * API keys: who may call a server, in which role and how much. The store keeps a hash of each secret
 * and an append-only history; the secret itself is shown once, to whom made the key.
 *
 * The hash is one plain sha256. Slow, salted hashes protect what people choose and what can be
 * guessed; a secret here has {@linkcode SECRET_BYTES} random bytes, which nobody guesses at any speed,
 * and a check that costs a microsecond instead of 100 ms cannot be used to stall the server.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { recordSteps } from "./audit.ts";
import { suggest, UsageError } from "./errors.ts";
import { userName } from "./registry/model_registry.ts";
import type { SqlValue, Store } from "./store/store.ts";

/** Roles, the least first: each may do what those before it may. */
export const roles = ["viewer", "predictor", "operator", "admin"] as const;

/** One of {@linkcode roles}. */
export type Role = typeof roles[number];

/**
 * Whether `role` may do what needs `least`.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { hasRole } from "./api_keys.ts";
 *
 * assert(hasRole("operator", "predictor"));
 * assert(!hasRole("viewer", "predictor"));
 * ```
 */
export function hasRole(role: Role, least: Role): boolean {
  return roles.indexOf(role) >= roles.indexOf(least);
}

/** Random bytes of a secret: 192 bits. */
export const SECRET_BYTES = 24;

/** How long the old secret works on after a rotation: 24 hours. */
export const DEFAULT_GRACE_MS = 24 * 3_600_000;

/** What a key may do at most, in a minute and in a day of UTC; `null` is without limit. */
export interface Limits {
  readonly requestsPerMinute: number | null;
  readonly rowsPerMinute: number | null;
  readonly requestsPerDay: number | null;
  readonly rowsPerDay: number | null;
}

/** The limits of a key that has none. */
export const noLimits: Limits = {
  requestsPerMinute: null,
  rowsPerMinute: null,
  requestsPerDay: null,
  rowsPerDay: null,
};

/** A key, without its secret. */
export interface ApiKey extends Limits {
  /** Begins the secret, such as `gp_0123456789ab`; no secret itself. */
  readonly id: string;
  /** Names the caller in the inference table; both secrets of a rotation have it. */
  readonly name: string;
  readonly role: Role;
  /** When it stops to work, in milliseconds of Unix time; `null` is never. */
  readonly expiresAt: number | null;
  readonly isRotated: boolean;
  readonly isRevoked: boolean;
}

/** What a new key is like. */
export interface NewApiKey extends Partial<Limits> {
  readonly name: string;
  readonly role: Role;
  /** Milliseconds it works; left out: without end. */
  readonly lifetimeMs?: number;
  readonly reason?: string;
}

/** A new key, and its secret for the only time. */
export interface CreatedApiKey {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly secret: string;
  readonly expiresAt: Date | null;
}

/** Letters first, so that no name is an id; `key-…` names the key of the environment. */
const NAME = /^(?!gp_)(?!key-[0-9a-f]{8}$)[a-z][a-z0-9._-]{0,62}$/;

/** The id is the part that may be shown. */
const SECRET = /^(gp_[0-9a-f]{12})_[0-9a-f]{48}$/;

/**
 * Makes a key.
 * @throws {UsageError} when the name or a limit is none, or the name was ever used: a name in the
 * inference table stands for one caller.
 *
 * @example
 * ```ts
 * import { assertEquals, assertMatch } from "@std/assert";
 * import { ApiKeys, createApiKey } from "./api_keys.ts";
 * import { openStore } from "./store/store.ts";
 *
 * await using store = await openStore(":memory:");
 * const { secret } = await createApiKey(store, { name: "ci", role: "predictor" });
 * assertMatch(secret, /^gp_/);
 * using keys = await ApiKeys.open(store);
 * assertEquals(keys.find(secret)?.name, "ci");
 * ```
 */
export async function createApiKey(store: Store, entry: NewApiKey): Promise<CreatedApiKey> {
  const { name, reason = "created by hand" } = entry;
  if (!NAME.test(name)) {
    throw new UsageError(
      `Cannot create key "${name}": a name begins with a letter, is of at most 63 small letters, ` +
        "digits, dots, _ and -, and does not look like a key's id",
    );
  }
  const key = makeKey(entry);
  await store.transaction([
    insertKey(key, "where not exists (select 1 from core.api_keys where name = ?)", [name]),
    logStep(key, { action: "created", reason, endsAt: null }),
    ...recordKey("created", { reason, where: "key_id = ?", params: [key.id] }),
  ]);
  const [found] = await store.query("select 1 from core.api_keys where key_id = ?", [key.id]);
  if (found) return describe(key);
  throw new UsageError(
    `Cannot create key "${name}": there is one, and names are not used again; ` +
      `rotate it with "deno task keys rotate ${name}", or choose another name`,
  );
}

/** How a key is rotated. */
export interface RotateOptions {
  /** Milliseconds the old secret works on; default {@linkcode DEFAULT_GRACE_MS}. */
  readonly graceMs?: number;
  /** Milliseconds the new secret works; default as long as the old one was to. */
  readonly lifetimeMs?: number;
  readonly reason?: string;
}

/**
 * Gives a key a new secret; the old one works on for a while, so that callers can change over.
 * @throws {UsageError} when there is no such key, or it was revoked.
 */
export async function rotateApiKey(
  store: Store,
  name: string,
  options: RotateOptions = {},
): Promise<CreatedApiKey & { readonly oldEndsAt: Date }> {
  const rows = await findRows(store, name);
  const current = rows.findLast((row) => row.state !== "revoked" && row.rotated_at === null);
  if (current === undefined) {
    throw new UsageError(
      `Cannot rotate key "${name}": it is revoked; create a key of another name`,
    );
  }
  const { reason = "rotated by hand", graceMs = DEFAULT_GRACE_MS } = options;
  const given = current.given_expires_at === null
    ? null
    : Date.parse(current.given_expires_at) - Date.parse(current.created_at);
  const lifetimeMs = options.lifetimeMs ?? given;
  const key = makeKey({
    name: current.name,
    role: current.role,
    ...readLimits(current),
    ...(lifetimeMs === null ? {} : { lifetimeMs }),
  });
  const endsAt = new Date(key.createdAt.getTime() + graceMs);
  await store.transaction([
    // Of two rotations at once the second finds the key replaced, and does nothing.
    insertKey(
      key,
      `where not exists (select 1 from core.api_key_log
        where key_id = ? and action in ('rotated', 'revoked'))`,
      [current.key_id],
    ),
    logStep(key, { action: "rotated", reason, endsAt }, current.key_id),
    logStep(key, { action: "created", reason: `replaces ${current.key_id}`, endsAt: null }),
    ...recordKey("rotated", { reason, where: "key_id = ?", params: [key.id] }),
  ]);
  const [found] = await store.query("select 1 from core.api_keys where key_id = ?", [key.id]);
  if (!found) {
    throw new UsageError(`Cannot rotate key "${name}": it was changed meanwhile; look at it again`);
  }
  const oldEnd = current.expires_at === null ? Infinity : Date.parse(current.expires_at);
  return { ...describe(key), oldEndsAt: new Date(Math.min(oldEnd, endsAt.getTime())) };
}

/**
 * Ends a key at once: by name with every secret it has, by id that one; gives the ids.
 * @throws {UsageError} when there is no such key, or it is revoked already.
 */
export async function revokeApiKey(
  store: Store,
  reference: string,
  reason = "revoked by hand",
): Promise<string[]> {
  const rows = await findRows(store, reference);
  const ids = rows.filter((row) => row.state !== "revoked").map((row) => row.key_id);
  if (ids.length === 0) throw new UsageError(`Cannot revoke key "${reference}": it is already`);
  const now = new Date();
  const notRevoked = `key_id = ? and not exists (
    select 1 from core.api_key_log l where l.key_id = k.key_id and action = 'revoked')`;
  await store.transaction(ids.flatMap((id) => [
    ...recordKey("revoked", { reason, where: notRevoked, params: [id] }),
    {
      sql: `insert into core.api_key_log
          (key_id, name, action, ends_at, reason, changed_by, changed_at)
        select key_id, name, 'revoked', ?, ?, ?, ? from core.api_keys k where ${notRevoked}`,
      params: [now, reason, userName(), now, id],
    },
  ]));
  return ids;
}

/** Whether the store has a key, in whatever state: from the first one on, callers need one. */
export async function hasApiKeys(store: Store): Promise<boolean> {
  const [{ count }] = await store.query<{ count: number }>(
    "select count(*) as count from core.api_keys",
  );
  return count > 0;
}

interface KeyRow extends Record<string, unknown> {
  readonly key_id: string;
  readonly name: string;
  readonly role: Role;
  readonly state: "active" | "rotated" | "expired" | "revoked";
  readonly requests_per_minute: number | null;
  readonly rows_per_minute: number | null;
  readonly requests_per_day: number | null;
  readonly rows_per_day: number | null;
  readonly created_at: string;
  readonly expires_at: string | null;
  /** As it was made, whatever came after. */
  readonly given_expires_at: string | null;
  readonly rotated_at: string | null;
}

function readLimits(row: KeyRow): Limits {
  return {
    requestsPerMinute: row.requests_per_minute,
    rowsPerMinute: row.rows_per_minute,
    requestsPerDay: row.requests_per_day,
    rowsPerDay: row.rows_per_day,
  };
}

async function findRows(store: Store, reference: string): Promise<KeyRow[]> {
  const rows = await store.query<KeyRow>(
    `select v.*, k.expires_at as given_expires_at from api_keys v join core.api_keys k using (key_id)
     where v.key_id = ? or v.name = ? order by v.created_at`,
    [reference, reference],
  );
  if (rows.length > 0) return rows;
  const known = await store.query<{ name: string }>(
    "select distinct name from api_keys order by 1",
  );
  const names = known.map((row) => row.name);
  const near = suggest(reference, names);
  throw new UsageError(
    `Cannot find key "${reference}"${near ? `; did you mean "${near}"? There` : ": there"} ${
      names.length === 0 ? "are none" : `are ${names.join(", ")}`
    }`,
  );
}

interface FreshKey extends Limits {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly secret: string;
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
}

function makeKey(entry: NewApiKey): FreshKey {
  const { name, role, lifetimeMs, ...given } = entry;
  const { requestsPerMinute, rowsPerMinute, requestsPerDay, rowsPerDay } = {
    ...noLimits,
    ...given,
  };
  const limits = { requestsPerMinute, rowsPerMinute, requestsPerDay, rowsPerDay };
  for (const [what, limit] of Object.entries(limits)) {
    if (limit === null || (Number.isInteger(limit) && limit > 0 && limit < 2 ** 31)) continue;
    throw new UsageError(
      `Cannot limit key "${name}" to ${limit} a ${
        what.endsWith("PerDay") ? "day" : "minute"
      }: it must be a positive integer`,
    );
  }
  const id = `gp_${randomHex(6)}`;
  const createdAt = new Date();
  return {
    id,
    name,
    role,
    secret: `${id}_${randomHex(SECRET_BYTES)}`,
    ...limits,
    createdAt,
    expiresAt: lifetimeMs === undefined ? null : new Date(createdAt.getTime() + lifetimeMs),
  };
}

function insertKey(key: FreshKey, condition: string, params: readonly string[]) {
  return {
    sql: `insert into core.api_keys
        (key_id, name, role, secret_hash, requests_per_minute, rows_per_minute, requests_per_day,
         rows_per_day, expires_at, created_at, created_by)
      select ?, ?, ?, ?, ?::integer, ?::integer, ?::integer, ?::integer, ?::timestamp, ?, ?
      from (select 1) ${condition}`,
    params: [
      key.id,
      key.name,
      key.role,
      digest(key.secret).toHex(),
      key.requestsPerMinute,
      key.rowsPerMinute,
      key.requestsPerDay,
      key.rowsPerDay,
      key.expiresAt,
      key.createdAt,
      userName(),
      ...params,
    ],
  };
}

/** Writes a row about `key`, or about `id`, when `key` was stored. */
function logStep(
  key: FreshKey,
  entry: {
    readonly action: "created" | "rotated";
    readonly reason: string;
    readonly endsAt: Date | null;
  },
  id = key.id,
) {
  return {
    sql: `insert into core.api_key_log
        (key_id, name, action, ends_at, reason, changed_by, changed_at)
      select ?, name, ?, ?::timestamp, ?, ?, ? from core.api_keys where key_id = ?`,
    params: [id, entry.action, entry.endsAt, entry.reason, userName(), key.createdAt, key.id],
  };
}

/** Records what happened to those keys that `where` finds. */
function recordKey(
  action: "created" | "rotated" | "revoked",
  { reason, where, params }: {
    readonly reason: string;
    readonly where: string;
    readonly params: readonly SqlValue[];
  },
) {
  return recordSteps({
    action: `api_key.${action}`,
    by: userName(),
    rows: `select name as subject, json_object('name', name, 'key_id', key_id, 'role', role,
        'reason', ?::varchar) as details
      from core.api_keys k where ${where}`,
    params: [reason, ...params],
  });
}

function describe({ id, name, role, secret, expiresAt }: FreshKey): CreatedApiKey {
  return { id, name, role, secret, expiresAt };
}

function randomHex(bytes: number): string {
  return crypto.getRandomValues(new Uint8Array(bytes)).toHex();
}

function digest(secret: string): Uint8Array {
  return createHash("sha256").update(secret).digest();
}

/** Changes are looked for this often: so long may a revoked key still work. */
const REFRESH_MS = 1_000;

/** Compared when there is no key of an id, so that it takes as long as when there is. */
const NO_HASH = new Uint8Array(32);

/**
 * The keys of a store in memory, never older than about a second: read again after a commit of this
 * process, and each second when another process owns the store and its commits are not heard of.
 */
export class ApiKeys implements Disposable {
  readonly #store: Store;
  #keys = new Map<string, { readonly key: ApiKey; readonly hash: Uint8Array }>();
  /** Newest change that is in memory; -1 before the first look. */
  #change = -1;
  #isStale = true;
  #refreshing: Promise<void> | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #stopListening: () => void = () => {};

  private constructor(store: Store) {
    this.#store = store;
  }

  /** Reads the keys and follows them until it is disposed of. */
  static async open(store: Store): Promise<ApiKeys> {
    const keys = new ApiKeys(store);
    await keys.refresh();
    keys.#stopListening = store.onCommit(() => keys.#isStale = true);
    keys.#timer = setInterval(() => {
      // A store that does not answer for a moment leaves the keys as they are.
      if (keys.#isStale || !store.isOwner) keys.refresh().catch(() => keys.#isStale = true);
    }, REFRESH_MS);
    return keys;
  }

  /** Keys there are, in whatever state. */
  get size(): number {
    return this.#keys.size;
  }

  /** Each key that callers may still have, with the secret that was given last. */
  *current(): Generator<ApiKey> {
    for (const { key } of this.#keys.values()) if (!key.isRotated && !key.isRevoked) yield key;
  }

  /**
   * Gives the key of a secret, `null` when there is none; whether it still works is for the caller to
   * see. The hashes are compared in constant time.
   */
  find(secret: string): ApiKey | null {
    const found = this.#keys.get(SECRET.exec(secret)?.[1] ?? "");
    const isRight = timingSafeEqual(digest(secret), found?.hash ?? NO_HASH);
    return isRight && found !== undefined ? found.key : null;
  }

  /** Reads what has changed since the last look; calls at once share one. */
  refresh(): Promise<void> {
    return this.#refreshing ??= this.#refresh().finally(() => this.#refreshing = undefined);
  }

  async #refresh(): Promise<void> {
    this.#isStale = false;
    const [{ change }] = await this.#store.query<{ change: number }>(
      "select coalesce(max(change), 0) as change from core.api_key_log",
    );
    if (change === this.#change) return;
    const rows = await this.#store.query<KeyRow & { secret_hash: string }>(
      `select v.*, k.secret_hash from api_keys v join core.api_keys k using (key_id)`,
    );
    this.#keys = new Map(rows.map((row) => [row.key_id, {
      key: {
        id: row.key_id,
        name: row.name,
        role: row.role,
        ...readLimits(row),
        expiresAt: row.expires_at === null ? null : Date.parse(row.expires_at),
        isRotated: row.rotated_at !== null,
        isRevoked: row.state === "revoked",
      },
      hash: Uint8Array.fromHex(row.secret_hash),
    }]));
    // Read before the keys: a change in between is read again.
    this.#change = change;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#stopListening();
  }
}
