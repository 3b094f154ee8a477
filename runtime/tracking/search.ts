/**
 * MLflow's search language, compiled to SQL with every value bound: `metrics.loss < 0.3 and
 * tags."my team" ilike 'geo%'`, orders such as `params.depth desc`, and page tokens.
 *
 * @module
 */
import type { Row, SqlValue, Store } from "../store/store.ts";
import { invalid } from "./error.ts";

/** What a search may ask of one kind of thing. */
export interface SearchTarget {
  /** Rows to search: a view, with `t` as its name in expressions. */
  readonly from: string;
  /** Attributes by every name they are known by, as SQL over `t`. */
  readonly attributes: Readonly<Record<string, Attribute>>;
  /** Keyed values, as SQL of the rows `key, value` that belong to `t`. */
  readonly keyed: Readonly<Partial<Record<Keyed, string>>>;
  /** Order where none is asked for and among equals: it must be total. */
  readonly order: string;
}

/** One attribute of {@linkcode SearchTarget}. */
export interface Attribute {
  readonly sql: string;
  readonly type: "text" | "number";
  /** Whether it can only order, and not filter. */
  readonly isOrderOnly?: boolean;
}

/** What has keys of its own. */
export type Keyed = "metric" | "param" | "tag" | "dataset";

/** One comparison of a filter. */
export interface Comparison {
  readonly kind: Keyed | "attribute";
  readonly key: string;
  readonly operator: Operator;
  readonly value: string | number | readonly string[] | null;
}

/** Operators of the language. */
export type Operator =
  | "="
  | "!="
  | "<"
  | "<="
  | ">"
  | ">="
  | "LIKE"
  | "ILIKE"
  | "IN"
  | "NOT IN"
  | "IS NULL"
  | "IS NOT NULL";

/** One page to search for. */
export interface SearchQuery {
  readonly filter?: string;
  readonly orderBy?: readonly string[];
  readonly maxResults: number;
  readonly pageToken?: string;
  /** A condition beside the filter. */
  readonly condition?: { readonly sql: string; readonly params: readonly SqlValue[] };
}

/** One page of rows, and the token of the next. */
export interface Page {
  readonly rows: readonly Row[];
  readonly nextPageToken?: string;
}

/** Names that stand before the dot. */
const kinds: Readonly<Record<string, Comparison["kind"]>> = {
  metric: "metric",
  metrics: "metric",
  param: "param",
  params: "param",
  parameter: "param",
  parameters: "param",
  tag: "tag",
  tags: "tag",
  dataset: "dataset",
  datasets: "dataset",
  attribute: "attribute",
  attributes: "attribute",
  attr: "attribute",
  run: "attribute",
};

const TOKEN =
  /\s*(?:(?<string>'(?:[^']|'')*'|"(?:[^"]|"")*")|(?<key>`[^`]*`)|(?<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))|(?<operator><=|>=|!=|<>|=|<|>)|(?<mark>[(),.])|(?<word>[\w/-]+))/uy;

interface Token {
  readonly type: "string" | "key" | "number" | "operator" | "mark" | "word";
  readonly text: string;
  /** Whether a space stands before it. */
  readonly isApart: boolean;
}

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (text.slice(at).trim() !== "") {
    TOKEN.lastIndex = at;
    const groups = TOKEN.exec(text)?.groups;
    if (!groups) {
      throw badFilter(text, `it cannot be read from "${text.slice(at).trim().slice(0, 30)}"`);
    }
    const [type, found] = Object.entries(groups).find(([, value]) => value !== undefined)!;
    tokens.push({
      type: type as Token["type"],
      text: found,
      isApart: /\s/.test(text[at]),
    });
    at = TOKEN.lastIndex;
  }
  return tokens;
}

function badFilter(text: string, state: string) {
  return invalid(`Cannot search by "${text.slice(0, 200)}": ${state}`);
}

/** Reads one filter or order. */
class Reader {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(readonly text: string) {
    this.#tokens = tokenize(text);
  }

  get isDone(): boolean {
    return this.#at >= this.#tokens.length;
  }

  fail(state: string): never {
    throw badFilter(this.text, state);
  }

