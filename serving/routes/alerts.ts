/** `GET /alerts`, and what people say to alerts: silences and acknowledgements. */
import { z } from "zod";
import type { Plugin } from "../../plugins/plugin.ts";
import { parseDuration } from "../../numeric/durations.ts";
import { formatMatcher, parseMatcher } from "../../runtime/alerts/matchers.ts";
import type { Target } from "../../runtime/alerts/memory.ts";
import { type AlertNow, readAlertsNow, type SeriesNow } from "../../runtime/alerts/overview.ts";
import type { AlertingParams } from "../../runtime/alerts/params.ts";
import { addMark, endMark, LONGEST_NOTE, type Mark } from "../../runtime/alerts/silences.ts";
import { suggest, UsageError } from "../../runtime/errors.ts";
import { userName } from "../../runtime/registry/model_registry.ts";
import type { Store } from "../../runtime/store/store.ts";
import type { Access } from "../access.ts";
import { jsonAnswer } from "../answers.ts";
import { encodeReply } from "../compression.ts";
import type { AddRoute, Exchange, Handler } from "../exchange.ts";
import { HttpError } from "../http_error.ts";
import { oneOf, readQuery } from "../query.ts";
import { addRuleRoutes } from "./rules.ts";
import { decodePart, readSmallBody, wrongBody } from "../small_body.ts";

/** What the routes need. */
export interface AlertRouteDeps {
  readonly store: Store;
  readonly access: Access;
  /** Alerts that are evaluated, and who hears of them. */
  readonly alerts: readonly Plugin<"alert">[];
  readonly params: AlertingParams;
  /** The version that they look at, `null` while there is none. */
  target(): Promise<Target | null>;
}

/** Adds the routes of alerts, those in Prometheus' form among them. */
export function addAlertRoutes(add: AddRoute, deps: AlertRouteDeps): void {
  const operator = { role: "operator" } as const;
  add("GET", "/alerts", list(deps), { role: "viewer" });
  add("POST", "/alerts/silences", silence(deps), operator);
  add("ALL", "/alerts/silences/:id", end(deps), operator);
  add("POST", "/alerts/:name/acknowledge", acknowledge(deps), operator);
  addRuleRoutes(add, deps);
}

const words = z.string().min(1).refine((text) => text.isWellFormed(), "half a character");
const matchers = z.array(words.max(1_100)).max(20);
const note = words.max(LONGEST_NOTE).optional().describe("Why; kept on record");
const span = z.string().min(1).max(40).optional();
const instant = z.iso.datetime({ offset: true }).optional();

/** Body of `POST /alerts/silences`. */
export const SilenceBody = z.strictObject({
  matchers: matchers.min(1).describe('What is silenced: all of them hold, as severity="warning"'),
  for: span.describe("How long, such as 2h; this or ends_at"),
  starts_at: instant.describe("When it begins; left out, or in the past: now"),
  ends_at: instant.describe("When it ends; this or for"),
  note,
});

/** Body of `POST /alerts/{name}/acknowledge`; it may be left out. */
export const AcknowledgeBody = z.strictObject({
  matchers: matchers.default([]).describe("Which of its series; left out: all of them"),
  for: span.describe("How long; left out: until they resolve"),
  note,
});

const filters = {
  state: oneOf("ok", "pending", "firing", "no_data", "error", "snoozed", "unevaluated"),
};

function list({ store, access, alerts, params, target }: AlertRouteDeps): Handler {
  return async (exchange) => {
    access.checkStore(exchange);
    const { request, requestId } = exchange;
    const { state } = readQuery(request, filters);
    const about = await target();
    const now = about === null
      ? { alerts: [], marks: [] }
      : await readAlertsNow(store, alerts, { ...about, params });
    const shown = now.alerts.map(writeAlert).filter((each) =>
      state === undefined || each.state === state
    );
    return await encodeReply(
      jsonAnswer({
        request_id: requestId,
        model: about?.model ?? null,
        version: about?.version ?? null,
        alerts: shown,
        silences: now.marks.map(writeMark),
      }),
      request,
    );
  };
}

function writeAlert({ alert, state, series, last, ...now }: AlertNow) {
  const firing = series.filter((each) => each.state === "firing");
  const every = (has: (each: SeriesNow) => boolean) => firing.length > 0 && firing.every(has);
  return {
    name: alert.name,
    // Nobody has looked yet: that is neither ok nor an error.
    state: state ?? "unevaluated",
    since: iso(now.since),
    severity: alert.severity,
    summary: alert.summary,
    runbook: alert.runbook ?? null,
    reason: now.reason,
    is_silenced: every(({ silencedBy }) => silencedBy !== null),
    is_acknowledged: every(({ isAcknowledged }) => isAcknowledged),
    is_flapping: now.isFlapping,
    // An endless one has no time that could be written.
    snoozed_until: Number.isFinite(now.snoozedUntil) ? iso(now.snoozedUntil) : null,
    evaluated_at: iso(last?.at ?? null),
    finding_count: last?.findingCount ?? 0,
    findings: (last?.findings ?? []).map(({ subject = null, message }) => ({ subject, message })),
    series: series.map((each) => ({
      labels: each.labels,
      state: each.state,
      active_at: iso(each.activeAt),
      fired_at: iso(each.firedAt),
      value: each.value,
      message: each.message,
      silenced_by: each.silencedBy,
      is_acknowledged: each.isAcknowledged,
      is_muted: each.isMuted,
    })),
  };
}

