/**
 * One evaluator at a time, whatever process it is in: a lease is a row with an end, so that one who
 * dies holds up the others no longer than that.
 *
 * @module
 */
import type { Database, Step } from "../store/store.ts";

/** What a lease is for, and how long it lasts. */
export interface LeaseOptions {
  readonly name: string;
  /** Milliseconds until another may take it over; default 20,000. It is renewed three times as often. */
  readonly ttlMs?: number;
  /** Milliseconds to wait for who holds it; default 0. */
  readonly waitMs?: number;
  readonly now?: () => number;
  readonly signal?: AbortSignal;
}

/** A lease that is held. */
export interface Lease {
  /** A step that makes its transaction fail when somebody else has taken the lease over. */
  readonly guard: Step;
}

const POLL_MS = 100;

/** Runs `action` while the lease is held, and gives it back; gives `null` when another holds it. */
export async function withLease<T>(
  database: Database,
  options: LeaseOptions,
  action: (lease: Lease) => Promise<T>,
): Promise<T | null> {
  const { name, ttlMs = 20_000, waitMs = 0, now = Date.now, signal } = options;
  const holder = crypto.randomUUID();
  const deadline = performance.now() + waitMs;
  while (!await take(database, { name, holder, ttlMs, now: now() })) {
    if (performance.now() >= deadline || signal?.aborted) return null;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  let renewing: Promise<unknown> = Promise.resolve();
  const timer = setInterval(() => {
    // One that cannot be renewed is lost, and the guard says so.
    renewing = take(database, { name, holder, ttlMs, now: now() }).catch(() => false);
  }, ttlMs / 3);
  try {
    return await action({
      guard: {
        sql: `select case when count(*) = 0
            then error('Cannot record what was done: another process has taken it over') end
          from core.leases where name = ? and holder = ?`,
        params: [name, holder],
      },
    });
  } finally {
    clearInterval(timer);
    await renewing;
    await database.query("delete from core.leases where name = ? and holder = ?", [name, holder])
      .catch(() => {});
  }
}

/** One statement, so that of two who ask at once one gets it. */
async function take(
  database: Database,
  { name, holder, ttlMs, now }: {
    readonly name: string;
    readonly holder: string;
    readonly ttlMs: number;
    readonly now: number;
  },
): Promise<boolean> {
  // An end further away than any lease lasts was written by a clock that has jumped back since.
  const rows = await database.query(
    `insert into core.leases (name, holder, expires_at) values (?, ?, ?)
     on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at
     where leases.holder = excluded.holder or leases.expires_at <= ? or leases.expires_at > ?
     returning holder`,
    [name, holder, new Date(now + ttlMs), new Date(now), new Date(now + 2 * ttlMs)],
  );
  return rows.length === 1;
}
