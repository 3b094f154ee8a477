/** Why an alert about the machine fires: what else of it, or of the traffic, changed at that time. */
import { UsageError } from "../errors.ts";
import type { RequestChange } from "./requests.ts";
import type { Suspect } from "./suspect.ts";
import {
  COINCIDENT,
  format,
  type Looks,
  measureLevel,
  resourceNames,
  suspectResources,
} from "./suspects/resources.ts";

/**
 * Explains a resource that an alert's query names: the first one of those that can be explained.
 *
 * @throws {UsageError} when it names none, or there are too few looks at it.
 */
export function explainResource(
  { alert, sql, start }: {
    readonly alert: string;
    readonly sql: string;
    /** Begin of the window, in milliseconds since 1970. */
    readonly start: number;
  },
  looks: Looks,
  /** How the requests changed; `null` when there were none before. */
  traffic: RequestChange | null,
): RequestChange {
  const name = resourceNames.find((each) => sql.includes(`'${each}'`));
  if (name === undefined) {
    throw new UsageError(
      `Cannot say why "${alert}" fires: its query names none of ${resourceNames.join(", ")}`,
    );
  }
  const level = measureLevel(looks, name, start);
  if (level === null) {
    throw new UsageError(
      `Cannot say why "${alert}" fires: there are too few looks at ${name} before its window or ` +
        "in it; give a longer --window or another --at",
    );
  }
  const values = [...looks.values[name].keys()].filter((i) => !Number.isNaN(looks.values[name][i]));
  const side = (isNow: boolean) => values.filter((i) => (looks.times[i] >= start) === isNow);
  const meanOf = (rows: readonly number[]) =>
    rows.reduce((sum, i) => sum + looks.values[name][i], 0) / rows.length;
  const [earlier, now] = [side(false), side(true)];
  const before = meanOf(earlier);
  const happened = {
    times: now.map((i) => looks.times[i]),
    values: now.map((i) => looks.values[name][i]),
    before,
    change: meanOf(now) - before,
    what: "looks",
  };
  return {
    text: `${name} is ${format(level.median, level)} in the middle of the window, before ${
      format(level.edge, level)
    } was the worst${traffic?.isReal ? `; ${traffic.text}` : ""}`,
    isReal: level.isBeyond(level.median),
    suspects: [
      ...suspectResources(looks, { start, except: name }, happened),
      ...(traffic?.isReal ? traffic.suspects.map(asCompanion) : []),
    ],
  };
}

/** Traffic that changed at the same time: how much of the queue it makes nobody measured. */
function asCompanion(suspect: Suspect): Suspect {
  return {
    ...suspect,
    contribution: COINCIDENT * suspect.contribution,
    text: `${suspect.text} in requests`,
  };
}
