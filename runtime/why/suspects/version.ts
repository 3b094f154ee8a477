/** The suspect that another version answers: the rows are asked of the versions of before. */
import { explainedShare, meanOutcome } from "../change.ts";
import { groupRows, type Problem } from "../problem.ts";
import { percent, type Suspect } from "../suspect.ts";
import type { Store } from "../../store/store.ts";

/** Predicts the current rows by the versions of the reference, in their shares of then. */
export async function suspectVersion(problem: Problem): Promise<Suspect[]> {
  const { reference, current, measure, change } = problem;
  const before = shareOf(reference.version);
  const now = shareOf(current.version);
  const isSame = [...now].every(([version, share]) =>
    Math.abs(share - (before.get(version) ?? 0)) < 0.02
  );
  if (!measure.isPredicted || isSame) return [];
  const instead = new Float64Array(change.current.length);
  for (const [version, share] of before) {
    const mean = meanOutcome(await measure.of(current, { version }));
    mean.forEach((value, c) => instead[c] += share * value);
  }
  const gained =
    [...now].map(([version, share]) => [version, share - (before.get(version) ?? 0)] as const).sort(
      (a, b) => b[1] - a[1],
    )[0][0];
  const was = [...before].sort((a, b) => b[1] - a[1])[0][0];
  return [{
    kind: "version",
    subject: String(gained),
    where: null,
    contribution: explainedShare(change, instead),
    text: `version ${gained} answers where version ${was} did`,
    evidence: [
      ...[...now].map(([version, share]) =>
        `version ${version}: ${percent(share)} of the rows, before ${
          percent(before.get(version) ?? 0)
        }`
      ),
      ...await listEvents(problem),
      ...await compareVersions(problem.store, problem.model, [was, gained]),
    ],
  }];
}

function shareOf(versions: Int32Array): Map<number, number> {
  return new Map(
    [...groupRows(versions)].sort(([a], [b]) => a - b)
      .map(([version, rows]) => [version, rows.length / versions.length]),
  );
}

/** Aliases and canaries that moved meanwhile. */
async function listEvents({ store, model, from, to }: Problem): Promise<string[]> {
  const events = await store.query<{ text: string }>(
    `select strftime(moment, '%Y-%m-%d %H:%M') || ' UTC: ' || what as text from (
       select changed_at as moment, format('{}@{} moved from version {} to {}: {}', model, alias,
         coalesce(from_version::varchar, 'none'), coalesce(to_version::varchar, 'none'), reason) as what
       from core.alias_log where model = $1 and changed_at between $2 and $3
       union all
       select changed_at, format('canary of version {} {} at {} %: {}', version, kind, percent, reason)
       from core.traffic_log where model = $1 and changed_at between $2 and $3)
     order by moment desc limit 5`,
    [model, new Date(from), new Date(to)],
  );
  return events.map(({ text }) => text);
}

/** What differs in how two versions came to be. */
async function compareVersions(
  store: Store,
  model: string,
  [was, is]: readonly [number, number],
): Promise<string[]> {
  const rows = await store.query<{ version: number; data: string; code: string; trainer: string }>(
    `select version, signature->>'dataHash' as data, signature->>'codeHash' as code,
       signature->>'trainer' as trainer
     from core.model_versions where model = ? and version in (?, ?)`,
    [model, was, is],
  );
  const [a, b] = [was, is].map((version) => rows.find((row) => row.version === version));
  if (!a || !b) return [];
  return [
    ...(a.data === b.data ? [] : ["it was trained on other data"]),
    ...(a.code === b.code ? [] : ["it was trained by other code"]),
    ...(a.trainer === b.trainer ? [] : [`its trainer is ${b.trainer}, not ${a.trainer}`]),
  ];
}