function writeMark(mark: Mark) {
  return {
    id: mark.id,
    kind: mark.kind,
    matchers: mark.matchers.map(formatMatcher),
    created_by: mark.by,
    created_at: iso(mark.createdAt),
    ends_at: iso(mark.endsAt),
    note: mark.note,
  };
}

function iso(time: number | null): string | null {
  return time === null ? null : new Date(time).toISOString();
}

function silence(deps: AlertRouteDeps): Handler {
  return async (exchange) => {
    const body = await readSmallBody(exchange, SilenceBody);
    if ((body.for === undefined) === (body.ends_at === undefined)) {
      throw wrongBody("for", "say when it ends, either by for or by ends_at");
    }
    const now = Date.now();
    const startsAt = Math.max(now, body.starts_at === undefined ? now : Date.parse(body.starts_at));
    const forMs = readSpan(body.for) ?? Date.parse(body.ends_at!) - startsAt;
    return await put(deps, exchange, { ...body, kind: "silence", now, startsAt, forMs });
  };
}

function acknowledge(deps: AlertRouteDeps): Handler {
  return async (exchange) => {
    const [, , name] = new URL(exchange.request.url).pathname.split("/").map(decodePart);
    const known = deps.alerts.map((alert) => alert.name);
    if (!known.includes(name)) {
      const near = suggest(name, known);
      throw new HttpError(
        `Cannot find alert "${name.slice(0, 60)}": ${
          near ? `did you mean "${near}"?` : '"/alerts" lists them'
        }`,
        "not_found",
      );
    }
    const body = await readSmallBody(exchange, AcknowledgeBody);
    const itself = formatMatcher({ name: "alert", operator: "=", value: name });
    const matchers = [itself, ...body.matchers];
    const now = Date.now();
    const about = { kind: "ack", matchers, now, startsAt: now } as const;
    return await put(deps, exchange, { ...about, forMs: readSpan(body.for), note: body.note });
  };
}

interface Given {
  readonly kind: "silence" | "ack";
  readonly matchers: readonly string[];
  readonly note?: string | undefined;
  readonly now: number;
  readonly startsAt: number;
  readonly forMs: number | undefined;
}

async function put(
  { store }: AlertRouteDeps,
  { requestId, requester }: Exchange,
  { kind, matchers: texts, note, now, startsAt, forMs }: Given,
) {
  const by = whoAsks(requester);
  const [id, matchers] = await asked("invalid_input", async () => {
    const matchers = texts.map(parseMatcher);
    const id = await addMark(store, {
      kind,
      matchers,
      by,
      now,
      startsAt,
      ...(note === undefined ? {} : { note }),
      ...(forMs === undefined ? {} : { forMs }),
    });
    return [id, matchers] as const;
  });
  const endsAt = forMs === undefined ? null : startsAt + forMs;
  return jsonAnswer({
    request_id: requestId,
    ...writeMark({ id, kind, matchers, note: note ?? null, by, createdAt: now, endsAt }),
    starts_at: iso(startsAt),
  });
}

function end({ store }: AlertRouteDeps): Handler {
  return async ({ request, requestId, requester }) => {
    if (request.method !== "DELETE") {
      throw new HttpError(
        `Cannot ${request.method} "/alerts/silences/{id}": use DELETE`,
        "method_not_allowed",
        { headers: { allow: "DELETE" } },
      );
    }
    const id = decodePart(new URL(request.url).pathname.split("/").at(-1)!);
    await asked("not_found", () => endMark(store, id, { by: whoAsks(requester) }));
    return jsonAnswer({ request_id: requestId, id, state: "expired" });
  };
}

/** Without keys only this machine can call: then it is whoever runs the server. */
function whoAsks(requester: string | null): string {
  return requester ?? userName() ?? "unknown";
}

function readSpan(text: string | undefined): number | undefined {
  try {
    return text === undefined ? undefined : parseDuration(text);
  } catch (error) {
    throw wrongBody("for", (error as Error).message);
  }
}

async function asked<T>(code: "invalid_input" | "not_found", action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof UsageError) throw new HttpError(error.message, code);
    throw error;
  }
}
