/**
 * A query as it would have answered at an earlier time: {@linkcode AsOf} rewrites it so that the views
 * it names hold nothing later, and the clock it reads stands there.
 *
 * The rewriting is done on DuckDB's own syntax tree (`json_serialize_sql`), never on the text, and
 * written back by DuckDB (`json_deserialize_sql`). A query whose tree does not survive that way
 * unchanged is refused, as is one that reads what has no time.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import { versionViews } from "../schema/mod.ts";
import { quoteIdentifier, quoteLiteral } from "../store/sql.ts";
import type { Database, ReadLimits, ReadResult } from "../store/store.ts";

/** Column that says when a row of a view came to be. */
const TIMES: Readonly<Record<string, string>> = {
  requests: "request_time",
  inferences: "request_time",
  inference_features: "request_time",
  payloads: "request_time",
  drift: "created_at",
  profile: "created_at",
  drift_metrics: "created_at",
  judgements: "created_at",
  call_judgements: "created_at",
  label_history: "created_at",
  metrics: "created_at",
  findings: "created_at",
  alert_history: "created_at",
  alert_transitions: "changed_at",
  alert_notices: "told_at",
  alias_history: "changed_at",
  approvals: "decided_at",
  promotions: "decided_at",
  resources: "time",
  sink_attempts: "created_at",
  input_ranges: "created_at",
  estimates: "estimated_at",
  online_alarms: "created_at",
  judge_cards: "created_at",
  judge_cases: "created_at",
};

/** Views that show the last state: the states before it, when each came to be, and whose state it is. */
const STATES: Readonly<Record<string, (history: string) => string>> = {
  aliases: (history) =>
    `select model, alias, to_version as version, changed_at, changed_by, reason from ${history}
     qualify row_number() over (partition by model, alias order by change desc) = 1`,
  labels: (history) =>
    `select * exclude (change) from ${history}
     qualify row_number() over (partition by request_id, row order by change desc) = 1`,
};

const HISTORIES: Readonly<Record<string, string>> = {
  aliases: "alias_history",
  labels: "label_history",
};

/** Views that a version's scope narrows on the connection of the query. */
const SCOPED = ["requests", ...versionViews];

/** Where the rows of a view come from; the store's own unless somebody gives others. */
export type Rows = (view: string) => string | undefined;

/** A read-only database at an earlier time. */
export class AsOf implements Pick<Database, "queryReadOnly"> {
  readonly #database: Pick<Database, "query" | "queryReadOnly">;
  readonly #time: number;
  readonly #rows: Rows;

  /** `time` is in milliseconds since 1970; `rows` gives a `SELECT` in place of a view. */
  constructor(
    database: Pick<Database, "query" | "queryReadOnly">,
    { time, rows = () => undefined }: { readonly time: number; readonly rows?: Rows },
  ) {
    this.#database = database;
    this.#time = time;
    this.#rows = rows;
  }

  /**
   * Runs one `SELECT` as of the time.
   * @throws {UsageError} when it is none, or it reads something whose past is not known.
   */
  async queryReadOnly(sql: string, limits: ReadLimits = {}): Promise<ReadResult> {
    return await this.#database.queryReadOnly(await this.rewrite(sql, limits), limits);
  }

  /** Gives the query as DuckDB writes it: one `SELECT`, whatever its text looked like. */
  async normalize(sql: string): Promise<string> {
    return await this.#write(await this.#parse(sql));
  }

  /** Gives the query that {@linkcode AsOf.queryReadOnly} runs. */
  async rewrite(sql: string, { scope }: Pick<ReadLimits, "scope"> = {}): Promise<string> {
    const tree = await this.#parse(sql);
    const again = await this.#write(tree);
    if (JSON.stringify(await this.#parse(again)) !== JSON.stringify(tree)) {
      throw new UsageError(
        "Cannot run the query at another time: DuckDB does not write its syntax back as it was; " +
          "write it in a plainer form",
      );
    }
    const views = new Set<string>();
    const names = new Set<string>();
    collectNames(tree, names);
    const moved = replace(tree, {
      time: this.#time,
      nameOf: (view) => {
        views.add(view);
        return asOfName(view);
      },
      names,
    });
    const query = await this.#write(moved);
    const tables = [...views].map((view) =>
      `${quoteIdentifier(asOfName(view))} as (${this.#viewAt(view, scope !== undefined)})`
    );
    return tables.length === 0 ? query : `with ${tables.join(",\n")}\nfrom (${query})`;
  }

  /** The rows of a view that were there at the time. */
  #viewAt(view: string, isScoped: boolean): string {
    const time = quoteTime(this.#time);
    const own = this.#rows(view);
    const history = HISTORIES[view];
    if (own === undefined && history !== undefined) {
      return STATES[view](`(from ${baseOf(history, false)} where ${TIMES[history]} <= ${time})`);
    }
    const column = TIMES[view];
    const base = own === undefined ? baseOf(view, isScoped) : `(${own})`;
    return column === undefined ? `from ${base}` : `from ${base} where "${column}" <= ${time}`;
  }

  async #parse(sql: string): Promise<Tree> {
    const [{ text }] = await this.#database.query<{ text: string }>(
      "select json_serialize_sql(?::varchar)::varchar as text",
      [sql],
    );
    // Positions are larger than what a number holds, and say nothing.
    const tree = JSON.parse(text.replace(/"query_location":\d+/g, '"query_location":0'));
    if (!tree.error && tree.statements.length === 1) return tree;
    throw new UsageError(
      `Cannot parse the query: ${tree.error_message ?? "give exactly one SELECT"}`,
    );
  }

  async #write(tree: Tree): Promise<string> {
    const [{ text }] = await this.#database.query<{ text: string }>(
      "select json_deserialize_sql(?::json) as text",
      [JSON.stringify(tree)],
    );
    return text;
  }
}

