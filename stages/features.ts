/** Gold: window features along the order, class ids, and the folds that evaluation must use. */
import { z } from "zod";
import {
  blockedFolds,
  groupFolds,
  stratifiedFolds,
  trainRows,
  uniteFolds,
} from "../numeric/split.ts";
import { windowNames, type WindowSpec, windowStatistics } from "../numeric/windows.ts";
import type { Finding } from "../plugins/plugin.ts";
import { sha256 } from "../runtime/artifacts.ts";
import { UsageError } from "../runtime/errors.ts";
import { expandRows } from "../runtime/predict/predictor.ts";
import type { InputColumn, Signature } from "../runtime/registry/signature.ts";
import { quoteIdentifier } from "../runtime/store/sql.ts";
import { hasTable, nameTable, showTable } from "../runtime/store/table.ts";
import { defineStage } from "../runtime/stage.ts";
import type { Silver } from "./preprocessing.ts";
import { readSilver, type SilverRows } from "./rows.ts";

const isUnique = (values: readonly unknown[]) => new Set(values).size === values.length;

const Params = z.strictObject({
  windows: z.strictObject({
    radii: z.array(z.number().positive())
      .refine(isUnique, "it names one radius twice; remove one of them").default([])
      .describe("half widths of the windows, in the unit of the order column"),
    statistics: z.array(z.enum(windowStatistics)).min(1)
      .refine(isUnique, "it names one statistic twice; remove one of them").default([
        "mean",
        "std",
        "gradient",
      ])
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
    const featureNames = radii.length > 0 ? windowNames(names, windows) : names;
    refuseSameNames(featureNames);
    const rows = await readSilver(context.store, silver.train.table, names);
    checkPca(params.pca, featureNames.length, rows.X.rows);
    for (const finding of findLonelyWindows(rows, radii, silver.order)) context.report(finding);
    context.progress(0.3, "windows");
    const X = expandRows(rows, { inputs, outliers: silver.outliers, windows });
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
      report: (finding) => context.report(finding),
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
  readonly report: (finding: Finding) => void;
}

function assignFolds(options: FoldOptions): { split: Split; fold: Int32Array; block: Int32Array } {
  const { folds, y, order, groups } = options;
  const groupCount = groups ? new Set(groups).size : 0;
  const kind = options.kind !== "auto"
    ? options.kind
    : groupCount >= folds
    ? "group"
    : order
    ? "blocked"
    : "stratified";
  if (y.length < folds) {
    throw new UsageError(
      `Cannot split ${y.length} rows into ${folds} folds: a fold needs at least one; ` +
        "lower features.split.folds, or add rows",
    );
  }
  return splitters[kind](options);
}

const splitters: Record<Split["kind"], typeof assignFolds> = {
  group({ folds, groups }) {
    if (!groups) {
      throw new TypeError("Cannot split by group: set preprocessing.group, or split.kind");
    }
    const count = new Set(groups).size;
    if (count < folds) {
      throw new UsageError(
        `Cannot split by group into ${folds} folds: there are ${count} groups; lower ` +
          "features.split.folds, or set features.split.kind to blocked or stratified",
      );
    }
    const fold = groupFolds(groups, folds);
    return { split: { kind: "group", folds, embargo: 0 }, fold, block: groups };
  },
  blocked({ folds, blocks, embargo, order, groups, report }) {
    if (!order) {
      throw new TypeError("Cannot split in blocks: set preprocessing.order, or split.kind");
    }
    const places = countPlaces(order, groups);
    if (places < folds) {
      throw new UsageError(
        `Cannot split into ${folds} folds of blocks: the order column has ${places} different ${
          places === 1 ? "value" : "values"
        } and each fold needs one; set preprocessing.order to another column, lower ` +
          "features.split.folds, or set features.split.kind to stratified",
      );
    }
    const rowsOf = blocks === undefined ? {} : { blocks };
    const assignment = tryBlocks(() =>
      blockedFolds(order, folds, { ...rowsOf, ...(groups ? { groups } : {}) })
    );
    const rows = { fold: assignment.fold, order, groups, embargo };
    const all = Array.from({ length: folds }, (_, held) => held);
    const lost = all.find((held) => !leavesRows(rows, [held]));
    if (lost !== undefined) {
      throw new UsageError(`Cannot train without fold ${lost}: ${explainEmbargo(embargo)}`);
    }
    // A trainer that stops early holds the next fold out, too.
    const pair = folds > 2
      ? all.find((held) => !leavesRows(rows, [held, (held + 1) % folds]))
      : undefined;
    if (pair !== undefined) {
      report({
        check: "embargo",
        severity: "warning",
        subject: "features.split",
        message: `A trainer that stops early cannot train without folds ${pair} and ${
          (pair + 1) % folds
        }: ${explainEmbargo(embargo)}`,
      });
    }
    return { split: { kind: "blocked", folds, embargo }, ...assignment };
  },
  stratified({ folds, seed, y }) {
    return {
      split: { kind: "stratified", folds, embargo: 0 },
      fold: stratifiedFolds(y, folds, seed),
      block: Int32Array.from(y.keys()),
    };
  },
};

/** Different positions, counted within each group. */
function countPlaces(order: Float64Array, groups: Int32Array | undefined): number {
  return new Set(Array.from(order, (value, i) => `${groups?.[i] ?? 0} ${value}`)).size;
}

function tryBlocks<T>(cut: () => T): T {
  try {
    return cut();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(
      `${error.message}; raise features.split.blocks, or lower features.split.folds`,
      { cause: error },
    );
  }
}

/** Whether rows to train on are left when these folds are held out. */
function leavesRows(
  { fold, order, groups, embargo }: {
    readonly fold: Int32Array;
    readonly order: Float64Array;
    readonly groups: Int32Array | undefined;
    readonly embargo: number;
  },
  held: readonly number[],
): boolean {
  const united = uniteFolds({ fold }, held);
  try {
    trainRows(united, held[0], { ...(groups ? { groups } : {}), order, embargo });
    return true;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return false;
  }
}

function explainEmbargo(embargo: number): string {
  return `every other row lies within the embargo of ${embargo} around a held-out row; ` +
    "lower features.split.embargo or features.windows.radii, or lower features.split.blocks, " +
    "so that blocks are longer";
}

/** Columns of a table differ without regard to case. */
function refuseSameNames(names: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name.toLowerCase())) {
      throw new UsageError(
        `Cannot make feature "${name}": another feature is called so; rename the column of that name, ` +
          "or change features.windows",
      );
    }
    seen.add(name.toLowerCase());
  }
}

