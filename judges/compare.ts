/** Two judges, or two versions of one, on the same predictions of known truth. */
import {
  type AucDifference,
  type AucEstimate,
  compareAucs,
  estimateAuc,
} from "../numeric/agreement/auc.ts";
import { crossFit } from "../numeric/agreement/calibrators.ts";
import { type McNemar, testMcNemar } from "../numeric/agreement/mcnemar.ts";
import { UsageError } from "../runtime/errors.ts";
import type { Store } from "../runtime/store/store.ts";
import { type CardSource, cardSources } from "./cards/card.ts";
import { FEWEST_CASES } from "./cases/cases.ts";

/** One side of a comparison. */
export interface ComparedJudge {
  readonly judge: string;
  readonly judgeVersion: string;
  readonly auc: AucEstimate | null;
}

/** Outcome of {@linkcode compareJudges}. */
export interface JudgeComparison {
  readonly first: ComparedJudge;
  readonly second: ComparedJudge;
  /** Predictions that both gave a score, … */
  readonly rows: number;
  /** … and where their truth comes from: of several sources the best that has enough of them. */
  readonly source: CardSource;
  /** Area of the first less that of the second; `null` with too few rows of either truth. */
  readonly auc: AucDifference | null;
  /** Which is right more often, each cut where the other half of the rows says. */
  readonly right: McNemar | null;
}

/**
 * Compares two judges on what both of them scored: production rows of known truth, and cases of cards.
 * A judge is given by name, its newest version, or as `name@version`, where the version's begin does.
 *
 * @throws {UsageError} when one has scored nothing of known truth, or both nothing in common.
 */
export async function compareJudges(
  store: Store,
  [a, b]: readonly [string, string],
  about: { readonly model: string; readonly version: number },
): Promise<JudgeComparison> {
  const [first, second] = [await findVersion(store, a, about), await findVersion(store, b, about)];
  const common = await store.query<{ source: string; a: number; b: number; is_good: boolean }>(
    `with known as (${KNOWN})
     select x.source, x.score as a, y.score as b, x.is_good from known x
     join known y using (source, request_id, row)
     where x.judge = ? and x.judge_version = ? and y.judge = ? and y.judge_version = ?
     order by x.source, request_id, row`,
    [
      ...knownParams(about),
      ...[first.judge, first.judgeVersion, second.judge, second.judgeVersion],
    ],
  );
  // Of one kind alone: some tell good from bad more easily than others.
  const bySource = Map.groupBy(common, (row) => row.source);
  const source = cardSources.find((name) => (bySource.get(name)?.length ?? 0) >= FEWEST_CASES) ??
    cardSources.find((name) => bySource.has(name));
  const rows = source === undefined ? [] : bySource.get(source)!;
  if (source === undefined) {
    throw new UsageError(
      `Cannot compare "${a}" with "${b}": they scored no prediction of known truth in common; ` +
        `run "deno task judges card ${first.judge}" and "deno task judges card ${second.judge}"`,
    );
  }
  const truth = rows.map(({ is_good }) => is_good ? 1 : 0);
  const scores = [rows.map((row) => row.a), rows.map((row) => row.b)];
  const [x, y] = scores.map((scores) => ({ scores, truth }));
  const fits = [crossFit("platt", x), crossFit("platt", y)];
  const isRight = fits.map((fit) =>
    fit && fit.labels.map((label, i) => label === truth[i] ? 1 : 0)
  );
  return {
    first: { ...first, auc: estimateAuc(x) },
    second: { ...second, auc: estimateAuc(y) },
    rows: rows.length,
    source,
    auc: compareAucs(scores[0], scores[1], truth),
    right: isRight[0] && isRight[1] ? testMcNemar(isRight[0], isRight[1]) : null,
  };
}

/** Last scores of predictions of known truth, by judge version. */
const KNOWN = `select * from (
    select j.judge, j.judge_version, 'labels' as source, j.request_id, j.row, j.score, t.is_good, j.created_at
    from core.judgements j join core.inferences i using (request_id, row)
    join judge_truth t using (request_id, row)
    where i.model = ? and i.version = ? and j.status = 'scored' and t.judge = ''
    union all
    select judge, judge_version, batch, request_id, 0, score, is_good, created_at
    from core.judge_cases where model = ? and version = ? and status = 'scored' and kind = 'card')
  qualify row_number() over (
    partition by judge, judge_version, source, request_id, row order by created_at desc) = 1`;

function knownParams({ model, version }: { readonly model: string; readonly version: number }) {
  return [model, version, model, version];
}

async function findVersion(
  store: Store,
  given: string,
  about: { readonly model: string; readonly version: number },
): Promise<{ readonly judge: string; readonly judgeVersion: string }> {
  const at = given.indexOf("@");
  const judge = at === -1 ? given : given.slice(0, at);
  const start = at === -1 ? "" : given.slice(at + 1);
  const [found] = await store.query<{ judge_version: string }>(
    `with known as (${KNOWN})
     select judge_version from known where judge = ? and starts_with(judge_version, ?)
     group by judge_version order by max(created_at) desc limit 1`,
    [...knownParams(about), judge, start],
  );
  if (found !== undefined) return { judge, judgeVersion: found.judge_version };
  throw new UsageError(
    `Cannot compare "${given}": no such judge has scored a prediction of known truth; ` +
      `run "deno task judges card ${judge}"`,
  );
}
