/** What judges have spent today, and whether one may ask once more. */
import type { Store } from "../store/store.ts";
import type { LlmCall } from "./calls.ts";
import { priceCall, type TracingParams } from "./params.ts";

/** A call that would go beyond a budget. */
export class BudgetError extends Error {
  override readonly name = "BudgetError";
}

/** A call before it is made. */
export interface PlannedCall {
  readonly judge: string;
  readonly model: string;
  /** Most tokens that it is likely to take. */
  readonly tokensIn: number;
  readonly tokensOut: number;
}

interface Spent {
  tokens: number;
  cost: number;
}

/**
 * The budgets of one store. What other processes spend is seen whenever rows are written; a call that
 * is under way counts as much as it may take, and one that failed without a count as much as it might
 * have taken.
 */
export class Budgets {
  readonly #store: Store;
  readonly #params: Pick<TracingParams, "prices" | "budgets">;
  readonly #onStop: (message: string) => void;
  readonly #now: () => Date;
  /** By judge, as the store says. */
  #stored = new Map<string, Spent>();
  /** By judge, what the store does not hold yet. */
  #pending = new Map<string, Spent>();
  /** Calls among the pending that have ended, by their span. */
  readonly #ended = new Map<string, { readonly judge: string } & Spent>();
  #day: string | null = null;
  /** Counts writes: what was read before the last one is out of date. */
  #writes = 0;
  #loadedWrites = -1;
  readonly #told = new Set<string>();

  constructor(
    store: Store,
    { params, onStop, now = () => new Date() }: {
      readonly params: Pick<TracingParams, "prices" | "budgets">;
      /** Hears of a stop, once a day and judge. */
      readonly onStop: (message: string) => void;
      readonly now?: () => Date;
    },
  ) {
    this.#store = store;
    this.#params = params;
    this.#onStop = onStop;
    this.#now = now;
  }

  /**
   * Sets aside what a call may take, and gives what is to be called with the call when it is over.
   * @throws {BudgetError} when the budget of the judge's day does not hold it.
   */
  async reserve(planned: PlannedCall): Promise<(call: LlmCall | null) => void> {
    const { judge, model, tokensIn, tokensOut } = planned;
    const { budgets, prices } = this.#params;
    const budget = Object.hasOwn(budgets, judge) ? budgets[judge] : budgets["*"];
    if (budget === undefined) return () => {};
    await this.#load();
    const cost = priceCall(prices, [model], { in: tokensIn, out: tokensOut });
    const { tokensPerDay = Infinity, costPerDay = Infinity } = budget;
    const stored = this.#stored.get(judge) ?? { tokens: 0, cost: 0 };
    const pending = this.#pendingOf(judge);
    const spent = { tokens: stored.tokens + pending.tokens, cost: stored.cost + pending.cost };
    if (spent.tokens + tokensIn + tokensOut > tokensPerDay) {
      const wanted = `it has taken ${spent.tokens} of ${tokensPerDay} tokens today`;
      throw this.#stop(judge, `${wanted}; raise tracing.budgets or wait for tomorrow (UTC)`);
    }
    if (costPerDay !== Infinity && cost === null) {
      throw this.#stop(
        judge,
        `model "${model}" has no price to count; add it to tracing.prices`,
      );
    }
    if (cost !== null && spent.cost + cost > costPerDay) {
      const wanted = `it has cost ${Number(spent.cost.toPrecision(6))} of ${costPerDay} today`;
      throw this.#stop(judge, `${wanted}; raise tracing.budgets or wait for tomorrow (UTC)`);
    }
    pending.tokens += tokensIn + tokensOut;
    pending.cost += cost ?? 0;
    return (call) => {
      if (call === null || call.tokens_in === null || call.tokens_out === null) return;
      const taken = { tokens: call.tokens_in + call.tokens_out, cost: call.cost ?? 0 };
      pending.tokens += taken.tokens - tokensIn - tokensOut;
      pending.cost += taken.cost - (cost ?? 0);
      this.#ended.set(call.span_id, { judge, ...taken });
    };
  }

  /** Says that the store holds these calls now. */
  written(calls: readonly LlmCall[]): void {
    this.#writes++;
    for (const { span_id } of calls) {
      const ended = this.#ended.get(span_id);
      if (ended === undefined) continue;
      this.#ended.delete(span_id);
      const pending = this.#pendingOf(ended.judge);
      pending.tokens -= ended.tokens;
      pending.cost -= ended.cost;
    }
  }

  #pendingOf(judge: string): Spent {
    let pending = this.#pending.get(judge);
    if (pending === undefined) this.#pending.set(judge, pending = { tokens: 0, cost: 0 });
    return pending;
  }

  async #load(): Promise<void> {
    const day = this.#now().toISOString().slice(0, 10);
    if (this.#day !== day) {
      this.#pending.clear();
      this.#ended.clear();
      this.#loadedWrites = -1;
      this.#day = day;
    }
    while (this.#loadedWrites !== this.#writes) {
      const writes = this.#writes;
      const rows = await this.#store.query<{ judge: string; tokens: number; cost: number }>(
        `select judge, sum(coalesce(tokens_in, 0) + coalesce(tokens_out, 0))::double as tokens,
           coalesce(sum(cost), 0) as cost
         from core.llm_calls where started_at >= ?::date and judge is not null group by judge`,
        [day],
      );
      if (writes !== this.#writes) continue;
      this.#stored = new Map(rows.map(({ judge, ...spent }) => [judge, spent]));
      this.#loadedWrites = writes;
    }
  }

  #stop(judge: string, state: string): BudgetError {
    const message = `Cannot ask for judge "${judge}": ${state}`;
    const key = `${this.#now().toISOString().slice(0, 10)} ${judge}`;
    if (!this.#told.has(key)) {
      this.#told.add(key);
      this.#onStop(message);
    }
    return new BudgetError(message);
  }
}
