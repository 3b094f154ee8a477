/**
 * Preprocessing: bronze rows become typed silver rows of declared features in declared units, and
 * the quality gate decides which rows may pass.
 *
 * @module
 */
import { z } from "zod";
import { suggest, UsageError } from "../runtime/errors.ts";
import { describeShown, expectationSchema, findFailures } from "../runtime/expectations.ts";
import { quoteIdentifier, quoteLiteral } from "../runtime/store/sql.ts";
import { type Context, defineStage } from "../runtime/stage.ts";
import {
  type ColumnInfo,
  describeTable,
  hashJson,
  hasTable,
  isUsable,
  listLiterals,
  nameTable,
  selectTime,
  showTable,
  type TableHandle,
} from "../runtime/store/table.ts";
import {
  type ClassCount,
  countClasses,
  explainBadTarget,
  explainShared,
  MAX_CLASSES,
  selectClass,
  selectWhole,
} from "../runtime/target.ts";
import { findConversion } from "../runtime/units.ts";
import type { Bronze } from "./ingestion.ts";

/** One feature of the silver tables. */
export interface SilverFeature {
  readonly name: string;
  readonly unit?: string;
  /** Values outside were handled as `outliers` says; in `unit`. */
  readonly range?: readonly [number, number];
  /** Whether the model sees its logarithm; the silver table holds the value itself. */
  readonly log: boolean;
}

/** A silver table, with what did not get into it. Its columns are the features. */
export interface SilverTable extends TableHandle {
  readonly rowsLeftOut: number;
  /** Rows left out by reason: `no target`, `dropped class`, `quarantined`. */
  readonly leftOut: Readonly<Record<string, number>>;
  /** Groups that a failed expectation keeps out. */
  readonly quarantined: readonly string[];
}

/** What preprocessing gives: typed rows with features and label. */
export interface Silver {
  readonly train: SilverTable;
  readonly production: SilverTable | null;
  readonly features: readonly SilverFeature[];
  /** The column of the labels; `_label` when intervals labelled the rows. */
  readonly target: string;
  /** Classes of the training rows, sorted by name. */
  readonly classes: readonly ClassCount[];
  /** What `_order` holds: that column, in that unit (since 1970 for a time, `s` unless declared). */
  readonly order: { readonly column: string; readonly unit?: string } | null;
  /** Whether the training rows come from more than one group. */
  readonly hasGroups: boolean;
  /** What happened to values outside their range; serving does the same. */
  readonly outliers: "null" | "clip" | "keep";
}

const feature = z.strictObject({
  unit: z.string().optional().describe("Unit of the feature; values are converted to it"),
  range: z.tuple([z.number(), z.number()]).optional().describe(
    "Smallest and largest sensible value, in the unit",
  ),
  aliases: z.array(z.string()).optional().describe("Other names of the column, in this order"),
  log: z.boolean().optional().describe("Whether the model sees its logarithm"),
});

const params = z.strictObject({
  target: z.string().optional().describe("Column of the labels; default: the labels of intervals"),
  features: z.union([
    z.literal("numeric"),
    z.array(z.string()).min(1),
    z.record(z.string(), feature),
  ]).default("numeric").describe(
    '"numeric" (every numeric column), a list of columns, or columns with unit, range, aliases, log',
  ),
  group: z.string().default("_group").describe("Column of the group, such as the well"),
  order: z.string().optional().describe("Column that orders the rows of a group: depth or time"),
  orderUnit: z.string().optional().describe(
    "Unit of the order column; values are converted to it, times to ms, s, min, h or d since 1970",
  ),
  outliers: z.enum(["null", "clip", "keep"]).default("null").describe(
    "What becomes of values outside a feature's range",
  ),
  nullValues: z.array(z.number()).default([]).describe("Numbers that stand for a missing value"),
  minClassRows: z.number().int().min(1).default(2).describe("Fewest rows of a class"),
  dropClasses: z.array(z.string()).default([]).describe("Classes whose rows are left out"),
  expectations: z.array(expectationSchema).default([]).describe(
    "The quality gate; that the target is there and features have values is always checked",
  ),
});

type Params = z.infer<typeof params>;
type Role = "train" | "production";

/** Raises the content hash when the same rows and parameters would give another table. */
const FORMAT = 2;
/** Rows that a finding names. */
const SHOWN_ROWS = 3;
/** Share of rows with a value from which on a feature that tells the class is called a leak. */
const LEAK_SHARE = 0.5;
/** Share of outliers from which on a finding is a warning. */
const OUTLIER_WARNING = 0.05;