  #next(expected: string): Token {
    if (this.isDone) this.fail(`${expected} is missing at the end`);
    return this.#tokens[this.#at++];
  }

  /** Takes a word in any case. */
  takeWord(word: string): boolean {
    const token = this.#tokens[this.#at];
    if (token?.type !== "word" || token.text.toUpperCase() !== word) return false;
    this.#at++;
    return true;
  }

  #takeMark(mark: string): boolean {
    const token = this.#tokens[this.#at];
    if (token?.type !== "mark" || token.text !== mark) return false;
    this.#at++;
    return true;
  }

  /** Reads `params.depth`, ``tags.`my key` `` or a bare attribute. */
  identifier(target: SearchTarget): Pick<Comparison, "kind" | "key"> {
    const first = this.#next("a key");
    if (first.type !== "word" && first.type !== "key" && first.text[0] !== '"') {
      this.fail(`"${first.text}" stands where a key is expected`);
    }
    if (!this.#takeMark(".")) return this.#attribute(unquote(first), target);
    const kind = kinds[unquote(first).toLowerCase()];
    if (kind === undefined) {
      this.fail(`"${first.text}" is none of metrics, params, tags, datasets and attributes`);
    }
    let key = this.#keyPart();
    // Without quotes a key may hold dots, such as mlflow.user.
    while (this.#takeMark(".")) key += `.${this.#keyPart()}`;
    if (kind === "attribute") return this.#attribute(key, target);
    if (!target.keyed[kind]) this.fail(`there are no ${kind}s to search by`);
    if (kind === "dataset" && !["name", "digest", "context"].includes(key)) {
      this.fail(`a dataset has name, digest and context, and no "${key}"`);
    }
    return { kind, key };
  }

  #keyPart(): string {
    const token = this.#next("a key");
    if (token.type === "operator" || token.type === "mark") {
      this.fail(`"${token.text}" stands where a key is expected`);
    }
    return unquote(token);
  }

  #attribute(key: string, target: SearchTarget): Pick<Comparison, "kind" | "key"> {
    if (!(key in target.attributes)) {
      this.fail(`"${key}" is no attribute; there are ${Object.keys(target.attributes).join(", ")}`);
    }
    return { kind: "attribute", key };
  }

  operator(): Operator {
    const token = this.#next("an operator");
    if (token.type === "operator") return token.text === "<>" ? "!=" : token.text as Operator;
    const word = token.text.toUpperCase();
    if (token.type === "word" && (word === "LIKE" || word === "ILIKE" || word === "IN")) {
      return word;
    }
    if (word === "NOT" && this.takeWord("IN")) return "NOT IN";
    if (word === "IS") {
      if (this.takeWord("NULL")) return "IS NULL";
      if (this.takeWord("NOT") && this.takeWord("NULL")) return "IS NOT NULL";
    }
    return this.fail(`"${token.text}" is no operator`);
  }

  number(): number {
    const token = this.#next("a number");
    if (token.type !== "number") this.fail(`"${token.text}" is no number`);
    return Number(token.text);
  }

  string(): string {
    const token = this.#next("a value");
    if (token.type !== "string") this.fail(`${token.text} is no text in quotes`);
    return unquote(token);
  }

  list(): string[] {
    if (!this.#takeMark("(")) this.fail("a list in parentheses is expected after IN");
    const values: string[] = [];
    do values.push(this.string()); while (this.#takeMark(","));
    if (!this.#takeMark(")")) this.fail("a list ends with )");
    return values;
  }

  end(): void {
    if (!this.isDone) this.fail(`"${this.#tokens[this.#at].text}" is more than is expected`);
  }
}

function unquote({ type, text }: Token): string {
  if (type === "string") return text.slice(1, -1).replaceAll(text[0] + text[0], text[0]);
  return type === "key" ? text.slice(1, -1) : text;
}

const numeric: readonly Operator[] = ["=", "!=", "<", "<=", ">", ">="];
const textual: readonly Operator[] = ["=", "!=", "LIKE", "ILIKE"];
const nullable: readonly Operator[] = [...textual, "IS NULL", "IS NOT NULL"];
const listed: readonly Operator[] = [...textual, "IN", "NOT IN"];

const operators: Readonly<Record<Keyed, readonly Operator[]>> = {
  metric: numeric,
  param: nullable,
  tag: nullable,
  dataset: listed,
};

/**
 * Reads a filter.
 *
 * @throws {TrackingError} with what is wrong, and where.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseFilter, runTarget } from "./search.ts";
 *
 * assertEquals(parseFilter("metrics.`my loss` <= 0.5 AND tags.mlflow.user = 'ada'", runTarget), [
 *   { kind: "metric", key: "my loss", operator: "<=", value: 0.5 },
 *   { kind: "tag", key: "mlflow.user", operator: "=", value: "ada" },
 * ]);
 * ```
 */
export function parseFilter(filter: string, target: SearchTarget): Comparison[] {
  const reader = new Reader(filter);
  const comparisons: Comparison[] = [];
  if (reader.isDone) return comparisons;
  do comparisons.push(readComparison(reader, target)); while (reader.takeWord("AND"));
  reader.end();
  return comparisons;
}

function readComparison(reader: Reader, target: SearchTarget): Comparison {
  const { kind, key } = reader.identifier(target);
  const attribute = kind === "attribute" ? target.attributes[key] : undefined;
  if (attribute?.isOrderOnly) reader.fail(`"${key}" can order and not filter`);
  const operator = reader.operator();
  const isNumber = kind === "metric" || attribute?.type === "number";
  const allowed = kind !== "attribute" ? operators[kind] : isNumber ? numeric : listed;
  if (!allowed.includes(operator)) {
    reader.fail(`${operator} does not compare ${kind} "${key}"; there are ${allowed.join(", ")}`);
  }
  const value = operator.startsWith("IS")
    ? null
    : operator.endsWith("IN")
    ? reader.list()
    : isNumber
    ? reader.number()
    : reader.string();
  return { kind, key, operator, value };
}

/** SQL with the values that are bound to it. */
interface Sql {
  readonly sql: string;
  readonly params: readonly SqlValue[];
}

/** Clients leave prompts out by asking for another value of this tag, and mean things without it, too. */
const PROMPT_TAG = "mlflow.prompt.is_prompt";

function compile({ kind, key, operator, value }: Comparison, target: SearchTarget): Sql {
  if (kind === "attribute") return compare(target.attributes[key].sql, operator, value);
  const rows = target.keyed[kind]!;
  if (operator === "IS NULL" || operator === "IS NOT NULL") {
    const not = operator === "IS NULL" ? "not " : "";
    return { sql: `${not}exists (select 1 from (${rows}) k where k.key = ?)`, params: [key] };
  }
  if (key === PROMPT_TAG && operator === "!=") {
    return {
      sql: `not exists (select 1 from (${rows}) k where k.key = ? and k.value = ?)`,
      params: [key, value as string],
    };
  }
  const test = compare("k.value", operator, value);
  // To DuckDB NaN is the largest number; here it is none, and only differs from every number.
  const isNumber = kind === "metric" && operator !== "!=" ? " and not isnan(k.value)" : "";
  return {
    sql: `exists (select 1 from (${rows}) k where k.key = ? and ${test.sql}${isNumber})`,
    params: [key, ...test.params],
  };
}

function compare(sql: string, operator: Operator, value: Comparison["value"]): Sql {
  if (Array.isArray(value)) {
    const not = operator === "NOT IN" ? "not " : "";
    return {
      sql: `${sql} ${not}in (select unnest(?::json::varchar[]))`,
      params: [JSON.stringify(value)],
    };
  }
  // Bound as text: a number that came as one may be larger than an int32, or no integer.
  if (typeof value === "number") {
    return { sql: `${sql} ${operator} ?::double`, params: [String(value)] };
  }
  return { sql: `${sql} ${operator} ?`, params: [value as string] };
}

function compileOrder(text: string, target: SearchTarget): Sql {
  const reader = new Reader(text);
  if (reader.isDone) reader.fail("the order is empty");
  const { kind, key } = reader.identifier(target);
  const isDescending = !reader.takeWord("ASC") && reader.takeWord("DESC");
  reader.end();
  const direction = isDescending ? "desc" : "asc";
  if (kind === "attribute") {
    return { sql: `${target.attributes[key].sql} ${direction} nulls last`, params: [] };
  }
  if (kind === "dataset") reader.fail("datasets do not order");
  const value = `(select any_value(k.value) from (${target.keyed[kind]}) k where k.key = ?)`;
  if (kind !== "metric") return { sql: `${value} ${direction} nulls last`, params: [key] };
  // NaN comes after every number, whatever the direction.
  return {
    sql: `coalesce(isnan(${value}), false) asc, ${value} ${direction} nulls last`,
    params: [key, key],
  };
}

/**
 * Gives one page of what matches.
 * @throws {TrackingError} when the filter, an order or the page token cannot be read.
 */
export async function search(
  store: Store,
  target: SearchTarget,
  query: SearchQuery,
): Promise<Page> {
  const filters = parseFilter(query.filter ?? "", target).map((test) => compile(test, target));
  const conditions = [...(query.condition ? [query.condition] : []), ...filters];
  const orders = (query.orderBy ?? []).map((text) => compileOrder(text, target));
  const offset = readPageToken(query.pageToken);
  const where = conditions.length > 0
    ? `where ${conditions.map(({ sql }) => `(${sql})`).join(" and ")}`
    : "";
  const order = [...orders.map(({ sql }) => sql), target.order].join(", ");
  const rows = await store.query(
    `select t.* from ${target.from} t ${where} order by ${order} limit ? offset ?`,
    [
      ...conditions.flatMap(({ params }) => params),
      ...orders.flatMap(({ params }) => params),
      query.maxResults + 1,
      offset,
    ],
  );
  return toPage(rows, query.maxResults, offset);
}

/** Gives a page of rows of which one more than `limit` was asked for. */
export function toPage<R>(
  rows: readonly R[],
  limit: number,
  offset: number,
): { readonly rows: readonly R[]; readonly nextPageToken?: string } {
  if (rows.length <= limit) return { rows };
  return { rows: rows.slice(0, limit), nextPageToken: writePageToken(offset + limit) };
}

/** Gives the token of the page that begins after `offset` things. */
export function writePageToken(offset: number): string {
  return btoa(JSON.stringify({ offset }));
}

/** Gives how many things to leave out. @throws {TrackingError} when the token is none of ours. */
export function readPageToken(token: string | undefined): number {
  if (!token) return 0;
  try {
    const { offset } = JSON.parse(atob(token));
    if (Number.isSafeInteger(offset) && offset >= 0) return offset;
  } catch {
    // No token of ours, whatever else it is.
  }
  throw invalid(`Cannot read page token "${token.slice(0, 80)}": it is not one that a search gave`);
}

const text = (sql: string): Attribute => ({ sql, type: "text" });
const time = (column: string): Attribute => ({ sql: `epoch_ms(t.${column})`, type: "number" });

function tagsOf(kind: string, subject: string): string {
  return `select key, value from mlflow_tags where kind = '${kind}' and subject = ${subject}`;
}

/** Runs. */
export const runTarget: SearchTarget = {
  from: "mlflow_runs",
  attributes: {
    run_id: text("t.run_id"),
    run_name: text("t.name"),
    "run name": text("t.name"),
    "Run name": text("t.name"),
    "Run Name": text("t.name"),
    experiment_id: text("t.experiment_id"),
    user_id: text("t.user_id"),
    status: text("t.status"),
    artifact_uri: text("t.artifact_uri"),
    start_time: time("start_time"),
    created: time("start_time"),
    Created: time("start_time"),
    end_time: time("end_time"),
  },
  keyed: {
    metric: "select key, value from mlflow_latest_metrics m where m.run_id = t.run_id",
    param: "select key, value from mlflow_params p where p.run_id = t.run_id",
    tag: tagsOf("run", "t.run_id"),
    dataset: `select unnest([{'key': 'name', 'value': i.name}, {'key': 'digest', 'value': i.digest},
      {'key': 'context', 'value': i.context}], recursive := true)
      from core.tracked_inputs i where i.run_id = t.run_id`,
  },
  order: "t.start_time desc, t.run_id",
};

/** Experiments. */
export const experimentTarget: SearchTarget = {
  from: "mlflow_experiments",
  attributes: {
    name: text("t.name"),
    experiment_id: text("t.experiment_id"),
    creation_time: time("created_at"),
    last_update_time: time("updated_at"),
  },
  keyed: { tag: tagsOf("experiment", "t.experiment_id") },
  order: "t.created_at desc, t.experiment_id",
};

/** Registered models. */
export const modelTarget: SearchTarget = {
  from: "registered_models",
  attributes: {
    name: text("t.name"),
    creation_timestamp: { ...time("created_at"), isOrderOnly: true },
    last_updated_timestamp: { ...time("updated_at"), isOrderOnly: true },
    timestamp: { ...time("updated_at"), isOrderOnly: true },
  },
  keyed: { tag: tagsOf("model", "t.name") },
  order: "t.name",
};

/** Model versions. */
export const versionTarget: SearchTarget = {
  from: "mlflow_model_versions",
  attributes: {
    name: text("t.model"),
    run_id: text("t.run_id"),
    source_path: text("t.source"),
    version_number: { sql: "t.version", type: "number" },
    creation_timestamp: { ...time("created_at"), isOrderOnly: true },
    last_updated_timestamp: { ...time("updated_at"), isOrderOnly: true },
  },
  keyed: { tag: tagsOf("version", "t.model || '/' || t.version") },
  order: "t.updated_at desc, t.model, t.version desc",
};

/** Logged models. */
export const loggedModelTarget: SearchTarget = {
  from: "core.logged_models",
  attributes: {
    model_id: text("t.model_id"),
    name: text("t.name"),
    model_type: text("t.model_type"),
    status: text("t.status"),
    source_run_id: text("t.source_run_id"),
    experiment_id: text("t.experiment_id"),
    creation_timestamp: time("created_at"),
    creation_time: time("created_at"),
    last_updated_timestamp: time("updated_at"),
    last_updated_time: time("updated_at"),
  },
  keyed: {
    metric: `select key, arg_max_null(value, {'step': step, 'time': time}) as value
      from core.tracked_metrics m where m.model_id = t.model_id group by key`,
    param: "select key, value from core.logged_model_params p where p.model_id = t.model_id",
    tag: tagsOf("logged_model", "t.model_id"),
  },
  order: "t.created_at desc, t.model_id",
};
