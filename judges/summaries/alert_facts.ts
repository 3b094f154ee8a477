/** What alerts did over a span of time, as facts. */
import type { Store } from "../../runtime/store/store.ts";
import {
  boundFacts,
  createNamer,
  type Fact,
  fact,
  type Facts,
  type Namer,
  quoteWords,
  writeTime,
} from "./facts.ts";

/** Which alerts, and when. */
export interface AlertSpan {
  readonly model: string;
  /** Left out: all versions. */
  readonly version?: number;
  readonly from: Date;
  readonly to: Date;
}

/** Findings of one alert that are shown. */
const SHOWN_FINDINGS = 3;

interface AlertRow {
  readonly alert: string;
  readonly version: number;
  readonly severity: string;
  readonly state: string;
  readonly findings: string;
  readonly finding_count: number;
  readonly error: string | null;
  readonly evaluations: number;
  readonly errors: number;
  readonly fired: number;
  readonly ended: number;
  readonly last_fired_at: string | null;
}

/** Reads evaluations, states, findings, transitions and silences of a span of time. */
export async function readAlertFacts(store: Store, span: AlertSpan): Promise<Facts> {
  const { model, version, from, to } = span;
  const alerts = await readAlerts(store, span);
  const silences = await store.query<
    Record<"kind" | "matchers" | "starts_at", string> & {
      readonly note: string | null;
      readonly ends_at: string | null;
    }
  >(
    `select kind, matchers, note, starts_at, ends_at from silences
     where starts_at < ? and (ends_at is null or ends_at >= ?) order by starts_at, silence_id`,
    [to, from],
  );
  const name = await createNamer();
  const sum = (read: (row: AlertRow) => number) => alerts.reduce((sum, row) => sum + read(row), 0);
  const [quiet, busy] = [true, false].map((wanted) =>
    alerts.filter((row) => isQuiet(row) === wanted)
  );
  const of = version === undefined ? name("model", model).text : `${model} version ${version}`;
  return {
    kind: "alerts",
    subject: model,
    title: `alerts of ${of}, ${writeTime(from)} to ${writeTime(to)} UTC`,
    facts: boundFacts([
      ...(alerts.length === 0 ? [] : [
        fact`${alerts.length} alerts had ${sum((row) => row.evaluations)} evaluations, of which ${
          sum((row) => row.errors)
        } failed`,
        fact`alerts that are firing at the end: ${
          alerts.filter(({ state }) => state === "firing").length
        }`,
      ]),
      ...busy.flatMap((row) => describeAlert(row, name)),
      ...["ok", "no_data", "snoozed"].flatMap((state) => {
        const count = quiet.filter((row) => row.state === state).length;
        return count === 0 ? [] : [fact`quiet alerts that are ${state} at the end: ${count}`];
      }),
      ...silences.map(({ kind, matchers, note, starts_at, ends_at }) =>
        fact`${kind} of ${quoteWords(matchers)} from ${writeTime(starts_at)} until ${
          ends_at === null ? "it resolves" : writeTime(ends_at)
        }${note === null ? "" : fact`, note: ${quoteWords(note)}`}`
      ),
    ]),
    nothing: alerts.length + silences.length === 0
      ? "no alert was evaluated in this time"
      : busy.length + silences.length === 0
      ? "no alert fired, failed or was silenced in this time"
      : null,
  };
}

function isQuiet({ state, fired, ended, errors }: AlertRow): boolean {
  return !["firing", "pending"].includes(state) && fired + ended + errors === 0;
}

/** The last evaluation of each alert and version with counts, the most pressing first. */
async function readAlerts(
  store: Store,
  { model, version, from, to }: AlertSpan,
): Promise<AlertRow[]> {
  const span = [model, version ?? null, version ?? null, from, to];
  const isOf = "model = ? and (?::integer is null or version = ?)";
  return await store.query<AlertRow & Record<string, unknown>>(
    `select l.alert, l.version, l.severity, l.state, l.findings, l.finding_count, l.error,
       l.evaluations, l.errors, coalesce(t.fired, 0) as fired, coalesce(t.ended, 0) as ended,
       t.last_fired_at
     from (
       select *, count(*) over one as evaluations, count(*) filter (state = 'error') over one as errors
       from core.alert_log where ${isOf} and created_at between ? and ?
       window one as (partition by alert, version)
       qualify row_number() over (partition by alert, version order by evaluation desc) = 1) l
     left join (
       select alert, version, count(*) filter (to_state = 'firing') as fired,
         count(*) filter (from_state = 'firing') as ended,
         max(changed_at) filter (to_state = 'firing') as last_fired_at
       from core.alert_transitions
       where ${isOf} and changed_at between ? and ? and series is not null group by all) t
       using (alert, version)
     order by l.state = 'firing' desc, l.state = 'error' desc, fired desc,
       list_position(['critical', 'error', 'warning', 'info'], l.severity), l.alert, l.version`,
    [...span, ...span],
  );
}

function describeAlert(row: AlertRow, name: Namer): Fact[] {
  const alert = name("alert", row.alert);
  const findings: readonly { readonly message?: unknown }[] = row.state === "firing"
    ? JSON.parse(row.findings)
    : [];
  return [
    fact`${alert} (${row.severity}, model version ${row.version}): ${row.state} at the end${
      row.state === "firing" ? `, findings: ${row.finding_count}` : ""
    }; began to fire ${row.fired} times, ended ${row.ended} times${
      row.last_fired_at === null ? "" : `, last began ${writeTime(row.last_fired_at)}`
    }${row.errors === 0 ? "" : `; ${row.errors} evaluations failed`}`,
    ...(row.error === null ? [] : [fact`${alert} failed: ${quoteWords(row.error)}`]),
    ...findings.slice(0, SHOWN_FINDINGS).flatMap(({ message }) =>
      typeof message === "string" ? [fact`${alert} found: ${quoteWords(message)}`] : []
    ),
  ];
}
