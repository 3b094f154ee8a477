/** Rows beyond the one that is judged, read from the store when a judge first asks for them. */
import type { Inference, JudgeHistory, KnownInference, Neighbor } from "../plugins/plugin.ts";
import type { Store } from "../runtime/store/store.ts";
import { FEWEST_CASES, isMeasured, makeCases } from "./cases/cases.ts";
import { inferenceColumns, type InferenceRow, toInference } from "./rows.ts";

/** Most recent predictions among which neighbors are looked for. */
const RECENT_ROWS = 5_000;

/** Most labelled predictions that are read, the latest. */
const OUTCOME_ROWS = 50_000;

/** Most rows of known truth to learn from, of training and of production. */
const KNOWN_ROWS = 1_000;

/** The history of one version, as of when it is first asked. */
export function openHistory(
  store: Store,
  { model, version }: { readonly model: string; readonly version: number },
): JudgeHistory {
  let recent: Promise<Recent> | undefined;
  let outcomes: ReturnType<JudgeHistory["outcomes"]> | undefined;
  let known: ReturnType<JudgeHistory["known"]> | undefined;

  async function readRecent(): Promise<Recent> {
    const rows = await store.query<InferenceRow>(
      `select ${inferenceColumns} from inferences i where i.model = ? and i.version = ?
       order by i.request_time desc, i.request_id, i.row limit ?`,
      [model, version, RECENT_ROWS],
    );
    return new Recent(rows.map((row) => toInference(row, { model, version })));
  }

  async function readOutcomes() {
    return await store.query<{ confidence: number; isCorrect: boolean }>(
      `select i.confidence, i.label = l.label as "isCorrect" from core.inferences i
       join labels l using (request_id, row) where i.model = ? and i.version = ?
       order by i.request_time desc, i.request_id, i.row limit ?`,
      [model, version, OUTCOME_ROWS],
    );
  }

  async function readSide(inference: Inference, count: number, isBefore: boolean) {
    // Rows without an order stand as they came.
    const rows = await store.query<InferenceRow>(
      `with request as (
         select *, row_number() over (order by order_value nulls last, row) as place
         from inferences where request_id = ? and model = ? and version = ?)
       select ${inferenceColumns} from request i
       where i.place ${isBefore ? "<" : ">"} (select place from request where row = ?)
       order by i.place ${isBefore ? "desc" : "asc"} limit ?`,
      [inference.requestId, model, version, inference.row, count],
    );
    const side = rows.map((row) => toInference(row, { model, version }));
    return isBefore ? side.reverse() : side;
  }

  async function readKnown(): Promise<KnownInference[]> {
    const of = { model, version, count: KNOWN_ROWS, half: "teach" } as const;
    const mistakes = await makeCases(store, { ...of, task: "mistakes" });
    // Of a model that errs too seldom, swapped labels have to do.
    const cases = mistakes.length >= FEWEST_CASES
      ? mistakes
      : await makeCases(store, { ...of, task: "swapped" });
    const rows = await store.query<InferenceRow & { readonly is_good: boolean }>(
      `select ${inferenceColumns}, t.is_good from inferences i
       join judge_truth t using (request_id, row)
       where i.model = ? and i.version = ? and t.judge = ''
         and not (${isMeasured("i.request_id || ':' || i.row")})
       order by i.request_time desc, i.request_id, i.row limit ?`,
      [model, version, KNOWN_ROWS],
    );
    const known = [
      ...cases,
      ...rows.map((row) => ({
        inference: toInference(row, { model, version }),
        isGood: row.is_good,
      })),
    ];
    const scores = await readScores(known.map(({ inference }) => inference));
    return known.map((row, i) => ({ ...row, scores: scores[i] }));
  }

  async function readScores(
    inferences: readonly Inference[],
  ): Promise<Record<string, number>[]> {
    const scores = inferences.map((): Record<string, number> => ({}));
    const places = new Map(inferences.map(({ requestId, row }, i) => [`${requestId}:${row}`, i]));
    const rows = await store.query<
      { request_id: string; row: number; judge: string; score: number }
    >(
      `with asked as (select unnest(from_json(?::json, '["VARCHAR"]')) as request_id),
       said as (
         select request_id, row, judge, score, created_at from core.judgements
         semi join asked using (request_id) where status = 'scored'
         union all
         select request_id, 0, judge, score, created_at from core.judge_cases
         semi join asked using (request_id)
         where model = ? and version = ? and status = 'scored')
       select request_id, row, judge, arg_max(score, created_at) as score from said group by all`,
      [JSON.stringify([...new Set(inferences.map((i) => i.requestId))]), model, version],
    );
    for (const { request_id, row, judge, score } of rows) {
      const place = places.get(`${request_id}:${row}`);
      if (place !== undefined) scores[place][judge] = score;
    }
    return scores;
  }

  return {
    known: () => known ??= readKnown(),
    scores: async (inference) => (await readScores([inference]))[0],
    async neighbors(inference, count) {
      return (await (recent ??= readRecent())).findNearest(inference, count);
    },
    async around(inference, count) {
      const [before, after] = await Promise.all([
        readSide(inference, count, true),
        readSide(inference, count, false),
      ]);
      return { before, after };
    },
    outcomes: () => outcomes ??= readOutcomes(),
  };
}

/** Recent predictions with the deviation of each feature among them. */
class Recent {
  readonly #inferences: readonly Inference[];
  readonly #names: readonly string[];
  /** Features `[n, d]` in units of their deviation, row-major; NaN is missing. */
  readonly #scaled: Float64Array;
  readonly #deviations: Float64Array;

  constructor(inferences: readonly Inference[]) {
    this.#inferences = inferences;
    this.#names = inferences.length === 0 ? [] : Object.keys(inferences[0].features);
    const d = this.#names.length;
    this.#deviations = Float64Array.from(this.#names, (name) => {
      const values = inferences.map(({ features }) => features[name])
        .filter((value): value is number => typeof value === "number" && Number.isFinite(value));
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      return Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length);
    });
    this.#scaled = new Float64Array(inferences.length * d);
    inferences.forEach((inference, i) => this.#scaled.set(this.#scale(inference), i * d));
  }

  findNearest(inference: Inference, count: number): Neighbor[] {
    const d = this.#names.length;
    const own = this.#scale(inference);
    const found: Neighbor[] = [];
    this.#inferences.forEach((other, i) => {
      if (other.requestId === inference.requestId && other.row === inference.row) return;
      let sum = 0;
      let shared = 0;
      for (let j = 0; j < d; j++) {
        const difference = own[j] - this.#scaled[i * d + j];
        if (Number.isNaN(difference)) continue;
        sum += difference ** 2;
        shared++;
      }
      // Over fewer than half of the features two records are hardly alike.
      if (shared > 0 && 2 * shared >= d) {
        found.push({ inference: other, distance: Math.sqrt(sum / shared) });
      }
    });
    return found.sort((a, b) => a.distance - b.distance).slice(0, count);
  }

  /** A feature that never varied tells nothing, as a missing one. */
  #scale({ features }: Inference): Float64Array {
    return Float64Array.from(this.#names, (name, j) => {
      const value = features[name];
      const deviation = this.#deviations[j];
      return typeof value === "number" && deviation > 0 ? value / deviation : NaN;
    });
  }
}
