/**
 * What people say of predictions: good or bad. Append-only: a later label counts, and one that is taken
 * back stays in the history.
 *
 * @module
 */
import type { ClassProfile, Inference } from "../plugins/plugin.ts";
import { UsageError } from "../runtime/errors.ts";
import type { Store } from "../runtime/store/store.ts";
import { inferenceColumns, type InferenceRow, readProfiles, toInference } from "./rows.ts";

/** What a person says of a prediction. */
export interface JudgeLabel {
  readonly requestId: string;
  /** Row within its request, from 0. */
  readonly row: number;
  /** `good`, `bad`, or `null`: the label before is taken back. */
  readonly label: "good" | "bad" | null;
}

/** Whose question the labels answer, and who gives them. */
export interface LabelSource {
  /** A judge whose own question is answered; default `""`: whether the prediction is right. */
  readonly judge?: string;
  readonly by: string | null;
}

/** Labels in one call, at most. */
export const MAX_LABELS = 10_000;

/**
 * Keeps labels, all or none, and gives how many.
 * @throws {UsageError} when there are too many, or one is of what was never predicted.
 */
export async function recordJudgeLabels(
  store: Store,
  labels: readonly JudgeLabel[],
  { judge = "", by }: LabelSource,
): Promise<number> {
  if (labels.length > MAX_LABELS) {
    throw new UsageError(
      `Cannot keep ${labels.length} labels at once: ${MAX_LABELS} are the most; give them in parts`,
    );
  }
  const given = JSON.stringify(
    labels.map(({ requestId, row, label }, position) => ({
      position,
      request_id: requestId,
      row,
      label,
    })),
  );
  const from = `(select unnest(from_json(?::json,
      '[{"position":"INTEGER","request_id":"VARCHAR","row":"INTEGER","label":"VARCHAR"}]'),
    recursive := true))`;
  const [missing] = await store.query<{ request_id: string; row: number; n: number }>(
    `select request_id, row, count(*) over () as n from ${from} g
     anti join core.inferences i on g.request_id = i.request_id and g.row = i.row
     order by position limit 1`,
    [given],
  );
  if (missing !== undefined) {
    throw new UsageError(
      `Cannot label ${missing.n} of ${labels.length} predictions: nothing was predicted for ` +
        `"${missing.request_id}" row ${missing.row}; none was kept`,
    );
  }
  await store.query(
    `insert into core.judge_labels (request_id, row, judge, label, labeled_by, created_at)
     select request_id, row, ?, label, ?, ? from ${from} order by position`,
    [judge, by, new Date(), given],
  );
  return labels.length;
}

/** A prediction to look at. */
export interface LabelCase {
  readonly inference: Inference;
  /** What training left of the predicted class; `null` when it left nothing. */
  readonly profile: ClassProfile | null;
  /** Predictions that are judged and have no truth yet, this one among them. */
  readonly left: number;
}

/**
 * Gives the first prediction that is judged and whose truth is not known, but for those `skipped`: in
 * an order that has nothing to do with what judges say of them, so that labels speak for all.
 */
export async function nextCase(
  store: Store,
  { model, version, judge = "", skipped = [] }: {
    readonly model: string;
    readonly version: number;
    readonly judge?: string;
    /** Rows as `requestId:row`. */
    readonly skipped?: readonly string[];
  },
): Promise<LabelCase | null> {
  const [row] = await store.query<InferenceRow & { readonly left: number }>(
    `with open as (
       select distinct j.request_id, j.row from core.judgements j
       join core.inferences i using (request_id, row)
       where i.model = ? and i.version = ? and (? = '' or j.judge = ?)
         and not exists (select 1 from judge_truth t
           where t.request_id = j.request_id and t.row = j.row and t.judge = ?)),
     first as (
       select *, count(*) over () as "left" from open
       where not list_contains(from_json(?::json, '["VARCHAR"]'), request_id || ':' || row)
       order by md5(request_id || ':' || row) limit 1)
     select ${inferenceColumns}, f."left" from first f join inferences i using (request_id, row)`,
    [model, version, judge, judge, judge, JSON.stringify(skipped)],
  );
  if (row === undefined) return null;
  const inference = toInference(row, { model, version });
  const profiles = await readProfiles(store, { model, version });
  return {
    inference,
    profile: Object.hasOwn(profiles, inference.label) ? profiles[inference.label] : null,
    left: row.left,
  };
}

/** One line of what a person sees of a prediction: a feature beside the profile of its class. */
export interface CaseLine {
  readonly feature: string;
  readonly value: string;
  /** Mean ± deviation of the class in training; empty when there is none. */
  readonly usual: string;
  /** Deviations from that mean, `null` when there is none. */
  readonly deviations: number | null;
}

/** Writes the features of a case. */
export function describeCase({ inference, profile }: LabelCase): CaseLine[] {
  return Object.entries(inference.features).map(([feature, value]) => {
    const mean = profile?.mean[feature] ?? null;
    const std = profile?.std[feature] ?? null;
    const isKnown = mean !== null && std !== null && Number.isFinite(mean) && std > 0;
    return {
      feature,
      value: value === null ? "missing" : write(value),
      usual: isKnown ? `${write(mean)} ± ${write(std)}` : "",
      deviations: isKnown && value !== null ? (value - mean) / std : null,
    };
  });
}

function write(value: number): string {
  return Number(value.toPrecision(4)).toString();
}