// deno-lint-ignore no-explicit-any -- DuckDB's syntax tree, which has no types here
type Tree = any;

function asOfName(view: string): string {
  return `${view} as of`;
}

function baseOf(view: string, isScoped: boolean): string {
  return quoteIdentifier(isScoped && SCOPED.includes(view) ? "temp" : "main", view);
}

/** Names of common table expressions: they are no views. */
function collectNames(node: Tree, names: Set<string>): void {
  if (Array.isArray(node)) return node.forEach((child) => collectNames(child, names));
  if (typeof node !== "object" || node === null) return;
  for (const { key } of node.cte_map?.map ?? []) names.add(key.toLowerCase());
  Object.values(node).forEach((child) => collectNames(child, names));
}

/** What reads the clock, and what it is as of a time. */
const CLOCKS: Readonly<Record<string, string>> = {
  now: "TIMESTAMP WITH TIME ZONE",
  get_current_timestamp: "TIMESTAMP WITH TIME ZONE",
  transaction_timestamp: "TIMESTAMP WITH TIME ZONE",
  current_timestamp: "TIMESTAMP WITH TIME ZONE",
  current_localtimestamp: "TIMESTAMP",
  localtimestamp: "TIMESTAMP",
  today: "DATE",
  current_date: "DATE",
  get_current_time: "TIME",
  current_localtime: "TIME",
  localtime: "TIME",
  current_time: "TIME",
};

/** Functions that answer otherwise each time, or that tell the time in a way of their own. */
const UNKNOWN = /^(random|uuid|gen_random_uuid|uuidv[47]|nextval|currval|setseed)$/;

interface Replacement {
  readonly time: number;
  readonly nameOf: (view: string) => string;
  readonly names: ReadonlySet<string>;
}

function replace(node: Tree, how: Replacement): Tree {
  if (Array.isArray(node)) return node.map((child) => replace(child, how));
  if (typeof node !== "object" || node === null) return node;
  const clock = clockOf(node);
  if (clock !== undefined) return { ...constantAt(how.time, clock), alias: node.alias ?? "" };
  if (node.type === "BASE_TABLE") return { ...node, ...replaceTable(node, how) };
  return Object.fromEntries(
    Object.entries(node).map(([key, child]) => [key, replace(child, how)]),
  );
}

function clockOf(node: Tree): string | undefined {
  if (node.class === "FUNCTION") {
    const name = String(node.function_name).toLowerCase();
    if (UNKNOWN.test(name)) {
      throw new UsageError(
        `Cannot run the query at another time: ${name}() answers otherwise each time`,
      );
    }
    const isOneDate = name === "age" && node.children.length === 1;
    if (isOneDate) {
      throw new UsageError(
        "Cannot run the query at another time: age() of one time reads the clock; give it now(), too",
      );
    }
    return node.children.length === 0 ? CLOCKS[name] : undefined;
  }
  if (node.class !== "COLUMN_REF" || node.column_names?.length !== 1) return undefined;
  const [name] = node.column_names;
  return /^(current_|local)/i.test(name) ? CLOCKS[name.toLowerCase()] : undefined;
}

function replaceTable(node: Tree, { nameOf, names }: Replacement): Tree {
  const name = String(node.table_name).toLowerCase();
  const schema = String(node.schema_name ?? "").toLowerCase();
  if (schema === "" && names.has(name)) return node;
  const isView = schema === "" || schema === "main";
  if (!isView || !(name in TIMES || name in STATES)) {
    throw new UsageError(
      `Cannot run the query at another time: the past of "${
        schema === "" ? name : `${schema}.${name}`
      }" is not known; there are ${
        [...Object.keys(TIMES), ...Object.keys(STATES)].sort().join(", ")
      }`,
    );
  }
  return {
    table_name: nameOf(name),
    schema_name: "",
    catalog_name: "",
    alias: node.alias || node.table_name,
  };
}

function quoteTime(time: number): string {
  return `timestamp ${quoteLiteral(toText(time))}`;
}

function toText(time: number): string {
  return new Date(time).toISOString().replace("T", " ").replace("Z", "");
}

/** `CAST('…' AS type)`, in the tree. */
function constantAt(time: number, type: string): Tree {
  const text = toText(time);
  const constant = (value: string) => ({
    class: "CONSTANT",
    type: "VALUE_CONSTANT",
    alias: "",
    query_location: 0,
    value: { type: { id: "VARCHAR", type_info: null }, is_null: false, value },
  });
  const cast = (child: Tree, id: string) => ({
    class: "CAST",
    type: "OPERATOR_CAST",
    alias: "",
    query_location: 0,
    child,
    cast_type: { id, type_info: null },
    try_cast: false,
  });
  return type === "TIMESTAMP WITH TIME ZONE"
    ? cast(constant(`${text}+00`), type)
    : type === "TIMESTAMP"
    ? cast(constant(text), type)
    : cast(cast(constant(text), "TIMESTAMP"), type);
}
