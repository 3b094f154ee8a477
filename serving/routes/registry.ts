/** The model registry over HTTP: what there is, what is known of a version, and who lets it pass. */
import { basename } from "node:path";
import { z } from "zod";
import { hasRole, type Role } from "../../runtime/api_keys.ts";
import {
  type ApprovalDecision,
  decideOn,
  listApprovals,
  readRegistrar,
  roleOf,
} from "../../runtime/registry/approvals.ts";
import { listOrigins } from "../../runtime/registry/environments.ts";
import { describeError, suggest, UsageError } from "../../runtime/errors.ts";
import { EvidenceError, readEvidence } from "../../runtime/registry/evidence.ts";
import type { GateParams } from "../../runtime/registry/gate_params.ts";
import { makeModelCard } from "../../runtime/registry/model_card.ts";
import {
  type ModelVersion,
  resolveVersion,
  userName,
} from "../../runtime/registry/model_registry.ts";
import { listPromotions, promote } from "../../runtime/registry/promotion.ts";
import type { Store } from "../../runtime/store/store.ts";
import { jsonAnswer } from "../answers.ts";
import type { AddRoute, Exchange, Handler } from "../exchange.ts";
import { HttpError } from "../http_error.ts";
import type { ModelCatalog } from "../model_catalog.ts";
import { decodePart, readSmallBody } from "../small_body.ts";

/** What the registry routes need. */
export interface RegistryDeps {
  readonly store: Store;
  readonly models: ModelCatalog;
  /** What a promotion must show. */
  readonly gates: GateParams;
  readonly environment: string;
}

const reason = z.string().min(1).max(1000);

/** Body of `POST …/approve` and `POST …/reject`; it may be left out. */
export const DecisionBody = z.strictObject({
  reason: reason.optional().describe("Why; kept with the decision"),
});

/** Body of `POST …/promote`. */
export const PromoteBody = z.strictObject({
  alias: z.string().min(1).max(63).describe("Alias that moves to the version"),
  reason: reason.describe("Why; kept in the history"),
  force: z.boolean().default(false).describe("Promote against the gates; kept on record as forced"),
});

/** Path of one version; `{version}` is a number or an alias. */
const VERSION = "/models/:name/versions/:version";

/** Adds `GET /models` and what is below `/models/{name}/versions/{version}`. */
export function addRegistryRoutes(add: AddRoute, deps: RegistryDeps): void {
  const viewer = { role: "viewer" } as const;
  const { role } = deps.gates.approvals;
  // Who may not be counted may not decide; less than an operator never does.
  const approver: Role = hasRole(role, "operator") ? role : "operator";
  add("GET", "/models", listModels(deps), viewer);
  add("GET", VERSION, describeVersion(deps), viewer);
  add("GET", `${VERSION}/card`, writeCard(deps), viewer);
  add("POST", `${VERSION}/approve`, decide(deps, "approved"), { role: approver });
  add("POST", `${VERSION}/reject`, decide(deps, "rejected"), { role: approver });
  add("POST", `${VERSION}/promote`, promoteVersion(deps), { role: "admin" });
}

const LIST_PARAMETERS = ["search", "alias"];

function listModels({ store, models }: RegistryDeps): Handler {
  return async ({ request, requestId }) => {
    const query = new URL(request.url).searchParams;
    for (const name of query.keys()) {
      if (LIST_PARAMETERS.includes(name)) continue;
      const near = suggest(name, LIST_PARAMETERS);
      throw new HttpError(
        `Cannot read the query: unknown parameter "${name.slice(0, 40)}"; ${
          near ? `did you mean "${near}"?` : `there are ${LIST_PARAMETERS.join(", ")}`
        }`,
        "invalid_query",
      );
    }
    const search = query.get("search")?.toLowerCase() ?? "";
    const alias = query.get("alias")?.replace(/^@/, "") ?? null;
    const rows = await store.query<{ model: string; version: number; aliases: string[] | null }>(
      `select model, version, aliases, artifact, run_id, created_at, created_by, class_names, input_names
       from models m where (contains(lower(model), ?)
         or contains(lower(coalesce(report->>'$.trainer', '')), ?)
         or exists (select 1 from (select unnest(m.class_names) as name) where contains(lower(name), ?))
         or exists (select 1 from mlflow_tags t
           where ((t.kind = 'version' and t.subject = m.model || '/' || m.version)
               or (t.kind = 'model' and t.subject = m.model))
             and not starts_with(t.key, 'geophone.')
             and contains(lower(t.key || '=' || t.value), ?)))
         and (?::varchar is null or list_contains(aliases, ?::varchar))
       order by model, version desc`,
      [search, search, search, search, alias, alias],
    );
    const served = new Map(
      models.names.map((name) => [name, models.of(name).default?.model.version.version]),
    );
    return jsonAnswer({
      request_id: requestId,
      models: rows.map((row) => ({
        ...row,
        aliases: row.aliases ?? [],
        is_served: row.version === served.get(row.model),
      })),
    });
  };
}