/** The stage `preprocessing`. */
export const preprocessing = defineStage<Bronze, Silver, Params>({
  name: "preprocessing",
  module: import.meta.url,
  summary: "Types, units, outliers and the quality gate: silver tables",
  params,

  async run({ train, production, intervals }, params, context) {
    const target = findTarget(train, params, intervals !== null);
    const shared = explainShared({ target, group: params.group, order: params.order });
    if (shared) {
      throw new UsageError(
        `${shared}; set preprocessing.${
          shared.startsWith("Cannot group") ? "group" : "order"
        } to another column, or leave it out`,
      );
    }
    const features = findFeatures(train, params, target);
    const trainPlan = plan("train", train, { params, features, target, context });
    const classes = await checkTarget(trainPlan, params, context);
    context.progress(0.2, `${classes.length} classes`);
    const trainTable = await settle(trainPlan, params, context);
    context.progress(0.6, `${trainTable.rows} training rows`);
    const productionTable = production &&
      await settle(
        plan("production", production, { params, features, target, context }),
        params,
        context,
      );
    const [{ groups }] = await context.store.query<{ groups: number }>(
      `select count(distinct _group) as groups from ${trainTable.table}`,
    );
    context.log("rows_train", trainTable.rows);
    context.log("rows_left_out_train", trainTable.rowsLeftOut);
    if (productionTable) {
      context.log("rows_production", productionTable.rows);
      context.log("rows_left_out_production", productionTable.rowsLeftOut);
    }
    return {
      train: trainTable,
      production: productionTable,
      features: features.map(({ name, unit, range, log }) => ({
        name,
        ...(unit ? { unit } : {}),
        ...(range ? { range } : {}),
        log,
      })),
      target,
      classes,
      order: trainPlan.order,
      hasGroups: groups > 1,
      outliers: params.outliers,
    };
  },

  describe({ train, production, features, classes }) {
    const say = ({ rows, rowsLeftOut }: SilverTable) =>
      `${rows.toLocaleString("en")} rows` +
      (rowsLeftOut > 0 ? ` (${rowsLeftOut.toLocaleString("en")} left out)` : "");
    return `train ${say(train)}, ${features.length} features, ${classes.length} classes` +
      (production ? `; production ${say(production)}` : "");
  },

  async isCurrent({ train, production }, _params, context) {
    for (const { table } of production ? [train, production] : [train]) {
      if (!await hasTable(context.store, table)) return false;
    }
    return true;
  },
});

interface Feature extends SilverFeature {
  /** Names under which a column may hold it, its own first. */
  readonly names: readonly string[];
}

function findColumn(table: TableHandle, name: string): ColumnInfo | undefined {
  return table.columns.find((column) => column.name === name) ??
    table.columns.find((column) => column.name.toLowerCase() === name.toLowerCase());
}

/** Gives the training column of that name, or explains which there are. */
function requireColumn(table: TableHandle, name: string, key: string): ColumnInfo {
  const column = findColumn(table, name);
  if (column) return column;
  const names = table.columns.map((c) => c.name);
  const near = suggest(name, names);
  throw new UsageError(
    `Cannot find column "${name}" of preprocessing.${key} in the training rows: ${
      near ? `did you mean "${near}"? They have` : "they have"
    } ${names.join(", ")}`,
  );
}

function findTarget(train: TableHandle, params: Params, hasIntervals: boolean): string {
  if (params.target === "_label" || (params.target === undefined && hasIntervals)) {
    if (hasIntervals) return "_label";
    throw new UsageError(
      'Cannot use target "_label": no intervals label the rows; set ingestion.intervals',
    );
  }
  if (params.target === undefined) {
    throw new UsageError(
      `Cannot preprocess without a target: set preprocessing.target to one of ${
        train.columns.map(({ name }) => name).join(", ")
      }`,
    );
  }
  const column = requireColumn(train, params.target, "target");
  if (column.type === "time") {
    throw new TypeError(
      `Cannot use target "${column.name}": it is a time; name a column of classes`,
    );
  }
  return column.name;
}

