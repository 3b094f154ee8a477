/**
 * Aliases that MLflow's clients move only as everybody else does: when the gates pass.
 *
 * @module
 */
import { UsageError } from "../../runtime/errors.ts";
import { roleOf } from "../../runtime/registry/approvals.ts";
import type { GateParams } from "../../runtime/registry/gate_params.ts";
import { resolveVersion } from "../../runtime/registry/model_registry.ts";
import { promote } from "../../runtime/registry/promotion.ts";
import type { Store } from "../../runtime/store/store.ts";
import { TrackingError } from "../../runtime/tracking/error.ts";

/** What decides, and where. */
export interface GateDeps {
  readonly gates: GateParams;
  readonly environment: string;
}

/** A change of an alias that a client asks for. */
export interface AliasChange {
  readonly name: string;
  readonly alias: string;
  /** `null` to delete the alias. */
  readonly version: number | null;
  readonly by: string | null;
  /** Name of the key; `null` when this machine calls without one. */
  readonly requester: string | null;
}

/**
 * Asks the gates about a guarded alias and moves it when they pass; the decision is on record either
 * way. Gives `false`, and does nothing, when the alias is not guarded.
 *
 * @throws {TrackingError} with code `PERMISSION_DENIED` when the gates refuse, or the alias is to be
 * deleted.
 */
export async function moveGuarded(
  store: Store,
  { gates, environment }: GateDeps,
  { name, alias, version, by, requester }: AliasChange,
): Promise<boolean> {
  if (!gates.guarded.includes(alias)) return false;
  if (version === null) {
    throw denied(
      `Cannot delete alias "${alias}" of "${name}": it is guarded (release.guarded); move it to ` +
        'another version, or use "deno task models rollback"',
    );
  }
  const reason = "asked for by an MLflow client";
  const role = await roleOf(store, requester);
  const outcome = await resolveVersion(store, name, String(version)).then(
    (found) =>
      promote(store, { version: found, alias, environment, params: gates }, { by, role, reason }),
  ).catch((error) => {
    // A version without a signature, or whose bytes have changed, no gate can pass.
    throw error instanceof UsageError ? denied(error.message) : error;
  });
  if (outcome.isPromoted) return true;
  const failed = outcome.checks.filter((check) => !check.isPassed).map((check) => check.reason);
  throw denied(
    `Cannot move "${name}@${alias}" to version ${version}: ${
      failed.join("; ")
    }; an administrator ` +
      'may force it with "deno task models promote --force"',
  );
}

function denied(message: string): TrackingError {
  return new TrackingError(message, "PERMISSION_DENIED");
}
