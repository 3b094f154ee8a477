/**
 * Judges that are Markdown files: a header that says how is asked, and a text that says what. Files
 * come from `plugins` of a config, one by one or as a folder.
 *
 * @module
 */
import { basename, join, resolve } from "node:path";
import { parse } from "@std/yaml";
import { z } from "zod";
import type { Plugin } from "../plugins/plugin.ts";
import { describeError, UsageError } from "../runtime/errors.ts";
import type { Connection } from "./clients/connection.ts";
import { classify } from "./forms/classify.ts";
import { createLlmJudge, type Form } from "./forms/form.ts";
import { guidelines } from "./forms/guidelines.ts";
import { labels } from "./forms/labels.ts";
import { pairwise } from "./forms/pairwise.ts";
import { question } from "./forms/question.ts";
import { referenceYesNo } from "./forms/reference_yesno.ts";
import { rubricJson } from "./forms/rubric_json.ts";
import { TEXT_NAME } from "./forms/subject.ts";

const textName = z.string().regex(TEXT_NAME, "is no name of a text, such as output");

/** The header of a judge's file. */
const Header = z.strictObject({
  name: z.string().regex(/^[\w.-]+$/).optional().describe("default: the file's"),
  summary: z.string().optional(),
  form: z.enum([
    "question",
    "reference-yesno",
    "classify",
    "labels",
    "rubric-json",
    "pairwise",
    "guidelines",
  ]).default("question"),
  model: z.string().optional().describe("default: that of the environment"),
  inputs: z.array(textName).default([]).describe("texts that are shown; none: the record"),
  labels: z.record(z.string(), z.number().min(0).max(1)).optional()
    .describe("of form labels: the score of each"),
  candidates: z.tuple([textName, textName]).optional().describe("of form pairwise: two texts"),
  schema: z.record(textName, z.enum(["string", "number", "boolean"])).optional()
    .describe("of form rubric-json: fields of the answer beside its own, kept in raw"),
  rationale: z.enum(["flagged", "always", "never"]).default("flagged"),
  seed: z.int().default(0),
});

type Header = z.infer<typeof Header>;

/** What only one form reads; elsewhere it would be silently without effect. */
const OWN_KEYS = { labels: "labels", candidates: "pairwise", schema: "rubric-json" } as const;

const FORMS: Readonly<Record<Header["form"], (text: string, header: Header) => Form>> = {
  question: (text, { inputs }) => question({ question: text, inputs }),
  "reference-yesno": (text) => referenceYesNo({ question: text }),
  classify: () => classify(),
  labels: (text, { labels: scores = {}, inputs }) =>
    labels({ question: text, labels: scores, inputs }),
  "rubric-json": (text, { inputs, schema = {} }) =>
    rubricJson({ rubric: text, inputs, fields: schema }),
  pairwise: (text, { inputs, candidates }) =>
    pairwise({ question: text, inputs, ...(candidates === undefined ? {} : { candidates }) }),
  guidelines: (text, { inputs }) =>
    guidelines({ rules: [...text.matchAll(/^[-*] +(.+)$/gm)].map(([, rule]) => rule), inputs }),
};

/** Whether a plugin's specifier names a judge's file or a folder of them. */
export function isJudgeFile(specifier: string): boolean {
  return specifier.endsWith(".md") || specifier.endsWith("/");
}

/**
 * Reads a judge from the text of a Markdown file; `file` names it.
 *
 * @throws {UsageError} `Cannot load judge "<file>": …`
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { connect } from "./clients/connection.ts";
 * import { parseJudge } from "./markdown.ts";
 *
 * const text = "---\nform: question\ninputs: [output]\n---\nIs the output polite?\n";
 * assertEquals(parseJudge(text, "polite.md", connect()).name, "polite");
 * ```
 */
export function parseJudge(text: string, file: string, connection: Connection): Plugin<"judge"> {
  const fail = (reason: string) => new UsageError(`Cannot load judge "${file}": ${reason}`);
  const parts = /^---\r?\n([\s\S]*?)\r?\n---\r?\n([\s\S]*)$/.exec(text);
  if (parts === null) throw fail("it does not begin with a header between lines of ---");
  let header: Header;
  try {
    header = Header.parse(parse(parts[1]) ?? {});
  } catch (error) {
    throw fail(error instanceof z.ZodError ? z.prettifyError(error) : describeError(error));
  }
  const body = parts[2].trim();
  if (body === "" && header.form !== "classify") throw fail("there is no text below its header");
  for (const [key, form] of Object.entries(OWN_KEYS)) {
    if (header[key as keyof typeof OWN_KEYS] === undefined || header.form === form) continue;
    throw fail(`"${key}" belongs to form ${form}, not to ${header.form}`);
  }
  const name = header.name ?? basename(file, ".md");
  try {
    return createLlmJudge({
      name,
      summary: header.summary ?? `${header.form} of ${basename(file)}; LLM`,
      form: FORMS[header.form](body, header),
      connection: header.model === undefined ? connection : connection.withModel(header.model),
      rationale: header.rationale,
      seed: header.seed,
    });
  } catch (error) {
    throw fail(describeError(error));
  }
}

/**
 * Loads the judges of these files and folders, folders in the order of their files' names.
 *
 * @throws {UsageError} `Cannot load judge "<file>": …`
 */
export async function loadJudges(
  specifiers: readonly string[],
  connection: Connection,
  baseDir: string = Deno.cwd(),
): Promise<Plugin<"judge">[]> {
  const judges: Plugin<"judge">[] = [];
  for (const specifier of specifiers) {
    try {
      for (const path of await listFiles(resolve(baseDir, specifier), specifier.endsWith("/"))) {
        judges.push(parseJudge(await Deno.readTextFile(path), path, connection));
      }
    } catch (error) {
      if (error instanceof UsageError) throw error;
      throw new UsageError(`Cannot load judge "${specifier}": ${describeError(error)}`);
    }
  }
  return judges;
}

async function listFiles(path: string, isFolder: boolean): Promise<string[]> {
  if (!isFolder) return [path];
  const names: string[] = [];
  for await (const { name, isFile } of Deno.readDir(path)) {
    if (isFile && name.endsWith(".md")) names.push(name);
  }
  return names.sort().map((name) => join(path, name));
}
