import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createHash } from "node:crypto";
import { openStore } from "../../runtime/store/store.ts";
import { createApp } from "../../server.ts";
import { renderDocs } from "../../serving/docs_page.ts";
import { registerTestModel } from "../model_fixture.ts";

Deno.test("GET /docs shows every route of the document, and a browser may apply its style alone", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const response = await app.request("http://127.0.0.1:8000/docs");
  const page = await response.text();
  assertEquals(response.status, 200);
  assertEquals(response.headers.get("content-type"), "text/html; charset=utf-8");
  const style = /<style>([^]*?)<\/style>/.exec(page)![1];
  const hash = createHash("sha256").update(style).digest("base64");
  assertStringIncludes(
    response.headers.get("content-security-policy")!,
    `default-src 'none'; style-src 'sha256-${hash}'`,
  );
  assert(!/<script|\son\w+=|style="/i.test(page));
  const { paths } = await (await app.request("/openapi.json")).json();
  for (const path of Object.keys(paths)) {
    assertStringIncludes(page, `<span class="path">${path.replaceAll("<", "&lt;")}</span>`);
  }
});

Deno.test("renderDocs() gives a command that the server answers, in the model's own inputs", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const page = await (await app.request("/docs")).text();
  const command = /curl -s -X POST http:\/\/localhost\/predict -H .*? -d (.*?)<\/pre>/.exec(page);
  const body = command![1].replaceAll("&#39;", "'").replaceAll("&quot;", '"').slice(1, -1);
  const response = await app.request("/predict", { method: "POST", body });
  assertEquals(response.status, 200, await response.text());
  assertMatch(body, /"GR":/);
});

Deno.test("renderDocs() writes names and texts of a document as text", () => {
  const page = renderDocs({
    info: { title: "</title><script>alert(1)</script>", version: "1" },
    paths: {
      "/<img src=x>": {
        post: {
          summary: "<b>bold</b>",
          parameters: [{
            name: "a'b",
            in: "query",
            description: '"><i>',
            schema: { type: "string" },
          }],
          requestBody: {
            content: {
              "application/json": {
                schema: { type: "object", properties: { "<u>": { enum: ["<s>"] } } },
              },
            },
          },
        },
      },
    },
  }, "http://h");
  assert(!/<(script|img|b|i|u|s)\b/.test(page), page);
});

Deno.test("renderDocs() ends when schemas refer to one another in a circle", () => {
  const page = renderDocs({
    info: { title: "t", version: "1" },
    paths: {
      "/x": {
        post: {
          requestBody: {
            content: { "application/json": { schema: { $ref: "#/components/schemas/Node" } } },
          },
        },
      },
    },
    components: {
      schemas: {
        Node: {
          type: "object",
          required: ["next"],
          properties: { next: { $ref: "#/components/schemas/Node" } },
        },
      },
    },
  }, "http://h");
  assertStringIncludes(page, "{&quot;next&quot;:");
});
