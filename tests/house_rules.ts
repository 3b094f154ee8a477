/** House rules that `deno lint` enforces: layering and error messages. */

/** What each layer may import of the project; imports point down only. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  "numeric/": ["numeric/"],
  "plugins/": ["plugins/", "numeric/"],
  "runtime/": ["runtime/", "plugins/plugin.ts", "numeric/"],
  "judges/": ["judges/", "runtime/", "plugins/", "numeric/"],
  "serving/": ["serving/", "judges/", "runtime/", "plugins/", "numeric/"],
  "stages/": ["stages/", "judges/", "runtime/", "plugins/", "numeric/"],
};

const ROOT = new URL("../", import.meta.url).pathname;

function relative(pathname: string): string {
  return pathname.startsWith(ROOT) ? pathname.slice(ROOT.length) : "";
}

const plugin: Deno.lint.Plugin = {
  name: "house",
  rules: {
    layering: {
      create(context) {
        const from = relative(context.filename);
        const layer = Object.keys(LAYERS).find((folder) => from.startsWith(folder));
        const check = (node: Deno.lint.Node, specifier: unknown): void => {
          if (typeof specifier !== "string" || !specifier.startsWith(".")) return;
          const to = relative(new URL(specifier, `file://${context.filename}`).pathname);
          if (to.startsWith("tests/") && !from.startsWith("tests/")) {
            context.report({
              node,
              message: `${from} must not import ${to}: nothing imports tests`,
            });
          }
          if (layer && !LAYERS[layer].some((allowed) => to.startsWith(allowed))) {
            context.report({
              node,
              message: `${from} must not import ${to}: ${layer} may import ${
                LAYERS[layer].join(", ")
              }`,
            });
          }
        };
        return {
          ImportDeclaration: (node) => check(node, node.source.value),
          ExportNamedDeclaration: (node) => check(node, node.source?.value),
          ExportAllDeclaration: (node) => check(node, node.source.value),
          ImportExpression: (node) => check(node, (node.source as { value?: unknown }).value),
        };
      },
    },
    "error-message": {
      create(context) {
        return {
          NewExpression(node) {
            if (node.callee.type !== "Identifier" || !node.callee.name.endsWith("Error")) return;
            const [argument] = node.arguments;
            const text = argument?.type === "Literal" && typeof argument.value === "string"
              ? argument.value
              : argument?.type === "TemplateLiteral"
              ? argument.quasis[0]?.cooked
              : undefined;
            if (text === undefined) return;
            if (/^[a-z]/.test(text)) {
              context.report({
                node,
                message: "An error message starts with an upper-case letter",
              });
            }
            if (argument?.type === "Literal" && text.endsWith(".")) {
              context.report({ node, message: "An error message has no full stop at its end" });
            }
            if (/\b(can't|don't|isn't|won't|doesn't)\b/i.test(text)) {
              context.report({ node, message: "An error message has no contractions" });
            }
          },
        };
      },
    },
  },
};
export default plugin;
