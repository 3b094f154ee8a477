/**
 * The OpenAPI document as one page of HTML for people: routes, parameters, bodies, answers, and a
 * command to try each. Without scripts, so that a browser is allowed nothing else either.
 *
 * @module
 */
import { escape } from "./html.ts";
import { createHash } from "node:crypto";

/** A schema, as far as the page reads it. */
interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly schema?: Schema;
}

type Content = Readonly<Record<string, { readonly schema?: Schema; readonly example?: unknown }>>;

interface Operation {
  readonly summary?: string;
  readonly description?: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Content };
  readonly responses?: Readonly<Record<string, { description?: string; content?: Content }>>;
}

/** An OpenAPI 3.1 document, as far as the page reads it. */
export interface ApiDocument {
  readonly info: { readonly title: string; readonly version: string; readonly summary?: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly components?: { readonly schemas?: Readonly<Record<string, Schema>> };
}

const methods = ["get", "post", "put", "patch", "delete"] as const;

const style = `
:root { color-scheme: light dark; --line: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.05rem; margin: 2.5rem 0 .75rem; border-bottom: 1px solid var(--line); }
code, pre { font: 13px/1.5 ui-monospace, monospace; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: .75rem; border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; }
details { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; padding: .45rem 0; display: flex; gap: .75rem; align-items: baseline; flex-wrap: wrap; }
summary::-webkit-details-marker { display: none; }
.method { font: 600 12px ui-monospace, monospace; width: 3.6rem; }
.path { font: 600 13px ui-monospace, monospace; overflow-wrap: anywhere; }
.about { opacity: .75; }
.body { padding: 0 0 1rem 4.35rem; }
table { border-collapse: collapse; width: 100%; margin: .25rem 0 .75rem; }
td { text-align: left; vertical-align: top; padding: .2rem .75rem .2rem 0; border-bottom: 1px solid var(--line); }
td:first-child { white-space: nowrap; width: 1%; }
nav { margin: .75rem 0; display: flex; gap: 1rem; flex-wrap: wrap; }
h3 { font-size: .9rem; margin: .75rem 0 .1rem; }
@media (max-width: 40rem) { .body { padding-left: 0; } }
`;

/** The only thing that a browser may apply: the style of this page, by its hash. */
export const docsPolicy = `default-src 'none'; style-src 'sha256-${
  createHash("sha256").update(style).digest("base64")
}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'`;

/**
 * Gives the page of a document; `origin` is where its commands ask, such as `http://127.0.0.1:8000`.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { renderDocs } from "./docs_page.ts";
 *
 * const page = renderDocs({
 *   info: { title: "Geophone: <rocks>", version: "1" },
 *   paths: { "/ready": { get: { summary: "Whether it answers" } } },
 * }, "http://127.0.0.1:8000");
 * assert(page.includes("Geophone: &lt;rocks&gt;"));
 * assert(page.includes("curl -s http://127.0.0.1:8000/ready"));
 * ```
 */
export function renderDocs(document: ApiDocument, origin: string): string {
  const { info, paths } = document;
  const groups = Map.groupBy(Object.entries(paths), ([path]) => groupOf(path));
  const sections = [...groups].map(([name, entries]) =>
    `<h2 id="${slug(name)}">${escape(name)}</h2>\n` +
    entries.flatMap(([path, item]) => renderPath(path, item, { document, origin })).join("\n")
  );
  const links = [...groups.keys()].map((name) => `<a href="#${slug(name)}">${escape(name)}</a>`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(info.title)}</title>
<style>${style}</style>
</head>
<body>
<h1>${escape(info.title)}</h1>
<div class="about">${escape(info.summary ?? "")}, version ${escape(info.version)}. The same for
programs: <a href="openapi.json">openapi.json</a></div>
<nav>${links.join("\n")}</nav>
${sections.join("\n")}
</body>
</html>
`;
}

function groupOf(path: string): string {
  if (path.startsWith("/v2")) return "Open Inference Protocol";
  if (/^\/(invocations|ping|version)$/.test(path)) return "MLflow scoring";
  if (/^\/(predict|batch_predict|labels)/.test(path)) return "Predictions";
  if (/^\/(models|model_info|traffic)/.test(path)) return "Models and traffic";
  return "The server";
}

interface Place {
  readonly document: ApiDocument;
  readonly origin: string;
}

function renderPath(
  path: string,
  item: Readonly<Record<string, unknown>>,
  place: Place,
): string[] {
  const shared = (item.parameters ?? []) as readonly Parameter[];
  return methods.filter((method) => method in item).map((method) => {
    const operation = item[method] as Operation;
    const parameters = [...shared, ...operation.parameters ?? []];
    return `<details>
<summary><span class="method">${method.toUpperCase()}</span><span class="path">${
      escape(path)
    }</span><span class="about">${escape(operation.summary ?? "")}</span></summary>
<div class="body">
${operation.description ? `<p>${escape(operation.description)}</p>` : ""}
<pre>${escape(renderCommand(method, path, operation, place))}</pre>
${renderParameters(parameters)}
${renderBody("Body", operation.requestBody?.content, place.document)}
${renderResponses(operation, place.document)}
</div>
</details>`;
  });
}

function renderCommand(
  method: string,
  path: string,
  { requestBody }: Operation,
  { document, origin }: Place,
): string {
  const url = origin + path.replace(/\{(\w+)\}/g, (_, name: string) => name.toUpperCase());
  const verb = method === "get" ? "" : ` -X ${method.toUpperCase()}`;
  const [type, content] = Object.entries(requestBody?.content ?? {})[0] ?? [];
  if (content === undefined) return `curl -s${verb} ${url}`;
  const example = content.example ?? makeExample(content.schema ?? {}, document);
  const text = typeof example === "string" ? example : JSON.stringify(example);
  return `curl -s${verb} ${url} -H 'content-type: ${type}' -d '${text.replaceAll("'", "'\\''")}'`;
}

function renderParameters(parameters: readonly Parameter[]): string {
  if (parameters.length === 0) return "";
  return `<h3>Parameters</h3>\n` + renderTable(
    parameters.map(({ name, in: where, required, description, schema }) => [
      `<code>${escape(name)}</code>`,
      escape(where) + (required ? ", required" : ""),
      escape(describeType(schema ?? {})),
      escape(description ?? ""),
    ]),
  );
}

function renderBody(title: string, content: Content | undefined, document: ApiDocument): string {
  return Object.entries(content ?? {}).map(([type, { schema }]) => {
    if (schema === undefined) return "";
    const resolved = resolve(schema, document);
    const variants = resolved.oneOf ?? resolved.anyOf ?? [resolved];
    const tables = variants.map((one) => renderProperties(resolve(one, document)));
    return `<h3>${title}: <code>${escape(type)}</code></h3>\n${tables.join("\n<div>or</div>\n")}`;
  }).join("\n");
}

function renderProperties(schema: Schema): string {
  const { properties = {}, required = [], description } = schema;
  const rows = Object.entries(properties).map(([name, property]) => [
    `<code>${escape(name)}</code>`,
    required.includes(name) ? "required" : "",
    escape(describeType(property)),
    escape(property.description ?? ""),
  ]);
  const text = escape(description ?? (rows.length === 0 ? describeType(schema) : ""));
  return (text ? `<div>${text}</div>` : "") + (rows.length === 0 ? "" : renderTable(rows));
}

function renderResponses({ responses = {} }: Operation, document: ApiDocument): string {
  const entries = Object.entries(responses);
  const good = entries.find(([status]) => status.startsWith("2"));
  const rows = entries.map(([status, { description, content }]) => [
    `<code>${escape(status)}</code>`,
    escape(Object.keys(content ?? {}).join(", ")),
    escape(description ?? ""),
  ]);
  return `${renderBody("Answer", good?.[1].content, document)}\n<h3>Statuses</h3>\n${
    renderTable(rows)
  }`;
}

function renderTable(rows: readonly (readonly string[])[]): string {
  return `<table>${
    rows.map((cells) => `<tr>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`).join("")
  }</table>`;
}

function resolve(schema: Schema, document: ApiDocument): Schema {
  const name = /^#\/components\/schemas\/(.+)$/.exec(schema.$ref ?? "")?.[1];
  return name === undefined ? schema : document.components?.schemas?.[name] ?? {};
}

function describeType(schema: Schema): string {
  const { type, minimum, maximum, items } = schema;
  if (schema.$ref) return schema.$ref.split("/").at(-1)!;
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const variants = schema.anyOf ?? schema.oneOf;
  if (variants) return variants.map(describeType).join(" or ");
  const name = [type ?? "any"].flat().join(" or ");
  const range = minimum === undefined && maximum === undefined
    ? ""
    : ` ${minimum ?? "…"} to ${maximum ?? "…"}`;
  const inner = type === "array" && items ? ` of ${describeType(items)}` : "";
  const otherwise = schema.default === undefined
    ? ""
    : `, default ${JSON.stringify(schema.default)}`;
  return name + inner + range + otherwise;
}

/** A value that a schema describes, small enough to be read. */
function makeExample(schema: Schema, document: ApiDocument, depth = 0): unknown {
  const resolved = resolve(schema, document);
  const [example] = resolved.examples ?? [];
  if (example !== undefined) return example;
  if (resolved.default !== undefined) return resolved.default;
  if (resolved.const !== undefined) return resolved.const;
  if (resolved.enum) return resolved.enum[0];
  const variant = (resolved.anyOf ?? resolved.oneOf)?.[0];
  if (variant) return makeExample(variant, document, depth);
  const type = [resolved.type].flat()[0];
  switch (type) {
    case "object": {
      if (depth > 6) return {};
      const { properties = {}, required } = resolved;
      const names = required?.length ? required : Object.keys(properties).slice(0, 1);
      return Object.fromEntries(
        names.map((name) => [name, makeExample(properties[name] ?? {}, document, depth + 1)]),
      );
    }
    case "array":
      return [makeExample(resolved.items ?? {}, document, depth + 1)];
    case "number":
    case "integer":
      return middle(resolved, type === "integer");
    case "boolean":
      return true;
    case "null":
      return null;
    default:
      return "text";
  }
}

function middle({ minimum, maximum }: Schema, isWhole: boolean): number {
  if (isWhole || minimum === undefined || maximum === undefined) return minimum ?? 1;
  return Number(((minimum + maximum) / 2).toPrecision(3));
}

function slug(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
}
