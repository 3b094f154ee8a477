/**
 * What people say to alerts: silences by matchers, a snooze of one alert, and that somebody has taken
 * it up. All are rows with an end that nobody changes; an earlier end is a row of its own. Each of both
 * is an entry of the audit log, whoever makes it.
 *
 * @module
 */
import { oneRow, recordSteps } from "../audit.ts";
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
  /** At most {@linkcode LONGEST_NOTE} characters. */
  readonly note?: string;
  /** Milliseconds since 1970; default, and what the past becomes, is now. */
  readonly startsAt?: number;
  /** Milliseconds from its start; without it an acknowledgement holds until the series resolves. */
  readonly forMs?: number;
  readonly now?: number;
}

/** Longest silence, and longest time before it: one that is forgotten hides what happens. */
const LONGEST_MS = 366 * 86_400_000;

/** Characters of the longest note. */
export const LONGEST_NOTE = 1_000;

/** Most matchers of a mark, and characters of the longest one. */
const MOST_MATCHERS = 20;
const LONGEST_MATCHER = 1_000;

/**
 * Puts a mark down and gives its id.
 * @throws {UsageError} when it has no matcher or too many, no end or one in more than a year, ends
 * before it begins, or says too much.
 */
export async function addMark(store: Store, options: MarkOptions): Promise<string> {
  const { kind, matchers, by, note = null, forMs, now = Date.now() } = options;
  const startsAt = Math.max(now, options.startsAt ?? now);
  checkMark(options, startsAt - now);
  const id = crypto.randomUUID().slice(0, 8);
  const endsAt = forMs === undefined ? null : new Date(startsAt + forMs);
  const written = matchers.map(formatMatcher).join(", ");
  const times = { starts_at: new Date(startsAt), ends_at: endsAt };
  await store.transaction([
    {
      sql: `insert into core.silences
          (silence_id, kind, matchers, note, created_by, created_at, starts_at, ends_at)
        values (?, ?, ?, ?, ?, ?, ?, ?)`,
      params: [id, kind, written, note, by, new Date(now), times.starts_at, endsAt],
    },
    ...recordSteps({
      action: "silence.created",
      by,
      ...oneRow(id, { silence_id: id, kind, matchers: written, note, ...times }),
    }),
  ]);
  return id;
}

function checkMark({ kind, matchers, note, forMs }: MarkOptions, untilStart: number): void {
  const refuse = (state: string) => new UsageError(`Cannot ${kind} alerts ${state}`);
  if (matchers.length === 0) throw refuse("without a matcher: it would hold for all of them");
  if (matchers.length > MOST_MATCHERS) {
    throw refuse(`by ${matchers.length} matchers: ${MOST_MATCHERS} are the most`);
  }
  if (matchers.some((matcher) => formatMatcher(matcher).length > LONGEST_MATCHER)) {
    throw refuse(`by such a matcher: it is longer than ${LONGEST_MATCHER} characters`);
  }
  if (note !== undefined && note.length > LONGEST_NOTE) {
    throw refuse(`with such a note: it is longer than ${LONGEST_NOTE} characters`);
  }
  if (forMs === undefined && kind === "ack") return;
  const instead = "give a time of up to a year, such as 2h";
  if (forMs === undefined) throw refuse(`for ever: ${instead}`);
  if (!(forMs > 0)) throw refuse(`until before that begins: ${instead}`);
  if (forMs > LONGEST_MS || untilStart > LONGEST_MS) throw refuse(`for so long: ${instead}`);
}

/**
 * Ends a mark now, also one that has not begun.
 * @throws {UsageError} when there is none of this id that holds or will.
 */
export async function endMark(
  store: Store,
  id: string,
  { by, now = Date.now() }: { readonly by: string; readonly now?: number },
): Promise<void> {
  const isOpen = "(ends_at is null or ends_at > ?)";
  const at = new Date(now);
  const marks = await store.query<{ id: string }>(
    `select silence_id as id from silences where ${isOpen} order by created_at, silence_id`,
    [at],
  );
  if (!marks.some((mark) => mark.id === id)) {
    const near = suggest(id, marks.map((mark) => mark.id));
    throw new UsageError(
      `Cannot end silence "${id.slice(0, 40)}": none of this id holds; ${
        near ? `did you mean "${near}"?` : 'see "deno task alerts silences"'
      }`,
    );
  }
  // Of two who end it at once, the second one finds nothing to end.
  const found = `from silences where silence_id = ? and ${isOpen}`;
  await store.transaction([
    ...recordSteps({
      action: "silence.ended",
      by,
      rows: `select silence_id as subject,
        json_object('silence_id', silence_id, 'kind', kind, 'matchers', matchers) as details ${found}`,
      params: [id, at],
    }),
    {
      sql: `insert into core.silence_ends select silence_id, ?, ? ${found}`,
      params: [by, at, id, at],
    },
  ]);
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
