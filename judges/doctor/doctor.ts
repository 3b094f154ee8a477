/** Examines a version of a judge; one of which a probe fails is quarantined until another look. */
import type { Store } from "../../runtime/store/store.ts";
import type { Asked } from "../asking.ts";
import { makeCases } from "../cases/cases.ts";
import { type ProbeOutcome, runProbes } from "./probes.ts";

/** Rows that are asked about unless said otherwise. */
export const ROWS = 12;

/** Runs the probes on held-out rows, keeps what they found and gives it; `null` without such rows. */
export async function examine(
  store: Store,
  asked: Asked,
  { model, version, signal, rows, onProgress }: {
    readonly model: string;
    readonly version: number;
    readonly signal: AbortSignal;
    readonly rows: number;
    readonly onProgress?: (share: number) => void;
  },
): Promise<ProbeOutcome[] | null> {
  const of = { model, version, count: 2 * rows, half: "measure", task: "swapped" } as const;
  const cases = (await makeCases(store, of)).filter(({ isGood }) => isGood);
  if (cases.length === 0) return null;
  const outcomes = await runProbes(asked, cases, onProgress ? { signal, onProgress } : { signal });
  const column = <T>(read: (outcome: ProbeOutcome) => T) => outcomes.map(read);
  const now = new Date();
  const batch = crypto.randomUUID();
  await store.transaction([{
    append: "core.judge_probes",
    columns: {
      judge: column(() => asked.judge),
      judge_version: column(() => asked.judgeVersion),
      batch: column(() => batch),
      probe: column(({ probe }) => probe),
      is_passed: column(({ isPassed }) => isPassed),
      value: column(({ value }) => value),
      threshold: column(({ threshold }) => threshold),
      detail: column(({ detail }) => detail),
      created_at: column(() => now),
    },
  }]);
  return outcomes;
}
