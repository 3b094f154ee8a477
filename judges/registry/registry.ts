/**
 * The prompt registry: the Markdown files of judges as versions that never change, under aliases that
 * move. Every change is an entry of the audit log.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { recordSteps } from "../../runtime/audit.ts";
import { suggest, UsageError } from "../../runtime/errors.ts";
import { checkAliasName } from "../../runtime/registry/model_registry.ts";
import type { Store } from "../../runtime/store/store.ts";
import type { Connection } from "../clients/connection.ts";
import { parseJudge } from "../markdown.ts";

/** One version of a prompt. */
export interface Prompt {
  /** Name of the judge that asks it. */
  readonly name: string;
  readonly version: number;
  /** The Markdown file, header and all. */
  readonly text: string;
}

/** A prompt that is to be registered. */
export interface NewPrompt {
  readonly text: string;
  /** Name of its file, which is the judge's when its header has none. */
  readonly file: string;
  /** Why there is another version. */
  readonly message?: string | undefined;
  readonly by: string | null;
}

/** What a reference can name. */
const NAME = /^[\w.-]+$/;

/**
 * Registers a prompt and gives its version; a text that is there already keeps the version it has.
 *
 * @throws {UsageError} `Cannot load judge "<file>": …` when the text is no judge, and when no reference
 * could have its name.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { openStore } from "../../runtime/store/store.ts";
 * import { connect } from "../clients/connection.ts";
 * import { registerPrompt, resolvePrompt } from "./registry.ts";
 *
 * await using store = await openStore(":memory:");
 * const text = "---\ninputs: [output]\n---\nIs the output polite?\n";
 * await registerPrompt(store, { text, file: "polite.md", by: "ada" }, connect());
 * assertEquals((await resolvePrompt(store, "polite")).version, 1);
 * ```
 */
export async function registerPrompt(
  store: Store,
  { text, file, message, by }: NewPrompt,
  connection: Connection,
): Promise<Prompt & { readonly isNew: boolean }> {
  const { name } = parseJudge(text, file, connection);
  if (!NAME.test(name)) {
    throw new UsageError(
      `Cannot register prompt "${name}": a reference takes letters of ASCII, digits, _, . and - alone; ` +
        "write another name into its header",
    );
  }
  const hash = createHash("sha256").update(text).digest("hex");
  // Whether it is new is asked within the transaction: of two who register one text, one does.
  const isNew = "not exists (select 1 from core.judge_prompts where name = ? and hash = ?)";
  const next =
    "(select coalesce(max(version), 0) + 1 from core.judge_prompts where name = ?)::integer";
  const [before] = await findByHash(store, name, hash);
  await store.transaction([
    ...recordSteps({
      action: "judge_prompt.created",
      by,
      rows: `select ?::varchar || '/' || ${next} as subject,
        json_object('name', ?::varchar, 'hash', ?::varchar, 'message', ?::varchar) as details
        where ${isNew}`,
      params: [name, name, name, hash, message ?? null, name, hash],
    }),
    {
      sql: `insert into core.judge_prompts
        select ?, ${next}, ?, ?, ?, now() at time zone 'UTC', ? where ${isNew}`,
      params: [name, name, hash, text, message ?? null, by, name, hash],
    },
  ]);
  const [{ version }] = await findByHash(store, name, hash);
  return { name, version, text, isNew: before === undefined };
}

function findByHash(store: Store, name: string, hash: string): Promise<{ version: number }[]> {
  return store.query(
    "select version from core.judge_prompts where name = ? and hash = ?",
    [name, hash],
  );
}

/**
 * Finds a version: `polite/2`, `polite@production`, or `polite`, the newest.
 *
 * @throws {UsageError} `Cannot find prompt "<reference>": …`, with those there are.
 */
export async function resolvePrompt(store: Store, reference: string): Promise<Prompt> {
  const fail = (reason: string) =>
    new UsageError(`Cannot find prompt "${reference}": ${reason}; see "deno task prompts"`);
  const parts = /^([\w.-]+)(?:\/(\d{1,9})|@([\w-]+))?$/.exec(reference);
  if (parts === null) throw fail("it is none of NAME, NAME/VERSION and NAME@ALIAS");
  const [, name, number, alias] = parts;
  const versions = await store.query<
    { name: string; version: number; aliases: string[] | null; text: string }
  >("select name, version, aliases, text from judge_prompts where name = ? order by version", [
    name,
  ]);
  if (versions.length === 0) {
    const known = await store.query<{ name: string }>(
      "select distinct name from judge_prompts order by name",
    );
    const names = known.map((row) => row.name);
    const near = suggest(name, names);
    throw fail(
      near === undefined
        ? `there are ${names.join(", ") || "none"}`
        : `there is no "${name}"; did you mean "${near}"?`,
    );
  }
  const found = alias !== undefined
    ? versions.find(({ aliases }) => aliases?.includes(alias))
    : number !== undefined
    ? versions.find(({ version }) => version === Number(number))
    : versions.at(-1);
  if (found !== undefined) return { name, version: found.version, text: found.text };
  const known = versions.map(({ version, aliases }) =>
    [version, ...(aliases ?? []).map((name) => `@${name}`)].join(" ")
  );
  throw fail(`it has the versions ${known.join(", ")}`);
}

/**
 * Points an alias at a version; where it points there already nothing is written.
 *
 * @throws {UsageError} when there is no such version, or the alias has no proper name.
 */
export async function setPromptAlias(
  store: Store,
  { reference, alias, by }: {
    readonly reference: string;
    readonly alias: string;
    readonly by: string | null;
  },
): Promise<Prompt> {
  checkAliasName(alias);
  const prompt = await resolvePrompt(store, reference);
  const { name, version } = prompt;
  const moves =
    `(select version from judge_prompt_aliases where name = ? and alias = ?) is distinct from ?`;
  await store.transaction([
    ...recordSteps({
      action: "judge_prompt_alias.created",
      by,
      rows: `select ?::varchar || '@' || ?::varchar as subject,
        json_object('name', ?::varchar, 'alias', ?::varchar, 'version', ?::varchar) as details
        where ${moves}`,
      params: [name, alias, name, alias, String(version), name, alias, version],
    }),
    {
      sql: `insert into core.judge_prompt_aliases (name, alias, version, changed_at, changed_by)
        select ?, ?, ?::integer, now() at time zone 'UTC', ? where ${moves}`,
      params: [name, alias, version, by, name, alias, version],
    },
  ]);
  return prompt;
}