function findFeatures(train: TableHandle, params: Params, target: string): Feature[] {
  const features = listFeatures(train, params, target);
  if (features.length === 0) {
    throw new UsageError(
      "Cannot preprocess without features: the training rows have no numeric column besides target, " +
        "group and order; name some in preprocessing.features",
    );
  }
  const seen = new Set<string>();
  for (const { name, range, names } of features) {
    if (seen.has(name.toLowerCase()) || name.toLowerCase() === target.toLowerCase()) {
      throw new UsageError(
        `Cannot use feature "${name}": it is ${
          seen.has(name.toLowerCase()) ? "named twice" : "the target"
        }; remove it from preprocessing.features`,
      );
    }
    seen.add(name.toLowerCase());
    if (/^_(source|row|group|label|order)$/i.test(name)) {
      throw new UsageError(`Cannot use feature "${name}": the name is reserved`);
    }
    if (range && !(range[0] < range[1])) {
      throw new RangeError(
        `Cannot use range [${range}] of feature "${name}": the first number must be the smaller one`,
      );
    }
    if (!names.some((alias) => findColumn(train, alias))) requireColumn(train, name, "features");
    const text = names.map((alias) => findColumn(train, alias)).find((c) =>
      c && c.type !== "number" && c.nulls < train.rows
    );
    if (text) {
      throw new TypeError(
        `Cannot use feature "${text.name}": it is ${text.type} and not a number; remove it from preprocessing.features`,
      );
    }
  }
  return features;
}

function listFeatures(train: TableHandle, params: Params, target: string): Feature[] {
  const unitOf = (names: readonly string[]) =>
    names.map((name) => findColumn(train, name)?.unit).find((unit) => unit !== undefined);
  const bare = (name: string): Feature => {
    const unit = unitOf([name]);
    return { name, names: [name], log: false, ...(unit ? { unit } : {}) };
  };
  if (params.features === "numeric") {
    const others = [target, params.group, params.order].map((name) => name?.toLowerCase());
    return train.columns
      .filter(({ name, type }) => type === "number" && !others.includes(name.toLowerCase()))
      .map(({ name }) => bare(name));
  }
  if (Array.isArray(params.features)) return params.features.map(bare);
  return Object.entries(params.features).map(([name, declared]) => {
    const names = [name, ...declared.aliases ?? []];
    const unit = declared.unit ?? unitOf(names);
    return {
      name,
      names,
      log: declared.log ?? false,
      ...(unit ? { unit } : {}),
      ...(declared.range ? { range: declared.range } : {}),
    };
  });
}

/** How one role's silver rows come from its bronze rows, before anything has run. */
interface Plan {
  readonly role: Role;
  readonly bronze: TableHandle;
  readonly features: readonly Feature[];
  readonly target: string;
  /**
   * `SELECT` of all rows with `_source`, `_row`, `_group`, `_order`, `_label`, `_key` (the group that
   * the gate judges) and one column per feature, in its unit, null values removed, outliers kept.
   */
  readonly measured: string;
  /** SQL condition per feature on a bronze row: its number is infinite or beyond float32. */
  readonly unusable: readonly string[];
  /** SQL by column name, for the expectations. */
  readonly columns: ReadonlyMap<string, string>;
  readonly order: Silver["order"];
}

interface PlanOptions {
  readonly params: Params;
  readonly features: readonly Feature[];
  readonly target: string;
  readonly context: Context;
}

function plan(role: Role, bronze: TableHandle, options: PlanOptions): Plan {
  const { params, features, target, context } = options;
  const order = selectOrder(role, bronze, params, context);
  const columns = new Map<string, string>();
  const selected = features.map((feature) => selectFeature(role, bronze, feature, options));
  const values = selected.map(({ value }, j) => `${value} as f${j}`);
  features.forEach(({ name }, j) => columns.set(name.toLowerCase(), `f${j}`));
  columns.set(target.toLowerCase(), "_label");
  if (params.order) columns.set(params.order.toLowerCase(), "_order");
  const extras = params.expectations.flatMap(({ column, columns: more }) => [
    ...column ? [column] : [],
    ...more ?? [],
  ]).filter((name) => !columns.has(name.toLowerCase()));
  for (const [j, name] of [...new Set(extras)].entries()) {
    const column = role === "train"
      ? requireColumn(bronze, name, "expectations")
      : findColumn(bronze, name);
    values.push(`${column ? quoteIdentifier(column.name) : "null::double"} as x${j}`);
    columns.set(name.toLowerCase(), `x${j}`);
  }
  const group = selectGroup(role, bronze, params, context);
  const measured = `select _source, _row, ${group} as _group, coalesce(${group}, _source) as _key,
    ${order.sql} as _order, ${selectLabel(bronze, target)} as _label, ${values.join(", ")}
    from ${bronze.table}`;
  return {
    role,
    bronze,
    features,
    target,
    measured,
    unusable: selected.map(({ unusable }) => unusable),
    columns,
    order: order.order,
  };
}

