/** Compares two versions by the labels that arrived for what they predicted. */
import {
  computeRateInterval,
  type RateInterval,
  type SequentialOptions,
} from "../../numeric/rates.ts";
import { PairedTest, type SequentialOutcome, UnpairedTest } from "../../numeric/sequential.ts";
import { resolveVersion } from "../../runtime/registry/model_registry.ts";
import type { Store } from "../../runtime/store/store.ts";

/** Which versions, by alias or number. */
export interface CompareOptions {
  readonly champion: string;
  readonly challenger: string;
  /** Greatest probability of a wrong decision; default 0.05. */
  readonly alpha?: number;
}

/** What a comparison can come to. */
export type Decision = "challenger is better" | "champion is better" | "undecided";

/** One of the two versions. */
export interface ComparedVersion {
  readonly version: number;
  /** Labelled requests, and their labelled records. */
  readonly requests: number;
  readonly rows: number;
  /** Mean over requests of the share of records that were right, with an interval valid at any time. */
  readonly accuracy: RateInterval | null;
}

/** Outcome of {@linkcode compareVersions}. */
export interface VersionComparison {
  readonly model: string;
  /** `paired`: both predicted the same records, one of them as the shadow; else each its own. */
  readonly design: "paired" | "unpaired";
  readonly champion: ComparedVersion;
  readonly challenger: ComparedVersion;
  /** Records that one of the two alone had right; `null` when they are not paired. */
  readonly discordant: {
    readonly challengerOnly: number;
    readonly championOnly: number;
  } | null;
  readonly eValue: number;
  /** Always-valid p-value. */
  readonly pValue: number;
  readonly alpha: number;
  readonly decision: Decision;
}

/**
 * Compares two versions of a model on the records whose label is known. It may be asked after every
 * label: the decision is wrong with a probability of at most `alpha` however often that is
 * ({@linkcode PairedTest}, {@linkcode UnpairedTest}). Nothing is promoted by it.
 *
 * When one of the two was the shadow of the other, they are compared on the same records; else each on
 * the requests it answered while both did. The unit is the labels of one request that arrived
 * together, in the order of arrival: records of one request are neighbors, and no independent
 * evidence. A corrected label counts when it was corrected.
 *
 * @throws {UsageError} when there is no such model, version or alias.
 */
export async function compareVersions(
  store: Store,
  model: string,
  { champion, challenger, alpha = 0.05 }: CompareOptions,
): Promise<VersionComparison> {
  const [first, second] = await Promise.all(
    [champion, challenger].map(async (reference) =>
      (await resolveVersion(store, model, reference)).version
    ),
  );
  const versions = { model, champion: first, challenger: second };
  const [{ count }] = await store.query<{ count: number }>(
    `select count(*) as count from core.shadow_inferences where model = ? and error is null
       and (champion_version, shadow_version) in ((?, ?), (?, ?))`,
    [model, first, second, second, first],
  );
  return count > 0
    ? await comparePaired(store, versions, { alpha })
    : await compareUnpaired(store, versions, { alpha });
}

interface Versions {
  readonly model: string;
  readonly champion: number;
  readonly challenger: number;
}

async function comparePaired(
  store: Store,
  { model, champion, challenger }: Versions,
  options: Required<SequentialOptions>,
): Promise<VersionComparison> {
  const units = await store.query<
    { rows: number; champion: number; challenger: number; wins: number; losses: number }
  >(
    `with pairs as (
       select request_id, row, champion_label as champion, shadow_label as challenger
       from core.shadow_inferences
       where model = ? and champion_version = ? and shadow_version = ? and error is null
       union all
       select request_id, row, shadow_label, champion_label from core.shadow_inferences
       where model = ? and champion_version = ? and shadow_version = ? and error is null)
     select count(*) as rows, avg((champion = l.label)::integer) as champion,
       avg((challenger = l.label)::integer) as challenger,
       count(*) filter (challenger = l.label and champion <> l.label) as wins,
       count(*) filter (champion = l.label and challenger <> l.label) as losses
     from pairs join labels l using (request_id, row)
     group by request_id, l.created_at order by l.created_at, request_id`,
    [model, champion, challenger, model, challenger, champion],
  );
  const test = new PairedTest(options);
  const [before, after] = [new Score(), new Score()];
  let wins = 0;
  let losses = 0;
  for (const unit of units) {
    test.add(unit.challenger - unit.champion);
    before.add(unit.rows, unit.champion);
    after.add(unit.rows, unit.challenger);
    wins += unit.wins;
    losses += unit.losses;
  }
  return {
    model,
    design: "paired",
    champion: before.describe(champion, options),
    challenger: after.describe(challenger, options),
    discordant: { challengerOnly: wins, championOnly: losses },
    ...describeOutcome(test.read(), options),
  };
}

async function compareUnpaired(
  store: Store,
  { model, champion, challenger }: Versions,
  options: Required<SequentialOptions>,
): Promise<VersionComparison> {
  const units = await store.query<{ version: number; rows: number; outcome: number }>(
    `with predicted as (from core.inferences where model = ? and version in (?, ?)),
     span as (
       select max(first_time) as first_time, min(last_time) as last_time
       from (select min(request_time) as first_time, max(request_time) as last_time
         from predicted group by version)
       having count(*) = 2)
     select i.version, count(*) as rows, avg((i.label = l.label)::integer) as outcome
     from predicted i join labels l using (request_id, row), span
     where i.request_time between span.first_time and span.last_time
     group by i.version, request_id, l.created_at order by l.created_at, request_id`,
    [model, champion, challenger],
  );
  const test = new UnpairedTest(options);
  const scores = { champion: new Score(), challenger: new Score() };
  for (const { version, rows, outcome } of units) {
    const arm = version === champion ? "champion" : "challenger";
    test.add(arm, outcome);
    scores[arm].add(rows, outcome);
  }
  return {
    model,
    design: "unpaired",
    champion: scores.champion.describe(champion, options),
    challenger: scores.challenger.describe(challenger, options),
    discordant: null,
    ...describeOutcome(test.read(), options),
  };
}

/** Sums what one version got right. */
class Score {
  #requests = 0;
  #rows = 0;
  #successes = 0;

  add(rows: number, outcome: number): void {
    this.#requests++;
    this.#rows += rows;
    this.#successes += outcome;
  }

  describe(version: number, options: SequentialOptions): ComparedVersion {
    const tally = {
      successes: this.#successes,
      // Sums of shares round: what is left is never below nothing.
      failures: Math.max(0, this.#requests - this.#successes),
    };
    return {
      version,
      requests: this.#requests,
      rows: this.#rows,
      accuracy: computeRateInterval(tally, options),
    };
  }
}

const decisions: Readonly<Record<SequentialOutcome["decision"], Decision>> = {
  [-1]: "champion is better",
  0: "undecided",
  1: "challenger is better",
};

function describeOutcome(
  { eValue, pValue, decision }: SequentialOutcome,
  { alpha }: Required<SequentialOptions>,
): Pick<VersionComparison, "eValue" | "pValue" | "alpha" | "decision"> {
  return { eValue, pValue, alpha, decision: decisions[decision] };
}
