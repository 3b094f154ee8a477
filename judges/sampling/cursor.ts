/**
 * How far a judge is: the day before which all that is drawn is judged. What is left to do never hangs
 * on it: it is what is drawn and has no verdict. The cursor only says which days need not be looked at,
 * and it says so with a fingerprint of their rows: a row that arrives late, or one that retention takes
 * away, makes another fingerprint, and everything is looked at again.
 *
 * @module
 */
import type { Store } from "../../runtime/store/store.ts";
import { hashDefinition } from "../forms/form.ts";
import type { Sample } from "../subjects/subjects.ts";

/** Whose cursor it is. */
export interface CursorOwner {
  readonly judge: string;
  readonly judgeVersion: string;
  readonly sample: Sample;
}

/** Gives the time before which nothing is left to do, or `null`: look at everything. */
export async function readCursor(
  store: Store,
  { judge, judgeVersion, sample }: CursorOwner,
): Promise<Date | null> {
  const { plan } = sample;
  const [row] = await store.query<{ day: string; rows: number; fingerprint: string }>(
    `select day::varchar as day, rows, fingerprint from core.judge_cursors
     where judge = ? and judge_version = ? and model = ? and version = ? and plan = ?`,
    [judge, judgeVersion, plan.model, plan.version, hashDefinition(plan)],
  );
  if (row === undefined) return null;
  const day = new Date(`${row.day}T00:00:00Z`);
  const now = await fingerprint(store, sample, day);
  return now.rows === row.rows && now.fingerprint === row.fingerprint ? day : null;
}

/** Keeps the day of the first row that is left, or the current one: it has not ended. */
export async function writeCursor(
  store: Store,
  { judge, judgeVersion, sample }: CursorOwner,
  firstLeft: Date | null,
): Promise<void> {
  const { plan } = sample;
  const today = new Date();
  const first = firstLeft === null || firstLeft > today ? today : firstLeft;
  const day = new Date(`${first.toISOString().slice(0, 10)}T00:00:00Z`);
  const { rows, fingerprint: mark } = await fingerprint(store, sample, day);
  await store.query(
    `insert or replace into core.judge_cursors values (?, ?, ?, ?, ?, ?::timestamp::date, ?, ?, ?)`,
    [
      ...[judge, judgeVersion, plan.model, plan.version, hashDefinition(plan)],
      ...[day, rows, mark, today],
    ],
  );
}

async function fingerprint(store: Store, sample: Sample, before: Date) {
  const { sql, params } = sample.existing(before);
  // Of one text: hashes of two values are joined in a way in which those of a request cancel out.
  const [row] = await store.query<{ rows: number; fingerprint: string }>(
    `select count(*) as rows, coalesce(bit_xor(hash(request_id || ':' || row)), 0)::varchar as fingerprint
     from (${sql})`,
    params,
  );
  return row;
}