/** The order value as DOUBLE: in the declared unit, or seconds since 1970. */
function selectOrder(
  role: Role,
  bronze: TableHandle,
  params: Params,
  context: Context,
): { sql: string; order: Silver["order"] } {
  if (params.order === undefined) return { sql: "null::double", order: null };
  const column = role === "train"
    ? requireColumn(bronze, params.order, "order")
    : findColumn(bronze, params.order);
  if (!column) {
    context.report({
      check: "schema",
      severity: "warning",
      subject: params.order,
      message:
        `The production rows lack the order column ${params.order}; they keep the order of their files`,
    });
    return { sql: "null::double", order: { column: params.order } };
  }
  if (column.type === "text") {
    throw new TypeError(
      `Cannot order by "${column.name}": it is text in the ${role} rows; name a number or a time`,
    );
  }
  const name = quoteIdentifier(column.name);
  if (column.type === "time") {
    const unit = params.orderUnit ?? "s";
    return { sql: selectTime(name, unit, column.name), order: { column: column.name, unit } };
  }
  const unit = params.orderUnit ?? column.unit;
  const finite = `case when ${isUsable(name)} then ${name} end`;
  const sql = convertSql(finite, column, unit, `order column "${column.name}"`);
  return { sql, order: { column: column.name, ...(unit ? { unit } : {}) } };
}

/** The value in `unit`; a column without a unit is taken to be in it already. */
function convertSql(
  value: string,
  column: ColumnInfo,
  unit: string | undefined,
  what: string,
): string {
  if (!unit || !column.unit) return value;
  try {
    const { factor, offset } = findConversion(column.unit, unit);
    if (factor === 1 && offset === 0) return value;
    return `(${value}) * ${quoteLiteral(factor)} + ${quoteLiteral(offset)}`;
  } catch (error) {
    throw new RangeError(`Cannot bring ${what} to unit "${unit}"`, { cause: error });
  }
}

/** The group; rows of several files without one are grouped by file, so that depths never mix. */
function selectGroup(role: Role, bronze: TableHandle, params: Params, context: Context): string {
  const byFile = bronze.sources.length > 1 ? "coalesce(_group, _source)" : "_group";
  if (params.group === "_group") return byFile;
  const column = role === "train"
    ? requireColumn(bronze, params.group, "group")
    : findColumn(bronze, params.group);
  if (!column) {
    context.report({
      check: "schema",
      severity: "warning",
      subject: params.group,
      message:
        `The production rows lack the group column ${params.group}; they are grouped by file`,
    });
    return "coalesce(_group, _source)";
  }
  const name = quoteIdentifier(column.name);
  return column.type === "number" ? selectWhole(name) : `${name}::varchar`;
}

function selectLabel(bronze: TableHandle, target: string): string {
  if (target === "_label") return "_label";
  const column = findColumn(bronze, target);
  return column ? selectClass(column) : "null::varchar";
}

function selectFeature(
  role: Role,
  bronze: TableHandle,
  feature: Feature,
  { params, context }: PlanOptions,
): { value: string; unusable: string } {
  const found = feature.names.flatMap((name) => {
    const column = findColumn(bronze, name);
    return column ? [column] : [];
  });
  const report = (severity: "info" | "warning", message: string) =>
    context.report({ check: "schema", severity, subject: feature.name, message });
  const usable = found.filter(({ type }) => type === "number");
  for (const { name, type, nulls } of found.filter((column) => column.type !== "number")) {
    if (nulls === bronze.rows) continue;
    report("warning", `Column ${name} is ${type} in the ${role} rows and a number in training`);
  }
  if (usable.length === 0) {
    const state = found.length > 0 ? "have no value of" : "lack";
    report(
      "warning",
      `The ${role} rows ${state} feature ${feature.name}; all its values are missing`,
    );
    return { value: "null::double", unusable: "false" };
  }
  if (usable.some(({ name }) => name.toLowerCase() !== feature.name.toLowerCase())) {
    report(
      "info",
      `Feature ${feature.name} of the ${role} rows is read from ${
        usable.map(({ name }) => name).join(", else from ")
      }`,
    );
  }
  const parts = usable.map((column) => {
    const name = quoteIdentifier(column.name);
    const converted = convertSql(name, column, feature.unit, `feature "${column.name}"`);
    const isNull = params.nullValues.length > 0
      ? `${name} in ${listLiterals(params.nullValues)}`
      : "false";
    return {
      value: `case when ${isUsable(converted)} and not ${isNull} then ${converted} end`,
      unusable: `coalesce(not ${isUsable(converted)} and not ${isNull}, false)`,
    };
  });
  return {
    value: `coalesce(${parts.map(({ value }) => value).join(", ")})`,
    unusable: `(${parts.map(({ unusable }) => unusable).join(" or ")})`,
  };
}

