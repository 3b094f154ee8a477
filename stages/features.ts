/** Gold: window features along the order, class ids, and the folds that evaluation must use. */
import { z } from "zod";
import { blockedFolds, groupFolds, stratifiedFolds } from "../numeric/split.ts";
import { windowNames, type WindowSpec, windowStatistics } from "../numeric/windows.ts";
import { sha256 } from "../runtime/artifacts.ts";
import { expandRows } from "../runtime/predictor.ts";
import type { InputColumn, Signature } from "../runtime/signature.ts";
import { quoteIdentifier } from "../runtime/sql.ts";
import { hasTable, nameTable, showTable } from "../runtime/table.ts";
import { defineStage } from "../runtime/stage.ts";
import type { Silver } from "./preprocessing.ts";
import { readSilver } from "./rows.ts";

const Params = z.strictObject({
  windows: z.strictObject({
    radii: z.array(z.number().positive()).default([])
      .describe("half widths of the windows, in the unit of the order column"),
    statistics: z.array(z.enum(windowStatistics)).min(1).default(["mean", "std", "gradient"])
      .describe("what summarizes a window"),
  }).prefault({}).describe("features of a row's neighborhood; needs an order column"),
  standardize: z.boolean().default(true).describe("scale features to mean 0 and deviation 1"),
  pca: z.int().positive().nullable().default(null)
    .describe("principal components that replace the features"),
  split: z.strictObject({
    kind: z.enum(["auto", "group", "blocked", "stratified"]).default("auto")
      .describe("auto: whole groups when there are enough, else blocks of the order, else strata"),
    folds: z.int().min(2).max(50).default(5).describe("folds of the cross-validation"),
    blocks: z.int().min(2).optional().describe("blocks per group when blocked; default 8 per fold"),
    embargo: z.number().min(0).optional()
      .describe(
        "training rows nearer than this to a held-out row are left out; default: widest window",
      ),
  }).prefault({}).describe("how evaluation holds rows out; a random split of neighbors leaks"),
});

/** How rows are held out. */
export interface Split {
  readonly kind: "group" | "blocked" | "stratified";
  readonly folds: number;
  /** In the unit of the order column. */
  readonly embargo: number;
}

/** Training table of numbers, with everything a trainer and a server need to know about it. */
export interface Gold {
  /** Columns `_class`, `_fold`, `_block`, `_group`, `_order`, then the features. */
  readonly table: string;
  readonly rows: number;
  readonly contentHash: string;
  readonly inputs: readonly InputColumn[];
  readonly order: Signature["order"];
  readonly outliers: Signature["outliers"];
  readonly windows: WindowSpec;
  readonly features: readonly string[];
  readonly classes: readonly string[];
  readonly target: string;
  readonly steps: {
    readonly standardize: boolean;
    readonly pca: number | null;
    readonly log: readonly string[];
  };
  readonly split: Split;
  readonly silver: Silver;
}

