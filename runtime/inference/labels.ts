/**
 * True labels that arrive after the prediction: late ones and corrections are kept with history.
 *
 * @module
 */
import { suggest, UsageError } from "../errors.ts";
import type { SqlValue, Step, Store } from "../store/store.ts";

/** The true label of one predicted record. */
export interface Label {
  readonly requestId: string;
  /** Row within its request, from 0. */
  readonly row: number;
  readonly label: string;
}

/** What may be stored. */
export interface LabelOptions {
  /** Whether a class that the record's model does not know is taken; default false. */
  readonly allowNewClasses?: boolean;
  /** Whether labels of records that were never predicted are left out; default false: none is stored. */
  readonly allowMissing?: boolean;
}

/** A class that the model of its records does not know. */
export interface NewClass {
  readonly label: string;
  readonly labels: number;
  readonly model: string;
  readonly version: number;
  /** The class that was perhaps meant. */
  readonly nearest: string | null;
}

/** What labels are to the store. */
export interface LabelReport {
  readonly total: number;
  /** First labels of their records. */
  readonly created: number;
  /** Labels other than the one that counts now. */
  readonly corrected: number;
  /** Labels that say what the store knows; they are not stored again. */
  readonly same: number;
  /** Labels of records that were never predicted. */
  readonly missing: number;
  /** The first of them. */
  readonly firstMissing: readonly { readonly requestId: string; readonly row: number }[];
  readonly newClasses: readonly NewClass[];
}

/** Labels were refused; each of `details` is one sentence about some of them. None was stored. */
export class LabelsRefusedError extends UsageError {
  constructor(
    message: string,
    readonly details: readonly string[],
    /** The option that would take or leave out these labels. */
    readonly allowedBy: "allowMissing" | "allowNewClasses",
  ) {
    super(message);
  }
}

/** Refused labels that a report names. */
const SHOWN = 10;

/** Different labels of one record at once; each is a row of the history. */
const MAX_TURNS = 100;

/** Rows of labels that were looked up, as SQL behind `from`; see {@linkcode lookUp}. */
export interface LookedUp {
  readonly from: string;
  readonly params: readonly SqlValue[];
}

/**
 * Stores labels, all or none; a second label of the same record counts from then on, and the first
 * one stays in the history.
 *
 * @throws {LabelsRefusedError} when a record was never predicted or a class is not one of its model;
 * the message names the first ones.
 */
export async function recordLabels(
  store: Store,
  labels: readonly Label[],
  source: string | null,
  options: LabelOptions = {},
): Promise<LabelReport> {
  const rows = JSON.stringify(
    labels.map(({ requestId, row, label }, position) => ({
      position,
      request_id: requestId,
      row,
      label,
    })),
  );
  const given = `(select *, null::timestamp as labeled_at from (select unnest(from_json(?::json,
      '[{"position":"INTEGER","request_id":"VARCHAR","row":"INTEGER","label":"VARCHAR"}]'),
    recursive := true)))`;
  const looked = { from: `(${lookUp(given)})`, params: [rows] };
  const report = await reportLabels(store, looked);
  checkReport(report, options);
  await store.transaction(await insertSteps(store, looked, source));
  return report;
}

/**
 * SQL that finds what each of some labels is to the store; `given` has the columns `position`,
 * `request_id`, `row`, `label` and `labeled_at`. Several labels of one record take turns, by time and
 * then by position.
 */
export function lookUp(given: string): string {
  const sequence =
    "(partition by g.request_id, g.row order by coalesce(g.labeled_at, now()::timestamp), g.position)";
  return `with given as (select * from ${given}),
    predicted as (select request_id, row, min(model) as model, min(version) as version
      from core.inferences i semi join given g on i.request_id = g.request_id and i.row = g.row
      group by request_id, row),
    known as (select request_id, row, arg_max(label, change) as label
      from core.labels l semi join given g on l.request_id = g.request_id and l.row = g.row
      group by request_id, row)
    select g.position, g.request_id, g.row, g.label, g.labeled_at, p.model, p.version,
      p.model is null as is_missing, row_number() over ${sequence} as turn,
      coalesce(lag(g.label) over ${sequence}, k.label) as previous
    from given g
    left join predicted p on g.request_id = p.request_id and g.row = p.row
    left join known k on g.request_id = k.request_id and g.row = k.row`;
}