/** Counts classes and refuses what is no target for a classifier. */
async function checkTarget(
  { measured, target }: Plan,
  { minClassRows, dropClasses }: Params,
  { store }: Context,
): Promise<ClassCount[]> {
  const isKept = dropClasses.length > 0 ? `_label not in ${listLiterals(dropClasses)}` : "true";
  await refuseUnknownClasses(measured, dropClasses, store);
  const classes = await store.query<{ name: string; rows: number }>(
    countClasses(`select * from (${measured}) where ${isKept}`, "_label"),
  );
  const fault = explainBadTarget(classes);
  if (fault) throw new RangeError(`Cannot train on target "${target}": ${fault}`);
  const [rare] = classes;
  if (rare.rows < minClassRows) {
    throw new RangeError(
      `Cannot train on target "${target}": class "${rare.name}" has ${rare.rows} ${
        rare.rows === 1 ? "row" : "rows"
      } and minClassRows asks for ${minClassRows}; add rows, or leave the class out with ` +
        `preprocessing.dropClasses=["${rare.name}"]`,
    );
  }
  return classes.sort((a, b) => a.name < b.name ? -1 : 1);
}

async function refuseUnknownClasses(
  measured: string,
  dropClasses: readonly string[],
  store: Context["store"],
): Promise<void> {
  if (dropClasses.length === 0) return;
  const classes = await store.query<{ name: string }>(
    countClasses(measured, "_label"),
  );
  const names = classes.map(({ name }) => name);
  const unknown = dropClasses.find((name) => !names.includes(name));
  if (unknown === undefined || names.length > MAX_CLASSES) return;
  const near = suggest(unknown, names);
  throw new UsageError(
    `Cannot drop class "${unknown}": ${near ? `did you mean "${near}"? There` : "there"} are ${
      names.join(", ")
    }`,
  );
}

/** Judges the rows of a plan and writes those that pass as its silver table. */
async function settle(plan: Plan, params: Params, context: Context): Promise<SilverTable> {
  const { role, bronze, measured } = plan;
  const isDropped = params.dropClasses.length > 0
    ? `coalesce(_label in ${listLiterals(params.dropClasses)}, false)`
    : "false";
  const kept = role === "train"
    ? `select * from (${measured}) where _label is not null and not ${isDropped}`
    : measured;
  const quarantined = await judge(plan, kept, params, context);
  const passed = quarantined.length > 0
    ? `select * from (${kept}) where _key not in ${listLiterals(quarantined)}`
    : kept;
  await reportUnusable(plan, context);
  await reportNulls(plan, passed, context);
  if (role === "train") await reportLeaks(plan, passed, context);
  await reportOutliers(plan, passed, params, context);
  const contentHash = hashJson({
    format: FORMAT,
    role,
    bronze: bronze.contentHash,
    features: plan.features,
    params,
    quarantined,
  });
  const { table, view } = nameTable("silver", `${context.name}_${role}`, contentHash);
  const values = plan.features.map((feature, j) =>
    `${handleOutliers(`f${j}`, feature, params)} as ${quoteIdentifier(feature.name)}`
  );
  // A run beside this one may have made the table meanwhile: the same name means the same rows.
  const create = `create table if not exists ${table} as
    select _source, _row, _group, _order::double as _order, _label, ${values.join(", ")}
    from (${passed}) order by _group, _order, _source, _row`;
  await context.store.transaction([
    ...await hasTable(context.store, table) ? [] : [{ sql: create }],
    showTable(view, table),
  ]);
  return await describeSilver(plan, table, contentHash, {
    measured,
    isDropped,
    quarantined,
    context,
  });
}