function checkPca(components: number | null, columns: number, rows: number): void {
  const most = Math.min(columns, rows);
  if (components === null || components <= most) return;
  throw new UsageError(
    `Cannot make ${components} principal components: there are ${columns} features of ${rows} rows; ` +
      `lower features.pca to at most ${most}`,
  );
}

/** Warns of radii within which most rows have no neighbor: such windows say nothing. */
function findLonelyWindows(
  { order, groups }: SilverRows,
  radii: readonly number[],
  column: Silver["order"],
): Finding[] {
  if (radii.length === 0) return [];
  const byGroup = new Map<number, number[]>();
  order.forEach((position, i) => {
    if (!Number.isFinite(position)) return;
    const positions = byGroup.get(groups[i]);
    if (positions) positions.push(position);
    else byGroup.set(groups[i], [position]);
  });
  /** Distance of each row to the nearest other row of its group, and between distinct neighbors. */
  const nearest: number[] = [];
  const steps: number[] = [];
  for (const positions of byGroup.values()) {
    positions.sort((a, b) => a - b);
    positions.forEach((position, i) => {
      const before = i > 0 ? position - positions[i - 1] : Infinity;
      const after = i + 1 < positions.length ? positions[i + 1] - position : Infinity;
      nearest.push(Math.min(before, after));
      if (before > 0 && before < Infinity) steps.push(before);
    });
  }
  const reach = median(nearest);
  const unit = column?.unit ? ` ${column.unit}` : "";
  return radii.filter((radius) => reach > radius).map((radius) => ({
    check: "windows",
    severity: "warning",
    subject: column?.column ?? "order",
    message:
      `Most rows have no neighbor within ${radius}${unit}, so that windows of this radius hold the row ` +
      `alone: rows are ${
        steps.length === 0
          ? "alone in their groups"
          : `${Number(median(steps).toPrecision(3))}${unit} apart`
      }; raise features.windows.radii, or set preprocessing.orderUnit to the unit they are in`,
  }));
}

function median(values: readonly number[]): number {
  return values.length === 0
    ? NaN
    : Float64Array.from(values).sort()[Math.floor((values.length - 1) / 2)];
}
