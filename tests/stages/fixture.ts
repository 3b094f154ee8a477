/** A made-up table with an order, groups, missing values and three classes, through the first stages. */
import { Random } from "../../numeric/random.ts";
import { csv } from "../../plugins/sources/table.ts";
import { boosting } from "../../plugins/trainers/boosting.ts";
import { logistic } from "../../plugins/trainers/logistic.ts";
import { prior } from "../../plugins/trainers/prior.ts";
import { ingestion } from "../../stages/ingestion.ts";
import { preprocessing, type Silver } from "../../stages/preprocessing.ts";
import { openTestContext, type TestContext } from "../stage_context.ts";

/** Plugins that the stages under test need. */
export const stagePlugins = [csv, prior, logistic, boosting];

/** How the table is made. */
export interface TableOptions {
  readonly rows?: number;
  /** Distinct values of column `site`; 0 leaves the column out. */
  readonly sites?: number;
  /** Whether to use the column `time` as the order. */
  readonly isOrdered?: boolean;
  /** Rows of a second table that `production` names, shifted by `shift`. */
  readonly production?: { readonly rows: number; readonly shift: number };
}

/** CSV text: classes change every 20 rows, so that neighbors are alike. */
export function makeCsv(rows: number, options: { sites?: number; shift?: number; seed?: number }) {
  const random = new Random(options.seed ?? 1);
  const normal = () => random.uniform() + random.uniform() + random.uniform() - 1.5;
  const lines = ["time,site,heat,flow,noise,kind"];
  for (let i = 0; i < rows; i++) {
    const kind = Math.floor(i / 20) % 3;
    const heat = kind * 2 + normal() + (options.shift ?? 0);
    const flow = i % 17 === 0 ? "" : (kind === 1 ? 5 : 1) + normal();
    const site = options.sites ? `s${Math.floor(i * options.sites / rows)}` : "s";
    lines.push([i * 0.5, site, heat, flow, normal(), ["calm", "busy", "hot"][kind]].join(","));
  }
  return lines.join("\n") + "\n";
}

/** Runs ingestion and preprocessing on a made-up table and hands over context and silver. */
export async function withSilver(
  options: TableOptions,
  action: (context: TestContext, silver: Silver) => Promise<void>,
  overrides: Partial<TestContext> = {},
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await using context = await openTestContext(stagePlugins, { baseDir: folder, ...overrides });
    await Deno.writeTextFile(
      `${folder}/train.csv`,
      makeCsv(options.rows ?? 600, options.sites ? { sites: options.sites } : {}),
    );
    const { production } = options;
    if (production) {
      await Deno.writeTextFile(
        `${folder}/new.csv`,
        makeCsv(production.rows, { shift: production.shift, seed: 2 }),
      );
    }
    const bronze = await ingestion.run(
      undefined,
      ingestion.params.parse({
        train: ["train.csv"],
        production: production ? [{ uri: "new.csv", group: "new" }] : [],
      }),
      context,
    );
    const silver = await preprocessing.run(
      bronze,
      preprocessing.params.parse({
        target: "kind",
        features: ["heat", "flow", "noise"],
        ...(options.sites ? { group: "site" } : {}),
        ...(options.isOrdered ? { order: "time" } : {}),
      }),
      context,
    );
    await action(context, silver);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