/** `least` and `greatest` skip nulls in DuckDB, hence the plain cases. */
function handleOutliers(value: string, { range }: Feature, { outliers }: Params): string {
  if (!range || outliers === "keep") return `${value}::double`;
  const [low, high] = range.map(quoteLiteral);
  return outliers === "null"
    ? `case when ${value} between ${low} and ${high} then ${value} end::double`
    : `case when ${value} < ${low} then ${low} when ${value} > ${high} then ${high} else ${value} end::double`;
}

async function describeSilver(
  plan: Plan,
  table: string,
  contentHash: string,
  { measured, isDropped, quarantined, context }: {
    measured: string;
    isDropped: string;
    quarantined: readonly string[];
    context: Context;
  },
): Promise<SilverTable> {
  const columns = plan.features.map(({ name, unit }) => ({
    name,
    type: "number" as const,
    ...(unit ? { unit } : {}),
  }));
  const described = await describeTable(context.store, table, columns);
  const counts = await context.store.query<{ uri: string; rows: number }>(
    `select _source as uri, count(*) as rows from ${table} group by 1`,
  );
  const isOut = quarantined.length > 0 ? `_key in ${listLiterals(quarantined)}` : "false";
  const [out] = await context.store.query<Record<string, number>>(
    `select count(*) filter (_label is null) as "no target",
      count(*) filter (${isDropped}) as "dropped class",
      count(*) filter (${isOut}) as quarantined from (${measured})`,
  );
  const reasons = plan.role === "train" ? ["no target", "dropped class"] : ["quarantined"];
  return {
    table,
    rows: described.rows,
    contentHash,
    columns: described.columns,
    sources: plan.bronze.sources.map(({ uri, sha256 }) => ({
      uri,
      sha256,
      rows: counts.find((count) => count.uri === uri)?.rows ?? 0,
    })),
    rowsLeftOut: plan.bronze.rows - described.rows,
    leftOut: Object.fromEntries(
      reasons.filter((reason) => out[reason] > 0).map((reason) => [reason, out[reason]]),
    ),
    quarantined,
  };
}

/** Infinite numbers and those beyond float32 would end the training: they are missing, and counted. */
async function reportUnusable({ role, bronze, features, unusable }: Plan, context: Context) {
  const counts = unusable.map((condition, j) => `count(*) filter (${condition}) as n${j}`);
  const [row] = await context.store.query<Record<string, number>>(
    `select ${counts.join(", ")} from ${bronze.table}`,
  );
  for (const [j, { name }] of features.entries()) {
    if (row[`n${j}`] === 0) continue;
    const shown = await context.store.query<{ _source: string; _row: number }>(
      `select _source, _row from ${bronze.table} where ${
        unusable[j]
      } order by all limit ${SHOWN_ROWS}`,
    );
    context.report({
      check: "infinite",
      severity: "warning",
      subject: name,
      message: `${
        row[`n${j}`]
      } values of ${name} in the ${role} rows are infinite or beyond ±3.4e38, first in ${
        describeShown(shown)
      }; they count as missing: correct them in the file`,
      rows: shown,
    });
  }
}

/** Warns of features without any value in a group: in production that is schema drift. */
async function reportNulls(plan: Plan, kept: string, context: Context): Promise<void> {
  const counts = plan.features.map((_, j) => `count(f${j}) as f${j}`);
  const rows = await context.store.query<Record<string, number | string>>(
    `select _key, ${counts.join(", ")} from (${kept}) group by 1 order by 1`,
  );
  const isEmpty = (row: Record<string, number | string>, j: number) => row[`f${j}`] === 0;
  const report = (subject: string, message: string) =>
    context.report({ check: "schema", severity: "warning", subject, message });
  // A feature that no training row has is one fault, and not one of every group.
  const useless = plan.features.map((_, j) =>
    plan.role === "train" && rows.every((row) => isEmpty(row, j))
  );
  plan.features.forEach(({ name }, j) => {
    if (!useless[j]) return;
    report(
      name,
      `Feature ${name} has no value in any training row; remove it from preprocessing.features`,
    );
  });
  for (const row of rows) {
    const empty = plan.features.filter((_, j) => isEmpty(row, j) && !useless[j])
      .map(({ name }) => name);
    if (empty.length === 0) continue;
    report(
      String(row._key),
      `Group ${row._key} of the ${plan.role} rows has no value of ${empty.join(", ")}`,
    );
  }
}