/** Counts what labels are to the store, and names the first that it does not know. */
export async function reportLabels(
  store: Store,
  { from, params }: LookedUp,
): Promise<LabelReport> {
  const [counts] = await store.query<Record<string, number>>(
    `select count(*) as total, count(*) filter (is_missing) as missing,
       count(*) filter (not is_missing and previous is null) as created,
       count(*) filter (not is_missing and previous <> label) as corrected,
       count(*) filter (not is_missing and previous = label) as same
     from ${from}`,
    params,
  );
  const missing = counts.missing === 0
    ? []
    : await store.query<{ request_id: string; row: number }>(
      `select request_id, row from ${from} where is_missing order by position limit ${SHOWN}`,
      params,
    );
  const classes = await store.query<{
    label: string;
    model: string;
    version: number;
    labels: number;
    class_names: string[];
  }>(
    `select l.label, l.model, l.version, count(*) as labels, any_value(v.class_names) as class_names
     from ${from} l join core.model_versions v on l.model = v.model and l.version = v.version
     where not list_contains(v.class_names, l.label)
     group by l.label, l.model, l.version order by min(l.position) limit ${SHOWN + 1}`,
    params,
  );
  return {
    total: counts.total,
    created: counts.created,
    corrected: counts.corrected,
    same: counts.same,
    missing: counts.missing,
    firstMissing: missing.map(({ request_id, row }) => ({ requestId: request_id, row })),
    newClasses: classes.map(({ class_names, ...rest }) => ({
      ...rest,
      nearest: suggest(rest.label, class_names) ?? null,
    })),
  };
}

/**
 * Refuses what the options do not allow.
 * @throws {LabelsRefusedError}
 */
export function checkReport(report: LabelReport, options: LabelOptions): void {
  const { total, missing, firstMissing, newClasses } = report;
  if (missing > 0 && !options.allowMissing) {
    const names = firstMissing.map(({ requestId, row }) => `"${requestId}" row ${row}`);
    const rest = missing > names.length ? " and others" : "";
    throw new LabelsRefusedError(
      `Cannot label ${missing} of ${total} records: nothing was predicted for ${
        names.join(", ")
      }${rest}; none was stored`,
      names.map((name) => `nothing was predicted for ${name}`),
      "allowMissing",
    );
  }
  if (newClasses.length > 0 && !options.allowNewClasses) {
    const details = newClasses.slice(0, SHOWN).map(describeNewClass);
    const rest = newClasses.length > SHOWN ? " and others" : "";
    throw new LabelsRefusedError(
      `Cannot store the labels: ${details.join("; ")}${rest}; none was stored; ` +
        "correct them, or allow new classes",
      details,
      "allowNewClasses",
    );
  }
}

function describeNewClass({ label, labels, model, version, nearest }: NewClass): string {
  return `"${label}" (${labels} ${
    labels === 1 ? "label" : "labels"
  }) is no class of "${model}" version ${version}` +
    (nearest === null ? "" : `, did you mean "${nearest}"?`);
}

/**
 * The steps that store labels, to run in one transaction.
 * @throws {UsageError} when one record has very many labels.
 */
export async function insertSteps(
  store: Store,
  { from, params }: LookedUp,
  source: string | null,
): Promise<Step[]> {
  const isStored = "not is_missing and previous is distinct from label";
  const [{ turns }] = await store.query<{ turns: number | null }>(
    `select max(turn) as turns from ${from} where ${isStored}`,
    params,
  );
  if ((turns ?? 0) > MAX_TURNS) {
    throw new UsageError(
      `Cannot store the labels: one record has ${turns} of them, and ${MAX_TURNS} at once are the limit; ` +
        "give the last one, or send them in parts",
    );
  }
  // A step per turn: within one statement, rows may get their numbers in another sequence.
  return Array.from({ length: turns ?? 0 }, (_, i) => ({
    sql: `insert into core.labels (request_id, row, label, source, created_at)
      select request_id, row, label, ?, coalesce(labeled_at, ?) from ${from}
      where ${isStored} and turn = ${i + 1} order by position`,
    params: [source, new Date(), ...params],
  }));
}
