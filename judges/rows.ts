/** Judgements as rows of the store: what is still to be judged, and what was said. */
import type { ClassProfile, Inference, Verdict } from "../plugins/plugin.ts";
import type { Step, Store } from "../runtime/store/store.ts";
import type { Drawn, Subjects } from "./subjects/subjects.ts";
import { traceLog } from "./tracing.ts";

/** A prediction as a query of {@linkcode inferenceColumns} gives it. */
export interface InferenceRow extends Record<string, unknown> {
  readonly request_id: string;
  readonly row: number;
  readonly features: Record<string, number | null>;
  readonly label: string;
  readonly probabilities: Record<string, number>;
  readonly confidence: number;
}

/** Columns of the view `inferences`, called `i`, that make an {@linkcode Inference}. */
export const inferenceColumns =
  "i.request_id, i.row, i.features, i.label, i.probabilities, i.confidence";

/** A version of a model. */
interface ModelVersion {
  readonly model: string;
  readonly version: number;
}

/** A row as a judge sees it. */
export function toInference(row: InferenceRow, { model, version }: ModelVersion): Inference {
  return {
    requestId: row.request_id,
    row: row.row,
    model,
    version,
    features: row.features,
    label: row.label,
    probabilities: row.probabilities,
    confidence: row.confidence,
  };
}

/** One verdict on what was drawn. */
export interface Judgement extends Drawn {
  readonly verdict: Verdict;
  readonly ms: number;
  /** Trace in which it was given, `null` when nobody traces. */
  readonly traceId: string | null;
}

/** A judge as its rows name it. */
export interface JudgeVersion {
  readonly judge: string;
  readonly judgeVersion: string;
}

/** Keeps verdicts; what a verdict does not say is `null`. */
export async function writeJudgements(
  store: Store,
  { judge, judgeVersion }: JudgeVersion,
  { rows, rate, guard, subjects }: {
    readonly rows: readonly Judgement[];
    /** Whose table it is. */
    readonly subjects: Pick<Subjects, "table" | "name">;
    /** Share of all rows that the sample is to have. */
    readonly rate: number;
    /** Makes the write fail when somebody else has begun to judge. */
    readonly guard: Step;
  },
): Promise<void> {
  // Before the verdicts, so that none of them is without its trace.
  await traceLog(store).flush();
  if (rows.length === 0) return;
  const column = <T>(read: (row: Judgement) => T) => rows.map(read);
  const evidence = <K extends keyof Verdict>(key: K) =>
    column(({ verdict }) => verdict[key] ?? null);
  const now = new Date();
  await store.transaction([guard, {
    append: subjects.table,
    columns: {
      ...subjects.name(rows),
      judge: column(() => judge),
      judge_version: column(() => judgeVersion),
      status: evidence("status"),
      kind: column(({ verdict }) => verdict.status === "scored" ? null : verdict.kind),
      score: column(({ verdict }) => verdict.status === "scored" ? verdict.score : null),
      rationale: column(({ verdict }) =>
        verdict.status === "error" ? verdict.message : verdict.rationale ?? null
      ),
      inclusion_probability: column(({ probability }) => probability),
      sampling_rate: column(() => rate),
      tokens_in: evidence("tokensIn"),
      tokens_out: evidence("tokensOut"),
      ms: column(({ ms }) => ms),
      created_at: column(() => now),
      raw: evidence("raw"),
      label: evidence("label"),
      mass: evidence("mass"),
      server: evidence("server"),
      model_digest: evidence("modelDigest"),
      seed: evidence("seed"),
      trace_id: column(({ traceId }) => traceId),
      is_retryable: column(({ verdict }) =>
        verdict.status === "error" ? verdict.isRetryable ?? null : null
      ),
    },
  }]);
}

/** What training left of each class. */
export async function readProfiles(
  store: Store,
  { model, version }: ModelVersion,
): Promise<Record<string, ClassProfile>> {
  const [row] = await store.query<{ profiles: string | null }>(
    "select report->'profiles' as profiles from core.model_versions where model = ? and version = ?",
    [model, version],
  );
  return row?.profiles ? JSON.parse(row.profiles) : {};
}
