/**
 * The model card of a version: Markdown made from what was recorded of it. Nothing in it is made up;
 * what was not recorded is said to be so. What a language model wrote of it stands last, and says so.
 *
 * @module
 */
import { computeRateInterval } from "../../numeric/rates.ts";
import { listOrigins } from "./environments.ts";
import { readEvidence } from "./evidence.ts";
import { escapeMarkdown } from "../markdown.ts";
import { GENERATED_TITLE, writeGenerated } from "./model_card_generated.ts";
import { type CardFacts, type SliceAccuracy, writeSections } from "./model_card_sections.ts";
import type { ModelVersion } from "./model_registry.ts";
import { observe } from "../inference/observations.ts";
import { listPromotions } from "./promotion.ts";
import { reportOf } from "./recorded_report.ts";
import type { Store } from "../store/store.ts";

/**
 * Makes the card of a version, after every byte of it was checked. The same records give the same text.
 *
 * @throws {EvidenceError} when a byte of the version has changed.
 *
 * @example
 * ```ts
 * import { assertRejects } from "@std/assert";
 * import { makeModelCard } from "./model_card.ts";
 * import { openStore } from "../store/store.ts";
 *
 * await using store = await openStore(":memory:");
 * const version = { model: "rocks", version: 1, artifact: "", runId: "", createdAt: "", evidenceHash: "" };
 * await assertRejects(() => makeModelCard(store, version, "dev"), Error, "its entry changed");
 * ```
 */
export async function makeModelCard(
  store: Store,
  version: ModelVersion,
  environment: string,
): Promise<string> {
  const facts = await readCardFacts(store, version, environment);
  const sections = [
    ...writeSections(facts),
    [GENERATED_TITLE, await writeGenerated(store, version)] as const,
  ];
  const body = sections.flatMap(([title, text]) => text === null ? [] : [`## ${title}\n\n${text}`]);
  const title = `# Model card: ${escapeMarkdown(version.model)} version ${version.version}`;
  return `${[title, ...body].join("\n\n")}\n`;
}

/**
 * Reads what a card is made from, after every byte of the version was checked.
 * @throws {EvidenceError} when a byte of the version has changed.
 */
export async function readCardFacts(
  store: Store,
  version: ModelVersion,
  environment: string,
): Promise<CardFacts> {
  const { evidence } = await readEvidence(store, version);
  return {
    version,
    environment,
    evidence,
    report: reportOf(evidence),
    seen: await observe(store, version),
    slices: await readSlices(store, version),
    promotions: await listPromotions(store, version),
    aliases: await store.query(
      `select changed_at, alias, from_version, to_version, changed_by, reason from core.alias_log
       where model = ? and ? in (from_version, to_version) order by change`,
      [version.model, version.version],
    ),
    origins: await listOrigins(store, version),
  };
}

async function readSlices(
  store: Store,
  { model, version }: ModelVersion,
): Promise<SliceAccuracy[]> {
  const rows = await store.query<{ slice: string; rows: number; hits: number }>(
    `select coalesce(i.slice, 'all') as slice, count(*) as rows,
       count(*) filter (i.label = l.label) as hits
     from core.inferences i join labels l on l.request_id = i.request_id and l.row = i.row
     where i.model = ? and i.version = ? group by all order by slice`,
    [model, version],
  );
  return rows.map(({ slice, rows, hits }) => ({
    slice,
    rows,
    accuracy: computeRateInterval({ successes: hits, failures: rows - hits })!,
  }));
}
