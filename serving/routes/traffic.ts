/** How requests are divided among versions, and what is known of two versions. */
import { z } from "zod";
import { suggest, UsageError } from "../../runtime/errors.ts";
import type { Store } from "../../runtime/store/store.ts";
import { jsonAnswer } from "../answers.ts";
import type { AddRoute, Handler } from "../exchange.ts";
import { HttpError } from "../http_error.ts";
import { parseJson } from "../json.ts";
import type { ModelCatalog } from "../model_catalog.ts";
import { compareVersions, type VersionComparison } from "../traffic/compare.ts";
import type { Traffic } from "../traffic/traffic.ts";

/** What the traffic routes need. */
export interface TrafficRouteDeps {
  readonly store: Store;
  readonly models: ModelCatalog;
  /** `null` when the default answers every request. */
  readonly traffic: Traffic | null;
}

/** A body larger than this holds more than a reason. */
const MAX_BODY_BYTES = 1 << 16;

/** Body of `POST /traffic/rollback`; it may be left out. */
export const RollbackBody = z.strictObject({
  reason: z.string().min(1).max(1000).default("rolled back by hand").describe(
    "Why; kept in the history",
  ),
});

/** Adds `GET /traffic`, `POST /traffic/rollback` and `GET /models/compare`. */
export function addTrafficRoutes(add: AddRoute, deps: TrafficRouteDeps): void {
  add("GET", "/traffic", describeTraffic(deps), { role: "viewer" });
  add("POST", "/traffic/rollback", rollBack(deps), { role: "operator" });
  add("GET", "/models/compare", compare(deps), { role: "viewer" });
}

function describeTraffic({ models, traffic }: TrafficRouteDeps): Handler {
  return ({ requestId }) => {
    const served = models.main.default;
    return jsonAnswer({
      request_id: requestId,
      model: models.main.model,
      default: served && { alias: served.alias, version: served.model.version.version },
      ...(traffic?.describe() ?? { split: null, shadow: null, canary: null }),
    });
  };
}

function rollBack({ traffic }: TrafficRouteDeps): Handler {
  return async (exchange) => {
    const text = await exchange.readText(MAX_BODY_BYTES);
    const parsed = RollbackBody.safeParse(text.trim() === "" ? {} : parseJson(text));
    if (!parsed.success) {
      const [{ path, message }] = parsed.error.issues;
      throw new HttpError(
        `Cannot read the body: ${path.join(".") || "it"}: ${message}`,
        "invalid_input",
      );
    }
    const canary = traffic?.canary;
    if (!canary) {
      throw new HttpError(
        "Cannot roll back the canary: none is configured; see serving.traffic.canary",
        "invalid_input",
      );
    }
    try {
      await canary.rollBack(parsed.data.reason, exchange.requester);
    } catch (error) {
      if (error instanceof UsageError) throw new HttpError(error.message, "invalid_input");
      throw error;
    }
    return jsonAnswer({ request_id: exchange.requestId, canary: canary.state });
  };
}

const COMPARE_PARAMETERS = ["champion", "challenger", "model"];

function compare({ store, models }: TrafficRouteDeps): Handler {
  return async ({ request, requestId }) => {
    const query = new URL(request.url).searchParams;
    for (const name of query.keys()) {
      if (COMPARE_PARAMETERS.includes(name)) continue;
      const nearest = suggest(name, COMPARE_PARAMETERS);
      throw badQuery(
        `unknown parameter "${name.slice(0, 40)}"; ${
          nearest ? `did you mean "${nearest}"?` : `there are ${COMPARE_PARAMETERS.join(", ")}`
        }`,
      );
    }
    const [champion, challenger] = ["champion", "challenger"].map((name) => query.get(name));
    if (!champion || !challenger) {
      throw badQuery('give "champion" and "challenger", each an alias or a version');
    }
    const model = query.get("model") ?? models.main.model;
    try {
      const comparison = await compareVersions(store, model, { champion, challenger });
      return jsonAnswer({ request_id: requestId, ...writeComparison(comparison) });
    } catch (error) {
      if (error instanceof UsageError) throw new HttpError(error.message, "not_found");
      throw error;
    }
  };
}

/** Gives a comparison in the names of answers and tables. */
function writeComparison(comparison: VersionComparison): Record<string, unknown> {
  const { discordant, eValue: e_value, pValue: p_value, ...rest } = comparison;
  return {
    ...rest,
    discordant: discordant && {
      challenger_only: discordant.challengerOnly,
      champion_only: discordant.championOnly,
    },
    e_value,
    p_value,
  };
}

function badQuery(state: string): HttpError {
  return new HttpError(`Cannot read the query: ${state}`, "invalid_query");
}