function describeVersion({ store }: RegistryDeps): Handler {
  return async (exchange) => {
    const version = await findVersion(store, exchange);
    const checked = await readEvidence(store, version).catch((error) => {
      if (error instanceof EvidenceError) return error;
      throw error;
    });
    const [row] = await store.query<{ report: string; aliases: string[] | null }>(
      "select report, aliases from models where model = ? and version = ?",
      [version.model, version.version],
    );
    const [approvals, promotions, origins, registrar] = await Promise.all([
      listApprovals(store, version),
      listPromotions(store, version),
      listOrigins(store, version),
      readRegistrar(store, version),
    ]);
    return jsonAnswer({
      request_id: exchange.requestId,
      ...writeVersion(version),
      created_by: registrar,
      aliases: row?.aliases ?? [],
      evidence_error: checked instanceof EvidenceError ? checked.message : null,
      signature: checked instanceof EvidenceError ? null : checked.evidence.signature,
      report: checked instanceof EvidenceError ? null : JSON.parse(checked.report),
      approvals: approvals.map(({ decidedAt, ...rest }) => ({ ...rest, decided_at: decidedAt })),
      promotions: promotions.map((each) => ({
        decided_at: each.decidedAt,
        alias: each.alias,
        from_version: each.from,
        environment: each.environment,
        decided_by: each.by,
        role: each.role,
        reason: each.reason,
        is_passed: each.isPassed,
        is_forced: each.isForced,
        is_promoted: each.isPromoted,
        checks: each.checks,
        evidence: each.evidence,
        evidence_error: each.evidenceError,
      })),
      // Where the file lies is nothing for a viewer.
      origins: origins.map((origin) => ({ ...origin, store: basename(origin.store) })),
      card: `/models/${encodeURIComponent(version.model)}/versions/${version.version}/card`,
    });
  };
}

function writeVersion(version: ModelVersion) {
  return {
    model: version.model,
    version: version.version,
    artifact: version.artifact,
    evidence_hash: version.evidenceHash,
    run_id: version.runId,
    created_at: version.createdAt,
  };
}

function writeCard({ store, environment }: RegistryDeps): Handler {
  return async (exchange) => {
    const version = await findVersion(store, exchange);
    return {
      status: 200,
      body: await asked(() => makeModelCard(store, version, environment)),
      headers: { "content-type": "text/markdown; charset=utf-8" },
    };
  };
}

function decide({ store, gates }: RegistryDeps, decision: ApprovalDecision): Handler {
  return async (exchange) => {
    const { reason } = await readSmallBody(exchange, DecisionBody);
    const version = await findVersion(store, exchange);
    const by = whoAsks(exchange);
    const role = await roleOf(store, exchange.requester);
    const { fourEyes } = gates.approvals;
    await asked(() => decideOn(store, version, { decision, by, role, reason, fourEyes }));
    return jsonAnswer({
      request_id: exchange.requestId,
      ...writeVersion(version),
      decision,
      decided_by: by,
      role,
    });
  };
}

function promoteVersion({ store, gates: params, models, environment }: RegistryDeps): Handler {
  return async (exchange) => {
    const { alias, reason, force: isForced } = await readSmallBody(exchange, PromoteBody);
    const version = await findVersion(store, exchange);
    const by = whoAsks(exchange);
    const role = await roleOf(store, exchange.requester);
    const outcome = await asked(() =>
      promote(store, { version, alias, environment, params }, { by, role, reason, isForced })
    );
    if (!outcome.isPromoted) {
      const failed = outcome.checks.filter((check) => !check.isPassed);
      throw new HttpError(
        `Cannot promote "${version.model}" version ${version.version} to ${alias}: ${
          failed.map((check) => check.reason).join("; ")
        }; an administrator may force it with a reason`,
        "invalid_input",
        { details: failed.map(({ reason: message, ...rest }) => ({ message, ...rest })) },
      );
    }
    await models.refresh();
    return jsonAnswer({
      request_id: exchange.requestId,
      ...writeVersion(version),
      alias,
      from_version: outcome.previous,
      environment,
      decided_by: by,
      role,
      is_passed: outcome.isPassed,
      is_forced: outcome.isForced,
      checks: outcome.checks,
      evidence: outcome.evidence,
    });
  };
}

/** Without keys only this machine can call: then it is whoever runs the server. */
function whoAsks({ requester }: Exchange): string | null {
  return requester ?? userName();
}

async function findVersion(store: Store, { request }: Exchange): Promise<ModelVersion> {
  const [, , model, , version] = new URL(request.url).pathname.split("/").map(decodePart);
  try {
    return await resolveVersion(store, model, version);
  } catch (error) {
    if (error instanceof UsageError) throw new HttpError(error.message, "not_found");
    throw error;
  }
}

/** Tells what was asked wrongly, and what is broken, in the words of the one who found it. */
async function asked<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof UsageError) throw new HttpError(error.message, "invalid_input");
    if (error instanceof EvidenceError) {
      throw new HttpError(describeError(error), "model_failed", { cause: error });
    }
    throw error;
  }
}
