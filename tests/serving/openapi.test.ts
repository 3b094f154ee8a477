import { assert, assertEquals } from "@std/assert";
import { openStore } from "../../runtime/store/store.ts";
import { createApp } from "../../server.ts";

interface Operation {
  readonly summary?: string;
  readonly operationId?: string;
  readonly requestBody?: { readonly content: Record<string, { schema?: unknown }> };
  readonly responses: Record<string, { content?: Record<string, { schema?: unknown }> }>;
}

/** Answers to any path below `/v2` that is none of the protocol's; there is nothing to describe. */
const CATCH_ALL = "ALL /v2/*";

async function readDocument() {
  await using store = await openStore(":memory:");
  // Without a model, paths keep the names of their parameters.
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const { paths } = await (await app.request("/openapi.json")).json() as {
    paths: Record<string, Record<string, Operation>>;
  };
  const operations = Object.entries(paths).flatMap(([path, { parameters: _, ...methods }]) =>
    Object.entries(methods).map(([method, operation]) => ({
      name: `${method.toUpperCase()} ${path}`,
      operation,
    }))
  );
  return { operations, routes: app.routes };
}

Deno.test("GET /openapi.json describes every route that the server has, and no other", async () => {
  const { operations, routes } = await readDocument();
  const described = operations.map(({ name }) => name);
  // A slash at the end names the same thing.
  const own = routes.filter((route) => route !== CATCH_ALL && !/.\/$/.test(route.split(" ")[1]))
    .concat(routes.filter((route) => route === "GET /"))
    .map((route) => route.replace(/:(\w+)/g, "{$1}"));
  for (const route of own) {
    const [method, path] = route.split(" ");
    const isThere = method === "ALL"
      ? described.some((name) => name.endsWith(` ${path}`))
      : described.includes(route);
    assert(isThere, `${route} stands in no document`);
  }
  for (const name of described) {
    const any = name.replace(/^\w+/, "ALL");
    assert(own.includes(name) || own.includes(any), `${name} is no route`);
  }
});

Deno.test("GET /openapi.json gives every operation a name, an answer and its refusals with their schemas", async () => {
  const { operations } = await readDocument();
  const ids = operations.map(({ operation }) => operation.operationId);
  assertEquals(new Set(ids).size, ids.length);
  for (const { name, operation } of operations) {
    assert(operation.summary && operation.operationId, name);
    const statuses = Object.keys(operation.responses);
    assert(statuses.some((status) => status.startsWith("2")), name);
    const isProbe = /\/(health|ready|ping|live)(\/|$)/.test(name);
    assert(isProbe || ["401", "403"].every((status) => statuses.includes(status)), name);
    for (const [status, { content }] of Object.entries(operation.responses)) {
      for (const [type, { schema }] of Object.entries(content ?? {})) {
        assert(schema !== undefined, `${name} ${status} ${type}`);
      }
      assert(isProbe || content !== undefined, `${name} ${status} has no content`);
    }
    for (const [type, { schema }] of Object.entries(operation.requestBody?.content ?? {})) {
      assert(schema !== undefined, `${name} ${type}`);
    }
  }
});
