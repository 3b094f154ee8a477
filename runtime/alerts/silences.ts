/**
 * What people say to alerts: silences by matchers, a snooze of one alert, and that somebody has taken
 * it up. All are rows with an end that nobody changes; an earlier end is a row of its own.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import { suggest } from "../../numeric/suggest.ts";
import type { Store } from "../store/store.ts";
import { formatMatcher, type Matcher, matches, parseMatcher } from "./matchers.ts";
import type { Labels } from "./state.ts";

/** `silence` tells nobody, `snooze` is a state of its own, `ack` tells nobody again. */
export type MarkKind = "silence" | "snooze" | "ack";

/** One silence, snooze or acknowledgement that holds now. */
export interface Mark {
  readonly id: string;
  readonly kind: MarkKind;
  readonly matchers: readonly Matcher[];
  readonly note: string | null;
  readonly by: string;
  readonly createdAt: number;
  readonly endsAt: number | null;
}

/** What to put down. */
export interface MarkOptions {
  readonly kind: MarkKind;
  readonly matchers: readonly Matcher[];
  readonly by: string;
  readonly note?: string;
  /** Milliseconds; without it an acknowledgement holds until the series resolves. */
  readonly forMs?: number;
  readonly now?: number;
}

/** Longest silence: one that is forgotten hides what happens. */
const LONGEST_MS = 366 * 86_400_000;

/**
 * Puts a mark down and gives its id.
 * @throws {UsageError} when it has no matcher or no end, or one in more than a year.
 */
export async function addMark(store: Store, options: MarkOptions): Promise<string> {
  const { kind, matchers, by, note, forMs, now = Date.now() } = options;
  if (matchers.length === 0) {
    throw new UsageError(`Cannot ${kind} alerts without a matcher: it would hold for all of them`);
  }
  const hasEnd = forMs !== undefined && forMs > 0 && forMs <= LONGEST_MS;
  if (!hasEnd && (kind !== "ack" || forMs !== undefined)) {
    throw new UsageError(
      `Cannot ${kind} alerts ${
        forMs === undefined ? "for ever" : "for such a time"
      }: give one of up to a year, such as 2h`,
    );
  }
  const id = crypto.randomUUID().slice(0, 8);
  await store.query(
    `insert into core.silences
       (silence_id, kind, matchers, note, created_by, created_at, starts_at, ends_at)
     values (?, ?, ?, ?, ?, ?, ?, ?)`,
    [
      id,
      kind,
      matchers.map(formatMatcher).join(", "),
      note ?? null,
      by,
      new Date(now),
      new Date(now),
      forMs === undefined ? null : new Date(now + forMs),
    ],
  );
  return id;
}

/**
 * Ends a mark now.
 * @throws {UsageError} when there is none of this id that still holds.
 */
export async function endMark(
  store: Store,
  id: string,
  { by, now = Date.now() }: { readonly by: string; readonly now?: number },
): Promise<void> {
  const marks = await readMarks(store, now);
  if (!marks.some((mark) => mark.id === id)) {
    const near = suggest(id, marks.map((mark) => mark.id));
    throw new UsageError(
      `Cannot end silence "${id}": none of this id holds; ${
        near ? `did you mean "${near}"?` : 'see "deno task alerts silences"'
      }`,
    );
  }
  await store.query("insert into core.silence_ends values (?, ?, ?)", [id, by, new Date(now)]);
}

/** The marks that hold at `now`, the oldest first. */
export async function readMarks(store: Pick<Store, "query">, now: number): Promise<Mark[]> {
  const rows = await store.query(
    `select silence_id, kind, matchers, note, created_by, created_at, ends_at from silences
     where starts_at <= ? and (ends_at is null or ends_at > ?) order by created_at, silence_id`,
    [new Date(now), new Date(now)],
  );
  return rows.map((row) => ({
    id: row.silence_id as string,
    kind: row.kind as MarkKind,
    matchers: splitMatchers(row.matchers as string),
    note: row.note as string | null,
    by: row.created_by as string,
    createdAt: Date.parse(row.created_at as string),
    endsAt: row.ends_at === null ? null : Date.parse(row.ends_at as string),
  }));
}

function splitMatchers(text: string): Matcher[] {
  return [...text.matchAll(/\w+(?:=~|!~|!=|=)"(?:[^"\\]|\\.)*"/gs)].map(([each]) =>
    parseMatcher(each)
  );
}

/** Until when an alert is snoozed, or `null`. */
export function snoozedUntil(marks: readonly Mark[], alert: string): number | null {
  const ends = marks.filter(({ kind, matchers }) =>
    kind === "snooze" && matches(matchers, { alert })
  )
    .map(({ endsAt }) => endsAt ?? Infinity);
  return ends.length === 0 ? null : Math.max(...ends);
}

/** The mark that keeps these labels from being told, or `undefined`. */
export function findSilence(marks: readonly Mark[], labels: Labels): Mark | undefined {
  return marks.find(({ kind, matchers }) => kind !== "ack" && matches(matchers, labels));
}

/** Whether somebody has taken up what is active since `activeAt`. */
export function isAcknowledged(
  marks: readonly Mark[],
  labels: Labels,
  activeAt: number,
): boolean {
  return marks.some(({ kind, matchers, createdAt }) =>
    kind === "ack" && createdAt >= activeAt && matches(matchers, labels)
  );
}
