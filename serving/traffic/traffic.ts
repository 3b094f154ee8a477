/**
 * Divides the requests that name no version: among the arms of a split, or between the default and a
 * canary; and mirrors them to a shadow.
 *
 * @module
 */
import { describeError } from "../../runtime/errors.ts";
import type { Store } from "../../runtime/store/store.ts";
import type { Exchange } from "../exchange.ts";
import type { Held, ModelReference, Models } from "../models.ts";
import type { Records } from "../records.ts";
import type { ServedModel, ServedPrediction } from "../served_model.ts";
import { type ArmChooser, BUCKETS, divideBuckets, hashToBucket } from "./buckets.ts";
import { Canary } from "./canary.ts";
import type { TrafficMetrics } from "./metrics.ts";
import { type Arm, nameArm, type TrafficParams } from "./params.ts";
import { Shadow } from "./shadow.ts";

/** What traffic management works with. */
export interface TrafficDeps {
  readonly store: Store;
  /** The model whose requests are divided. */
  readonly models: Models;
  readonly params: TrafficParams;
  readonly metrics: TrafficMetrics;
  /** Hears of what an operator should know, in one sentence. */
  readonly onEvent: (text: string) => void;
}

/** Where a request falls. */
type ArmReference = Pick<Arm, "alias" | "version">;

/** Why an arm could not answer, the last time that it could not. */
interface Fallback {
  readonly message: string;
  readonly at: Date;
}

/** Chooses the version of requests. */
export class Traffic {
  readonly #deps: TrafficDeps;
  readonly #chooseArm: ArmChooser | null;
  readonly #fallbacks = new Map<string, Fallback>();
  /** `null` when none is configured. */
  readonly canary: Canary | null;
  readonly shadow: Shadow | null;

  private constructor(deps: TrafficDeps, canary: Canary | null) {
    const { store, models, params: { split, shadow }, metrics } = deps;
    this.#deps = deps;
    this.#chooseArm = split ? divideBuckets(split.map(({ percent }) => percent)) : null;
    this.canary = canary;
    this.shadow = shadow === undefined ? null : new Shadow({
      store,
      params: shadow,
      acquire: (reference) => models.acquire(reference),
      metrics,
      onError: (error) => deps.onEvent(error.message),
    });
  }

  /** Opens what the params ask for; `null` when they ask for nothing. */
  static async open(deps: TrafficDeps): Promise<Traffic | null> {
    const { split, shadow, canary } = deps.params;
    if ((split ?? shadow ?? canary) === undefined) return null;
    return new Traffic(deps, canary ? await Canary.open({ ...deps, params: canary }) : null);
  }

  /** Whether a request is one to divide: it is for this model and names no version. */
  isFor(reference: ModelReference | undefined): boolean {
    return reference === undefined ||
      (reference.alias === undefined && reference.version === undefined &&
        (reference.model === undefined || reference.model === this.#deps.models.model));
  }

  /**
   * Gives the version for a request, which must release it. An arm that cannot be loaded is answered
   * for by the default, and counted.
   * @throws {HttpError} when the default cannot answer either.
   */
  acquire(exchange: Exchange): Held | Promise<Held> {
    const arm = this.#choose(exchange);
    if (arm === null) return this.#deps.models.acquire();
    this.#deps.metrics.countArm(nameArm(arm));
    try {
      const held = this.#deps.models.acquire(toReference(arm));
      return held instanceof Promise ? held.catch((error) => this.#fallBack(arm, error)) : held;
    } catch (error) {
      return this.#fallBack(arm, error);
    }
  }

  /** The arm of a request, `null` for the default. */
  #choose(exchange: Exchange): ArmReference | null {
    const { params: { split, canary, salt } } = this.#deps;
    if (split) return split[this.#chooseArm!(hashToBucket(salt, this.#keyOf(exchange)))];
    const percent = this.canary?.percent ?? 0;
    if (percent === 0) return null;
    // Another version is tried on other clients.
    const bucket = hashToBucket(
      `${salt}:${this.canary!.state.version}`,
      this.#keyOf(exchange),
    );
    return bucket < percent * BUCKETS / 100 ? { alias: canary!.alias } : null;
  }

  /** What keeps a client with its arm: a header, else the name of its key; else nothing does. */
  #keyOf({ request, requester, requestId }: Exchange): string {
    return request.headers.get(this.#deps.params.stickyBy) || requester || requestId;
  }

  #fallBack(arm: ArmReference, error: unknown): Held | Promise<Held> {
    const name = nameArm(arm);
    this.#deps.metrics.countFallback(name);
    this.#fallbacks.set(name, { message: describeError(error), at: new Date() });
    return this.#deps.models.acquire();
  }

  /** Lets the shadow see a request that {@linkcode acquire} gave a version and that was answered. */
  mirror(
    { requestId, time }: Exchange,
    { champion, records, prediction }: {
      readonly champion: ServedModel;
      readonly records: Records;
      readonly prediction: ServedPrediction;
    },
  ): void {
    if (this.shadow === null) return;
    const version = this.#deps.models.aliases.get(this.#deps.params.shadow!.alias);
    this.shadow.offer({ requestId, time, champion, records, prediction }, version);
  }

  /** Says how requests are divided now. */
  describe(): Record<string, unknown> {
    const { models, params: { split, shadow, canary, stickyBy, salt } } = this.#deps;
    const versionOf = (alias: string) => models.aliases.get(alias) ?? null;
    return {
      sticky_by: stickyBy,
      salt,
      split: split?.map((arm) => ({
        alias: arm.alias ?? null,
        version: arm.version ?? versionOf(arm.alias!),
        percent: arm.percent,
        last_fallback: this.#fallbacks.get(nameArm(arm)) ?? null,
      })) ?? null,
      shadow: shadow === undefined ? null : {
        alias: shadow.alias,
        version: versionOf(shadow.alias),
        percent: shadow.percent,
        queued_rows: this.shadow!.queuedRows,
        max_queue_rows: shadow.maxQueueRows,
      },
      canary: canary === undefined ? null : {
        alias: canary.alias,
        ...this.canary!.state,
        steps: canary.steps,
        last_fallback: this.#fallbacks.get(nameArm(canary)) ?? null,
      },
    };
  }

  /** Looks at the canary now instead of within seconds. */
  async refresh(): Promise<void> {
    await this.canary?.refresh();
  }

  /** Judges and mirrors no more. */
  async close(): Promise<void> {
    await this.canary?.close();
    await this.shadow?.close();
  }
}

function toReference({ alias, version }: ArmReference): ModelReference {
  return alias === undefined ? { version: version! } : { alias };
}