/** Warns of features whose values stand for the classes one to one: they are the target again. */
async function reportLeaks(plan: Plan, kept: string, context: Context): Promise<void> {
  const counts = plan.features.map((_, j) =>
    `approx_count_distinct(f${j}) as values${j}, count(f${j}) / count(*) as share${j}`
  );
  const [{ classes, ...about }] = await context.store.query<Record<string, number>>(
    `select count(distinct _label) as classes, ${counts.join(", ")} from (${kept})`,
  );
  for (const [j, { name }] of plan.features.entries()) {
    // The count is approximate: it only spares a closer look at what is clearly no class.
    if (about[`values${j}`] > 2 * MAX_CLASSES || about[`share${j}`] < LEAK_SHARE) continue;
    const [exact] = await context.store.query<{ values: number; pairs: number }>(
      `select count(distinct value) as values, count(*) as pairs from
        (select distinct f${j} as value, _label from (${kept}) where f${j} is not null)`,
    );
    if (exact.values !== classes || exact.pairs !== classes) continue;
    context.report({
      check: "leak",
      severity: "warning",
      subject: name,
      message: `Feature ${name} leaks the target ${plan.target}: each of its ${classes} values ` +
        "stands for exactly one class; remove it from preprocessing.features",
    });
  }
}

async function reportOutliers(
  plan: Plan,
  kept: string,
  { outliers }: Params,
  context: Context,
): Promise<void> {
  const ranged = plan.features.map((feature, j) => ({ ...feature, j })).filter((f) => f.range);
  if (ranged.length === 0) return;
  const counts = ranged.flatMap(({ j, range }) => [
    `count(f${j}) as n${j}`,
    `count(*) filter (not f${j} between ${quoteLiteral(range![0])} and ${
      quoteLiteral(range![1])
    }) as out${j}`,
  ]);
  const [row] = await context.store.query<Record<string, number>>(
    `select ${counts.join(", ")} from (${kept})`,
  );
  const fate = { null: "they count as missing", clip: "they are clipped", keep: "they are kept" };
  for (const { name, unit, range, j } of ranged) {
    const [count, values] = [row[`out${j}`], row[`n${j}`]];
    if (count === 0) continue;
    context.report({
      check: "outliers",
      severity: count > OUTLIER_WARNING * values ? "warning" : "info",
      subject: name,
      message: `${count} of ${values} values of ${name} in the ${plan.role} rows lie outside [${
        range!.join(", ")
      }]${unit ? ` ${unit}` : ""}; ${fate[outliers]}`,
    });
  }
}

/**
 * Runs the expectations and reports each failure.
 *
 * @returns The groups of production rows to leave out.
 * @throws {Error} when training rows break an expectation of severity error.
 */
async function judge(
  { role, features, columns, order }: Plan,
  kept: string,
  { expectations }: Params,
  context: Context,
): Promise<string[]> {
  const ranges = new Map(
    features.flatMap(({ name, range }) => range ? [[name.toLowerCase(), range] as const] : []),
  );
  const failures = await findFailures(
    context.store,
    { select: kept, columns, ranges },
    expectations,
  );
  for (const { expectation, group, rows, state, shown } of failures) {
    const { check, severity, column, columns } = expectation;
    const subject = column ?? columns?.join(", ") ?? group;
    const isOut = severity === "error" && role === "production";
    context.report({
      check: `expectation:${check}`,
      severity,
      subject,
      message: `Group ${group} of the ${role} rows ${state}` +
        (isOut ? `; it is quarantined: its ${rows} rows are left out` : ""),
      ...(shown ? { rows: shown } : {}),
    });
  }
  const grave = failures.filter(({ expectation }) => expectation.severity === "error");
  if (grave.length > 0 && role === "train") {
    const [{ group, state, shown }, ...more] = grave;
    const rows = describeShown(shown, order?.column);
    throw new Error(
      `Cannot preprocess the training rows: group ${group} ${state}${
        rows === "" ? "" : `, such as ${rows}`
      }${
        more.length > 0 ? ` (and ${more.length} more failures)` : ""
      }; correct the rows, or change preprocessing.expectations`,
    );
  }
  return [...new Set(grave.map(({ group }) => group))].sort();
}
