/**
 * Turns the code cells of a notebook into one TypeScript module, by the syntax tree, so that they
 * can be type-checked and run with real permissions.
 *
 * @module
 */
import { parse } from "@std/yaml";
import type ts from "typescript";
import { suggest, UsageError } from "../errors.ts";
import { codeCells, type Notebook, NotebookError, sourceOf } from "./file.ts";

/** A place in a notebook; both count from 1. */
export interface Position {
  /** Position among the code cells. */
  readonly cell: number;
  /** Line within the cell, when known. */
  readonly line?: number;
}

/** A place as a message names it. */
export function describePosition({ cell, line }: Position): string {
  return `cell ${cell}${line === undefined ? "" : `, line ${line}`}`;
}

/** A notebook as a module. */
export interface FlatNotebook {
  readonly text: string;
  /** Origin of each line of `text`; `undefined` for lines that no cell holds. */
  readonly origins: readonly (Position | undefined)[];
}

/**
 * Gives the code cells as one module: imports first, each once, and each cell's last expression
 * shown. Unlike in the kernel, a name is declared once and functions are known from the start.
 *
 * @param baseUrl Folder of the notebook, with a slash at its end: relative imports start there.
 * @throws {NotebookError} when a cell is no TypeScript.
 */
export async function flattenNotebook(
  notebook: Notebook,
  { baseUrl, shimUrl }: { readonly baseUrl: string; readonly shimUrl: string },
): Promise<FlatNotebook> {
  const { default: ts } = await import("typescript");
  const imports = new Imports();
  const body: string[] = [];
  const bodyOrigins: (Position | undefined)[] = [];
  codeCells(notebook).forEach((cell, i) => {
    const number = i + 1;
    const source = sourceOf(cell);
    checkSyntax(ts, source, number);
    const file = ts.createSourceFile("cell.ts", source, ts.ScriptTarget.Latest, true);
    const text = rewriteCell(ts, file, { cell: number, baseUrl, imports });
    body.push(`$notebook.begin(${number});`);
    bodyOrigins.push(undefined);
    text.split("\n").forEach((line, j) => {
      body.push(line);
      bodyOrigins.push({ cell: number, line: j + 1 });
    });
  });
  const head = imports.lines();
  return {
    text: [
      `import * as $notebook from ${JSON.stringify(shimUrl)};`,
      ...head.map(({ text }) => text),
      ...body,
      "",
    ].join("\n"),
    origins: [undefined, ...head.map(({ origin }) => origin), ...bodyOrigins],
  };
}

/**
 * Gives a notebook whose cells tagged `parameters` declare other values.
 *
 * @param parameters `name=value`; the value is read as YAML.
 * @throws {UsageError} when no such cell declares a name.
 */
export async function setParameters(
  notebook: Notebook,
  parameters: readonly string[],
): Promise<Notebook> {
  if (parameters.length === 0) return notebook;
  const { default: ts } = await import("typescript");
  const values = new Map(parameters.map(parseParameter));
  const known: string[] = [];
  const cells = notebook.cells.map((cell) => {
    if (cell.cell_type !== "code" || !cell.metadata?.tags?.includes("parameters")) return cell;
    const source = sourceOf(cell);
    const file = ts.createSourceFile("cell.ts", source, ts.ScriptTarget.Latest, true);
    const edits: Edit[] = [];
    for (const statement of file.statements) {
      if (!ts.isVariableStatement(statement)) continue;
      for (const { name, initializer } of statement.declarationList.declarations) {
        if (!ts.isIdentifier(name) || !initializer) continue;
        known.push(name.text);
        if (!values.has(name.text)) continue;
        const text = JSON.stringify(values.get(name.text));
        edits.push({ start: initializer.getStart(file), end: initializer.end, text });
      }
    }
    return { ...cell, source: applyEdits(source, edits) };
  });
  for (const name of values.keys()) {
    if (known.includes(name)) continue;
    const near = suggest(name, known);
    const hint = known.length === 0
      ? 'no cell tagged "parameters" declares any'
      : near
      ? `did you mean "${near}"?`
      : `there are ${known.join(", ")}`;
    throw new UsageError(`Cannot set parameter "${name}": ${hint}`);
  }
  return { ...notebook, cells };
}

function parseParameter(parameter: string): [string, unknown] {
  const equals = parameter.indexOf("=");
  if (equals < 1) {
    throw new UsageError(`Cannot use parameter "${parameter}": write it as name=value`);
  }
  return [parameter.slice(0, equals), parse(parameter.slice(equals + 1)) ?? null];
}

/** A replacement of `source.slice(start, end)`. */
interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

