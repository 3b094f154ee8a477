/** `deno task stage STAGE`. */
import { z } from "zod";
import type { Arguments } from "../cli.ts";
import { print } from "../runtime/terminal.ts";
import { stages } from "../stages/mod.ts";
import { checkName } from "./options.ts";
import { runSelection } from "./pipeline.ts";

/** Runs one stage, or shows its parameters. */
export async function run(args: Arguments): Promise<number> {
  const [name] = args.positionals;
  checkName("stage", name, stages.map((stage) => stage.name));
  const stage = stages.find((stage) => stage.name === name)!;
  if (args.options.help === true) {
    const schema = z.toJSONSchema(stage.params, { unrepresentable: "any", io: "input" });
    const lines = describeParams(schema as SchemaNode);
    print(
      `deno task stage ${stage.name} [options]\n\n${stage.summary}\n\nParameters (section "${stage.name}" of the config, or --set ${stage.name}.key=value):\n${
        lines.join("\n") || "  none"
      }\n\nOptions: as deno task pipeline, without --from, --to and --only`,
    );
    return 0;
  }
  return await runSelection(args, {
    from: name,
    to: name,
    isDryRun: args.options["dry-run"] === true,
  });
}

interface SchemaNode {
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly description?: string;
  readonly default?: unknown;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly SchemaNode[];
}

/** One line per parameter: path, type, default and what it is for. */
function describeParams(node: SchemaNode, prefix = ""): string[] {
  return Object.entries(node.properties ?? {}).flatMap(([key, child]) => {
    const path = `${prefix}${key}`;
    if (child.properties) {
      const head = child.description ? [`  ${path}: ${child.description}`] : [];
      return [...head, ...describeParams(child, `${path}.`)];
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
