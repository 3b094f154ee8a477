import { assertEquals, assertStringIncludes } from "@std/assert";
import plugin from "./house_rules.ts";

function lint(file: string, source: string): string[] {
  const path = new URL(`../${file}`, import.meta.url).pathname;
  return Deno.lint.runPlugin(plugin, path, source).map(({ message }) => message);
}

Deno.test("layering reports an import that points up", () => {
  const [message] = lint("plugins/drift/x.ts", 'import "../../runtime/store/store.ts";');
  assertStringIncludes(message, "plugins/drift/x.ts must not import runtime/store/store.ts");
  assertEquals(lint("runtime/x.ts", 'import "../plugins/mod.ts";').length, 1);
  assertEquals(lint("stages/x.ts", 'export * from "../serving/params.ts";').length, 1);
  assertEquals(lint("numeric/x.ts", 'await import("../runtime/store/store.ts");').length, 1);
  assertEquals(lint("server.ts", 'import "./tests/contract.ts";').length, 1);
});

Deno.test("layering is silent on imports that point down", () => {
  assertEquals(lint("stages/x.ts", 'import "../runtime/store/store.ts"; import "zod";'), []);
  assertEquals(lint("runtime/x.ts", 'import type { A } from "../plugins/plugin.ts";'), []);
  assertEquals(lint("cli.ts", 'import "./server.ts";'), []);
});

Deno.test("error-message reports lower case, a full stop and contractions", () => {
  assertEquals(lint("runtime/x.ts", 'throw new Error("cannot read");').length, 1);
  assertEquals(lint("runtime/x.ts", 'throw new TypeError("Cannot read.");').length, 1);
  assertEquals(lint("runtime/x.ts", "throw new RangeError(`Can't read ${1}`);").length, 1);
  assertEquals(lint("runtime/x.ts", 'throw new Error("Cannot read \\"x\\": it is empty");'), []);
});
