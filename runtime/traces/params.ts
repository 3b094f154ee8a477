/** Section `tracing` of a config: what of a trace is kept, what calls cost, and how much they may. */
import { z } from "zod";

const amount = z.number().min(0);

const Price = z.strictObject({
  in: amount.describe("Price of a million tokens of prompts"),
  out: amount.describe("Price of a million tokens of replies"),
});

const Budget = z.strictObject({
  tokensPerDay: z.int().min(0).optional().describe("Most tokens of a day (UTC), both ways"),
  costPerDay: amount.optional().describe("Most money of a day (UTC), in the currency of prices"),
});

/** Parses the section; by default spans, prompts and replies are kept, without personal data. */
export const TracingParams = z.strictObject({
  record: z.enum(["off", "metadata", "full"]).default("full").describe(
    "What is kept: nothing, spans and calls without what was said, or prompts and replies, too",
  ),
  redact: z.array(z.string().min(1)).default([]).describe(
    "Attributes, and fields of JSON in them, whose values are never kept",
  ),
  detectors: z.boolean().default(true).describe(
    "Whether e-mail addresses, IBANs, card numbers, IP addresses and telephone numbers are redacted",
  ),
  prices: z.record(z.string(), Price).default({}).describe("Prices by the name of the model"),
  budgets: z.record(z.string(), Budget).default({}).describe(
    'Budgets by judge, each of its own; "*" is that of every judge that is not named',
  ),
}).refine(
  ({ record, budgets }) => record !== "off" || Object.keys(budgets).length === 0,
  {
    error: 'budgets count what was recorded; set record to "metadata", or leave budgets out',
    path: ["record"],
  },
);

/** Parsed {@linkcode TracingParams}. */
export type TracingParams = z.infer<typeof TracingParams>;

/** Tokens of a million, for which prices are. */
const PRICE_TOKENS = 1e6;

/**
 * What a call costs, in the currency of the prices; `null` when the model has no price or a count is
 * not known: what was not measured is not free.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { priceCall } from "./params.ts";
 *
 * const prices = { tiny: { in: 2, out: 10 } };
 * assertEquals(priceCall(prices, ["tiny"], { in: 1000, out: 100 }), 0.003);
 * assertEquals(priceCall(prices, ["other"], { in: 1000, out: 100 }), null);
 * ```
 */
export function priceCall(
  prices: TracingParams["prices"],
  models: readonly (string | null)[],
  tokens: { readonly in: number | null; readonly out: number | null },
): number | null {
  const name = models.find((model) => model !== null && Object.hasOwn(prices, model));
  if (name === undefined || name === null || tokens.in === null || tokens.out === null) return null;
  const price = prices[name];
  return (tokens.in * price.in + tokens.out * price.out) / PRICE_TOKENS;
}
