/**
 * What is recorded when something changes, and the names under which webhooks hear of it.
 *
 * @module
 */
import type { Step } from "../store/database_contract.ts";
import { suggest, UsageError } from "../errors.ts";

/** Everything the audit log records, as `entity.action`. */
export const auditActions = [
  "registered_model.created",
  "registered_model.updated",
  "registered_model.deleted",
  "registered_model_tag.set",
  "registered_model_tag.deleted",
  "model_version.created",
  "model_version.updated",
  "model_version.deleted",
  "model_version.approved",
  "model_version.rejected",
  "model_version.promoted",
  "model_version.promotion_forced",
  "model_version.promotion_refused",
  "model_version.pushed",
  "model_version_tag.set",
  "model_version_tag.deleted",
  "model_version_alias.created",
  "model_version_alias.deleted",
  "api_key.created",
  "api_key.rotated",
  "api_key.revoked",
  "webhook.created",
  "webhook.updated",
  "webhook.deleted",
  "webhook.replayed",
  "notification.replayed",
  "canary.started",
  "canary.advanced",
  "canary.rolled_back",
  "canary.promoted",
  "judge_prompt.created",
  "judge_prompt_alias.created",
  "silence.created",
  "silence.ended",
  "retention.applied",
] as const;

/** One of {@linkcode auditActions}. */
export type AuditAction = typeof auditActions[number];

/** Those of our actions that MLflow has as events; the others are ours, with `geophone.` before them. */
export const mlflowEvents: readonly AuditAction[] = [
  "registered_model.created",
  "model_version.created",
  "model_version_tag.set",
  "model_version_tag.deleted",
  "model_version_alias.created",
  "model_version_alias.deleted",
];

/**
 * Gives the name of the event that an action is.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { toEvent } from "./events.ts";
 *
 * assertEquals(toEvent("model_version.created"), "model_version.created");
 * assertEquals(toEvent("api_key.revoked"), "geophone.api_key.revoked");
 * ```
 */
export function toEvent(action: AuditAction): string {
  return mlflowEvents.includes(action) ? action : `geophone.${action}`;
}

/** Every event that a webhook can subscribe to. */
export const webhookEvents: readonly string[] = auditActions.map(toEvent);

/**
 * Checks what a webhook is to hear of.
 * @throws {UsageError} when `events` is empty, or one of them is none; the message names the nearest.
 */
export function checkEvents(events: readonly string[]): void {
  if (events.length === 0) {
    throw new UsageError(
      `Cannot subscribe to no event: name one or more of ${webhookEvents.join(", ")}`,
    );
  }
  for (const event of events) {
    if (webhookEvents.includes(event)) continue;
    const near = suggest(event, webhookEvents);
    throw new UsageError(
      `Cannot subscribe to "${event}": nothing here is of this name; ${
        near ? `did you mean "${near}"? There` : "there"
      } are ${webhookEvents.join(", ")}`,
    );
  }
}

/**
 * Gives the parts of an event's name as they stand in a payload.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { splitEvent } from "./events.ts";
 *
 * assertEquals(splitEvent("geophone.api_key.revoked"), {
 *   entity: "geophone.api_key",
 *   action: "revoked",
 * });
 * ```
 */
export function splitEvent(event: string): { readonly entity: string; readonly action: string } {
  const dot = event.lastIndexOf(".");
  return { entity: event.slice(0, dot), action: event.slice(dot + 1) };
}

/**
 * Gives the step that puts one delivery into the outbox for each active webhook that subscribed to
 * `action` and each entry that the audit log has of the change.
 */
export function outboxStep(action: AuditAction, changeId: string): Step {
  const event = toEvent(action);
  const parts = splitEvent(event);
  return {
    sql: `insert into core.webhook_outbox
      select uuid()::varchar, w.webhook_id, ?,
        json_object('entity', ?::varchar, 'action', ?::varchar,
          'timestamp', strftime(a.time, '%Y-%m-%dT%H:%M:%S.%fZ'), 'data', a.details)::varchar,
        a.time, 'pending', 0, 0, date_trunc('milliseconds', a.time)
      from core.audit_log a, core.webhooks w
      where a.change_id = ? and w.status = 'ACTIVE' and w.deleted_at is null
        and list_contains(w.events, ?)`,
    params: [event, parts.entity, parts.action, changeId, event],
  };
}
