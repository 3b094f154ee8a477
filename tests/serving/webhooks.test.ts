import { assertEquals, assertStringIncludes } from "@std/assert";
import { createApiKey } from "../../runtime/api_keys.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { createModel } from "../../runtime/tracking/registry.ts";
import { createWebhook, findWebhook } from "../../runtime/webhooks/mod.ts";
import { createApp, serve } from "../../server.ts";
import { startReceiver } from "../webhook_receiver.ts";

const WEBHOOKS = "/api/2.0/mlflow/webhooks";
const created = { entity: "REGISTERED_MODEL", action: "CREATED" };

// deno-lint-ignore no-explicit-any
type Json = any;

async function withRoutes(
  action: (
    call: (method: string, path: string, body?: unknown) => Promise<{ status: number; json: Json }>,
    store: Store,
  ) => Promise<void>,
): Promise<void> {
  await using store = await openStore(":memory:");
  await using app = await createApp({ store, model: "rocks", quiet: true });
  await action(async (method, path, body) => {
    const response = await app.request(`${WEBHOOKS}${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, json: await response.json() };
  }, store);
}

Deno.test("a webhook keeps the events that MLflow does not know when a client changes it", () =>
  withRoutes(async (call, store) => {
    const { id } = await createWebhook(store, {
      name: "both",
      url: "https://1.1.1.1/",
      events: ["model_version.created", "geophone.api_key.revoked"],
    }, { by: "ada" });
    await createWebhook(store, {
      name: "ours alone",
      url: "https://1.1.1.1/",
      events: ["geophone.api_key.revoked"],
    }, { by: "ada" });
    const { json } = await call("GET", "");
    assertEquals(json.webhooks.map(({ name, events }: Json) => [name, events]), [
      ["both", [{ entity: "MODEL_VERSION", action: "CREATED" }]],
    ]);
    const changed = await call("PATCH", `/${id}`, { events: [created], status: "DISABLED" });
    assertEquals([changed.status, changed.json.webhook.events], [200, [created]]);
    const webhook = await findWebhook(store, id);
    assertEquals(webhook.events, ["registered_model.created", "geophone.api_key.revoked"]);
    assertEquals(webhook.status, "DISABLED");
    const other = await findWebhook(store, "ours alone");
    assertEquals((await call("GET", `/${other.id}`)).status, 404);
  }));

const refusals: readonly [name: string, method: string, path: string, body: unknown, Json][] = [
  ["a missing URL", "POST", "", { name: "a", events: [created] }, [
    400,
    "INVALID_PARAMETER_VALUE",
    '"url" is missing',
  ]],
  ["no event", "POST", "", { name: "a", url: "https://1.1.1.1/" }, [
    400,
    "INVALID_PARAMETER_VALUE",
    "Cannot subscribe to no event",
  ]],
  ["an address of this machine", "POST", "", {
    name: "a",
    url: "https://127.0.0.1/",
    events: [created],
  }, [400, "INVALID_PARAMETER_VALUE", "is not a public one"]],
  ["an unknown status", "POST", "", {
    name: "a",
    url: "https://1.1.1.1/",
    events: [created],
    status: "ASLEEP",
  }, [400, "INVALID_PARAMETER_VALUE", '"status"']],
  ["an unknown id", "GET", "/none", undefined, [404, "RESOURCE_DOES_NOT_EXIST", '"none"']],
  ["to delete an unknown id", "DELETE", "/none", undefined, [
    404,
    "RESOURCE_DOES_NOT_EXIST",
    '"none"',
  ]],
  ["to test an unknown id", "POST", "/none/test", {}, [
    404,
    "RESOURCE_DOES_NOT_EXIST",
    '"none"',
  ]],
];

for (const [name, method, path, body, [status, code, part]] of refusals) {
  Deno.test(`the routes of webhooks refuse ${name}`, () =>
    withRoutes(async (call) => {
      const answer = await call(method, path, body);
      assertEquals([answer.status, answer.json.error_code], [status, code]);
      assertStringIncludes(answer.json.message, part);
    }));
}

Deno.test("a server delivers what is committed while it serves, and ends with a receiver that hangs", async () => {
  await using store = await openStore(":memory:");
  const release = Promise.withResolvers<void>();
  await using receiver = startReceiver((number) =>
    number === 1 ? new Response() : release.promise.then(() => new Response())
  );
  await createWebhook(store, {
    name: "local",
    url: receiver.url,
    events: ["registered_model.created"],
    allowsLocal: true,
  }, { by: "ada" });
  const served = await serve({ store, model: "rocks", quiet: true, serving: { port: 0 } });
  await createModel(store, { name: "first" }, { by: "ada" });
  await receiver.reached(1);
  await createModel(store, { name: "second" }, { by: "ada" });
  await receiver.reached(2);
  await served.shutdown();
  release.resolve();
  assertEquals(await store.query("select attempts, state from webhook_deliveries order by all"), [
    { attempts: 0, state: "pending" },
    { attempts: 1, state: "delivered" },
  ]);
});

Deno.test("changes by a key are on record under its name", async () => {
  await using store = await openStore(":memory:");
  const { secret } = await createApiKey(store, { name: "ci", role: "operator" });
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const call = (path: string, body: unknown) =>
    app.request(`/api/2.0/mlflow${path}`, {
      method: "POST",
      headers: { "x-api-key": secret },
      body: JSON.stringify(body),
    });
  assertEquals((await call("/registered-models/create", { name: "cores" })).status, 200);
  const refused = await call("/webhooks", {
    name: "a",
    url: "https://1.1.1.1/",
    events: [created],
  });
  assertEquals(refused.status, 403);
  assertEquals(
    await store.query("select action, actor, subject from audit where subject = 'cores'"),
    [{ action: "registered_model.created", actor: "ci", subject: "cores" }],
  );
});