function applyEdits(source: string, edits: readonly Edit[]): string {
  return [...edits].sort((a, b) => b.start - a.start).reduce(
    (text, edit) => text.slice(0, edit.start) + edit.text + text.slice(edit.end),
    source,
  );
}

function checkSyntax(typescript: typeof ts, source: string, cell: number): void {
  const { diagnostics = [] } = typescript.transpileModule(source, {
    reportDiagnostics: true,
    compilerOptions: {
      target: typescript.ScriptTarget.ESNext,
      module: typescript.ModuleKind.ESNext,
    },
  });
  const [first] = diagnostics;
  if (!first) return;
  const text = typescript.flattenDiagnosticMessageText(first.messageText, "; ");
  const line = source.slice(0, first.start ?? 0).split("\n").length;
  throw new NotebookError(`${describePosition({ cell, line })}: ${text}`, { cell, line });
}

/** The text of a cell, with as many lines as before: imports taken out, its last expression shown. */
function rewriteCell(
  typescript: typeof ts,
  file: ts.SourceFile,
  { cell, baseUrl, imports }: { cell: number; baseUrl: string; imports: Imports },
): string {
  const edits: Edit[] = [];
  const absolute = (specifier: string) =>
    /^\.{0,2}\//.test(specifier) ? new URL(specifier, baseUrl).href : specifier;
  const redirect = (literal: ts.Node | undefined) => {
    if (!literal || !typescript.isStringLiteral(literal)) return;
    const text = JSON.stringify(absolute(literal.text));
    edits.push({ start: literal.getStart(file), end: literal.end, text });
  };
  const visit = (node: ts.Node): void => {
    if (
      typescript.isCallExpression(node) &&
      node.expression.kind === typescript.SyntaxKind.ImportKeyword
    ) redirect(node.arguments[0]);
    else if (typescript.isImportTypeNode(node) && typescript.isLiteralTypeNode(node.argument)) {
      redirect(node.argument.literal);
    } else if (typescript.isExportDeclaration(node)) redirect(node.moduleSpecifier);
    typescript.forEachChild(node, visit);
  };
  file.statements.forEach((statement, i) => {
    const [start, end] = [statement.getStart(file), statement.end];
    if (typescript.isImportDeclaration(statement)) {
      const line = file.getLineAndCharacterOfPosition(start).line + 1;
      imports.add(typescript, statement, { cell, line }, absolute);
      edits.push({ start, end, text: file.text.slice(start, end).replace(/[^\n]+/g, "") });
      return;
    }
    visit(statement);
    if (i < file.statements.length - 1 || !typescript.isExpressionStatement(statement)) return;
    edits.push({ start, end: start, text: "await $notebook.show(" });
    const { end: expressionEnd } = statement.expression;
    edits.push({ start: expressionEnd, end: expressionEnd, text: ")" });
  });
  return applyEdits(file.text, edits);
}

/** The imports of all cells, each name once. */
class Imports {
  readonly #lines = new Map<string, Position>();

  /** Adds one line per imported name, so that a name that two cells import is one line. */
  add(
    typescript: typeof ts,
    { importClause, moduleSpecifier, attributes }: ts.ImportDeclaration,
    origin: Position,
    absolute: (specifier: string) => string,
  ): void {
    const from = JSON.stringify(absolute((moduleSpecifier as ts.StringLiteral).text)) +
      (attributes ? ` ${attributes.getText()}` : "");
    const add = (line: string) => {
      if (!this.#lines.has(line)) this.#lines.set(line, origin);
    };
    if (!importClause) return add(`import ${from};`);
    const { name, namedBindings, isTypeOnly } = importClause;
    const type = isTypeOnly ? "type " : "";
    if (name) add(`import ${type}${name.text} from ${from};`);
    if (!namedBindings) return;
    if (typescript.isNamespaceImport(namedBindings)) {
      return add(`import ${type}* as ${namedBindings.name.text} from ${from};`);
    }
    for (const element of namedBindings.elements) {
      const imported = element.propertyName ? `${element.propertyName.text} as ` : "";
      add(
        `import ${
          isTypeOnly || element.isTypeOnly ? "type " : ""
        }{ ${imported}${element.name.text} } from ${from};`,
      );
    }
  }

  /** One line per name; a type that is also imported as a value is left out. */
  lines(): { readonly text: string; readonly origin: Position }[] {
    return [...this.#lines]
      .filter(([text]) =>
        !this.#lines.has(text.replace(/^import type /, "import ")) ||
        !text.startsWith("import type ")
      )
      .map(([text, origin]) => ({ text, origin }));
  }
}
