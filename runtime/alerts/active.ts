/**
 * What an alert has to say now, drawn from its memory: each firing series, or that it cannot be
 * evaluated, has lost its data, or flaps.
 *
 * @module
 */
import type { AlertEvent, Plugin } from "../../plugins/plugin.ts";
import { computeFlapShare, FLAP_WINDOW } from "./flapping.ts";
import { matches } from "./matchers.ts";
import { labelsOf } from "./observe.ts";
import type { AlertingParams } from "./params.ts";
import { findSilence, isAcknowledged, type Mark } from "./silences.ts";
import type { AlertMemory } from "./state.ts";

/** One thing to say, and whether somebody wants to hear it. */
export interface ActiveEvent {
  /** Names it as long as it is the same thing. */
  readonly id: string;
  readonly event: AlertEvent;
  /** Nobody hears of it now: silenced, snoozed, inhibited, or part of a flapping alert. */
  readonly isMuted: boolean;
  /** Nobody hears of it again. */
  readonly isAcknowledged: boolean;
  readonly evaluatedAt: number;
}

/** Lists what the alerts have to say. */
export function listActive(
  alerts: readonly Plugin<"alert">[],
  memories: ReadonlyMap<string, AlertMemory | "damaged">,
  { marks, params }: { readonly marks: readonly Mark[]; readonly params: AlertingParams },
): ActiveEvent[] {
  const all = alerts.flatMap((alert) => {
    const memory = memories.get(alert.name);
    return memory === undefined || memory === "damaged" ? [] : listOf(alert, memory);
  });
  const firing = all.filter(({ event }) => event.kind === "firing").map(({ event }) => event);
  return all.map(({ activeAt, isMuted, ...active }) => {
    const { labels } = active.event;
    return {
      ...active,
      isMuted: isMuted || findSilence(marks, labels) !== undefined ||
        isInhibited(active.event, firing, params),
      isAcknowledged: isAcknowledged(marks, labels, activeAt),
    };
  });
}

interface Candidate extends Omit<ActiveEvent, "isAcknowledged"> {
  readonly activeAt: number;
}

function listOf(alert: Plugin<"alert">, memory: AlertMemory): Candidate[] {
  const { name, severity, runbook = null } = alert;
  const { evaluatedAt, isFlapping } = memory;
  const about = { alert: name, severity, runbook };
  const whole = (kind: AlertEvent["kind"], message: string, id: string = kind): Candidate => ({
    id: JSON.stringify([name, id]),
    event: {
      ...about,
      kind,
      series: null,
      labels: labelsOf(alert, {}),
      value: null,
      message,
      startsAt: memory.since,
    },
    isMuted: false,
    activeAt: memory.since,
    evaluatedAt,
  });
  const candidates: Candidate[] = memory.series.filter(({ state }) => state === "firing").map((
    each,
  ) => ({
    id: JSON.stringify([name, "series", each.series]),
    event: {
      ...about,
      kind: "firing",
      series: each.series,
      labels: each.labels,
      value: each.value,
      message: each.message,
      startsAt: each.firedAt!,
    },
    isMuted: isFlapping,
    activeAt: each.activeAt,
    evaluatedAt,
  }));
  if (memory.state === "error") {
    candidates.push({ ...whole("error", memory.reason ?? ""), isMuted: isFlapping });
  }
  // One that never had data has lost none.
  if (memory.state === "no_data" && memory.from !== null) {
    candidates.push(whole("no_data", memory.reason ?? ""));
  }
  if (isFlapping) {
    const share = Math.round(100 * computeFlapShare(memory.history));
    candidates.push(
      whole(
        "firing",
        `alert ${name} flaps: ${share} % of its last ${
          FLAP_WINDOW - 1
        } evaluations changed its state`,
        "flapping",
      ),
    );
  }
  return candidates;
}

/** An alert that is both a rule's source and its target is not kept quiet by others of its kind. */
function isInhibited(
  { labels }: AlertEvent,
  firing: readonly AlertEvent[],
  { inhibit }: AlertingParams,
): boolean {
  return inhibit.some(({ source, target, equal }) =>
    matches(target, labels) && firing.some((other) =>
      matches(source, other.labels) &&
      !(matches(source, labels) && matches(target, other.labels)) &&
      equal.every((name) => (labels[name] ?? "") === (other.labels[name] ?? ""))
    )
  );
}