/** Makes the training table. */
export const features = defineStage<Silver, Gold, z.infer<typeof Params>>({
  name: "features",
  summary: "windows along the order, folds that do not leak",
  module: import.meta.url,
  params: Params,
  async run(silver, params, context) {
    const { windows: { radii, statistics }, split: wanted } = params;
    if (radii.length > 0 && !silver.order) {
      throw new TypeError(
        "Cannot make window features: the data has no order; set preprocessing.order, or features.windows.radii to []",
      );
    }
    const inputs: InputColumn[] = silver.features.map(({ name, unit, range }) => ({
      name,
      ...(unit ? { unit } : {}),
      ...(range ? { range } : {}),
    }));
    const names = inputs.map((input) => input.name);
    const logged = silver.features.filter((feature) => feature.log).map(({ name }) => name);
    const windows: WindowSpec = {
      radii,
      statistics,
      log: logged.map((name) => names.indexOf(name)),
    };
    const rows = await readSilver(context.store, silver.train.table, names);
    context.progress(0.3, "windows");
    const X = expandRows(rows, { inputs, outliers: silver.outliers, windows });
    const featureNames = radii.length > 0 ? windowNames(names, windows) : names;
    const classes = silver.classes.map(({ name }) => name);
    const y = Int32Array.from(rows.labels, (label) => classes.indexOf(label!));

    const embargo = wanted.embargo ?? Math.max(0, ...radii);
    const { split, fold, block } = assignFolds({
      kind: wanted.kind,
      folds: wanted.folds,
      ...(wanted.blocks ? { blocks: wanted.blocks } : {}),
      embargo,
      seed: context.seed,
      y,
      ...(silver.order ? { order: rows.order } : {}),
      ...(silver.hasGroups ? { groups: rows.groups } : {}),
    });
    const contentHash = await sha256(
      JSON.stringify([silver.train.contentHash, params, inputs, classes, context.seed]),
    );
    const { table, view } = nameTable("gold", context.name, contentHash);
    const columns: Record<string, Float64Array | readonly unknown[]> = {
      _source: rows.sources,
      _row: rows.rowNumbers,
      _group: rows.groupNames,
      _order: rows.order,
      _label: rows.labels,
      _class: [...y],
      _fold: [...fold],
      _block: [...block],
    };
    featureNames.forEach((name, j) => {
      const values = new Float64Array(X.rows);
      for (let i = 0; i < X.rows; i++) values[i] = X.data[i * X.cols + j];
      columns[name] = values;
    });
    const definition = [
      "_source varchar, _row bigint, _group varchar, _order double, _label varchar",
      "_class integer, _fold integer, _block integer",
      ...featureNames.map((name) => `${quoteIdentifier(name)} double`),
    ].join(", ");
    await context.store.transaction([
      { sql: `create or replace table ${table} (${definition})` },
      { append: table.replaceAll('"', ""), columns },
      showTable(view, table),
    ]);
    context.log("rows", X.rows);
    context.log("features", X.cols);
    return {
      table,
      rows: X.rows,
      contentHash,
      inputs,
      order: silver.order,
      outliers: silver.outliers,
      windows,
      features: featureNames,
      classes,
      target: silver.target,
      steps: { standardize: params.standardize, pca: params.pca, log: logged },
      split,
      silver,
    };
  },
  describe: ({ rows, features, inputs, split }) =>
    `${
      rows.toLocaleString("en")
    } rows, ${features.length} features from ${inputs.length} columns, ${split.folds} ${split.kind} folds` +
    (split.embargo > 0 ? `, embargo ${split.embargo}` : ""),
  async isCurrent({ table }, _params, { store }) {
    return await hasTable(store, table);
  },
});

interface FoldOptions {
  readonly kind: "auto" | Split["kind"];
  readonly folds: number;
  readonly blocks?: number;
  readonly embargo: number;
  readonly seed: number;
  readonly y: Int32Array;
  readonly order?: Float64Array;
  readonly groups?: Int32Array;
}

function assignFolds(options: FoldOptions) {
  const { folds, embargo, seed, y, order, groups } = options;
  const groupCount = groups ? new Set(groups).size : 0;
  const kind = options.kind !== "auto"
    ? options.kind
    : groupCount >= folds
    ? "group"
    : order
    ? "blocked"
    : "stratified";
  if (kind === "group") {
    if (!groups) {
      throw new TypeError("Cannot split by group: set preprocessing.group, or split.kind");
    }
    return {
      split: { kind, folds, embargo: 0 } as Split,
      fold: groupFolds(groups, folds),
      block: groups,
    };
  }
  if (kind === "blocked") {
    if (!order) {
      throw new TypeError("Cannot split in blocks: set preprocessing.order, or split.kind");
    }
    const assignment = blockedFolds(order, folds, {
      ...(options.blocks ? { blocks: options.blocks } : {}),
      ...(groups ? { groups } : {}),
    });
    return { split: { kind, folds, embargo } as Split, ...assignment };
  }
  return {
    split: { kind, folds, embargo: 0 } as Split,
    fold: stratifiedFolds(y, folds, seed),
    block: Int32Array.from(y.keys()),
  };
}
