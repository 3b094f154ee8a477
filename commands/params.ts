/** Parameters of a zod schema as lines of help. */
import { z } from "zod";

interface SchemaNode {
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly description?: string;
  readonly default?: unknown;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly SchemaNode[];
}

/** Gives one line per parameter: path, type, default and what it is for. */
export function describeParams(schema: z.ZodType): string[] {
  return describeNode(
    z.toJSONSchema(schema, { unrepresentable: "any", io: "input" }) as SchemaNode,
  );
}

function describeNode(node: SchemaNode, prefix = ""): string[] {
  return Object.entries(node.properties ?? {}).flatMap(([key, child]) => {
    const path = `${prefix}${key}`;
    if (child.properties) {
      const head = child.description ? [`  ${path}: ${child.description}`] : [];
      return [...head, ...describeNode(child, `${path}.`)];
    }
    const fallback = child.default === undefined
      ? ""
      : `, default ${JSON.stringify(child.default)}`;
    return [`  ${path} (${describeType(child)}${fallback})  ${child.description ?? ""}`.trimEnd()];
  });
}

function describeType(node: SchemaNode): string {
  if (node.enum) return node.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (node.anyOf) return node.anyOf.map(describeType).join(" | ");
  return [node.type ?? "any"].flat().join(" | ");
}
