import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { verifyAudit } from "../../../runtime/audit.ts";
import { UsageError } from "../../../runtime/errors.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { createModel, deleteModel, tagModel } from "../../../runtime/tracking/registry.ts";
import { MAX_ATTEMPTS } from "../../../runtime/notifications/dispatcher.ts";
import { claimDue } from "../../../runtime/notifications/outbox.ts";
import { type DispatchOptions, WebhookDispatcher } from "../../../runtime/webhooks/dispatcher.ts";
import { replayDelivery, webhookOutbox } from "../../../runtime/webhooks/outbox.ts";
import { sealSecret } from "../../../runtime/webhooks/secrets.ts";
import { sendDelivery } from "../../../runtime/webhooks/sender.ts";
import {
  createWebhook,
  deleteWebhook,
  findWebhook,
  listWebhooks,
  MAX_WEBHOOKS,
  testWebhook,
  updateWebhook,
  type WebhookFields,
} from "../../../runtime/webhooks/mod.ts";
import { assertSigned, type Receiver, startReceiver } from "../../webhook_receiver.ts";

const ada = { by: "ada" };
const SECRET = "the secret of a receiver, ünïcode too";

type Fields = Partial<WebhookFields> & { readonly allowsLocal?: boolean };

function hook(store: Store, url: string, fields: Fields = {}) {
  return createWebhook(store, {
    name: "chat",
    url,
    events: ["registered_model.created"],
    allowsLocal: true,
    ...fields,
  }, ada);
}

/** Makes a registered model, which is one event. */
const makeModel = (store: Store, name: string) => createModel(store, { name }, ada);

/** Sends what is due, now or at another time. */
async function drain(store: Store, options: DispatchOptions = {}) {
  await using dispatcher = new WebhookDispatcher(store, options);
  return { ...await dispatcher.drain(), obstacles: [...dispatcher.obstacles.values()] };
}

const at = (offsetMs: number) => ({ now: () => Date.now() + offsetMs });

const readDeliveries = (store: Store) =>
  store.query<{ delivery_id: string; state: string; series: number; attempts: number }>(
    "select delivery_id, state, series, attempts from webhook_deliveries order by created_at",
  );

const readAttempts = (store: Store) =>
  store.query<{ series: number; attempt: number; status_code: number | null; error: string }>(
    "select series, attempt, status_code, error from webhook_attempts order by series, attempt",
  );

async function withReceiver(
  action: (store: Store, receiver: Receiver) => Promise<void>,
  answer?: (number: number) => Response | Promise<Response>,
): Promise<void> {
  await using store = await openStore(":memory:");
  await using receiver = startReceiver(answer);
  await action(store, receiver);
}

Deno.test("a change is delivered in the form of MLflow, signed for both kinds of receivers", () =>
  withReceiver(async (store, receiver) => {
    await hook(store, receiver.url, { secret: SECRET, events: ["model_version_tag.set"] });
    await makeModel(store, "no event of the webhook");
    await hook(store, receiver.url, { name: "plain" });
    await createModel(store, { name: "cores", tags: [{ key: "k", value: "ü" }] }, ada);
    assertEquals((await drain(store)).delivered, 1);
    const [{ headers, body }] = receiver.received;
    assertEquals([body.entity, body.action], ["registered_model", "created"]);
    assertEquals(body.data, { name: "cores", tags: { k: "ü" }, description: null });
    const [entry] = await store.query<{ time: string }>("from audit order by number desc limit 1");
    assertEquals(new Date(body.timestamp).toISOString(), entry.time);
    assertEquals(Object.keys(body), ["entity", "action", "timestamp", "data"]);
    assertEquals(headers.get("content-type"), "application/json");
    assertEquals(headers.get("x-mlflow-signature"), null);
    assertEquals(headers.get("webhook-signature"), null);

    await updateWebhook(store, "plain", { secret: SECRET }, ada);
    await makeModel(store, "signed");
    await drain(store);
    await assertSigned(receiver.received[1], SECRET);
    const [delivery] = (await readDeliveries(store)).slice(1);
    assertEquals(receiver.received[1].headers.get("webhook-id"), delivery.delivery_id);
    // Nothing is sent twice.
    assertEquals((await drain(store)).delivered, 0);
    assertEquals(receiver.received.length, 2);
  }));

Deno.test("a failed attempt is made again later, not before Retry-After", () =>
  withReceiver(
    async (store, receiver) => {
      await hook(store, receiver.url);
      await makeModel(store, "cores");
      const zero = { random: () => 0 };
      assertEquals(await drain(store, zero), { delivered: 0, retried: 1, dead: 0, obstacles: [] });
      assertEquals((await drain(store, zero)).retried, 0);
      assertEquals((await drain(store, { ...zero, ...at(59_000) })).retried, 0);
      assertEquals((await drain(store, { ...zero, ...at(120_500) })).delivered, 1);
      assertEquals(await readAttempts(store), [
        {
          series: 0,
          attempt: 1,
          status_code: 503,
          error: "Cannot deliver: the receiver answered 503",
        },
        { series: 0, attempt: 2, status_code: 200, error: null as unknown as string },
      ]);
      const ids = receiver.received.map(({ headers }) => headers.get("webhook-id"));
      assertEquals(ids[0], ids[1]);
      assertEquals(receiver.received[0].text, receiver.received[1].text);
    },
    (number) =>
      number > 1
        ? new Response()
        : new Response(null, { status: 503, headers: { "retry-after": "120" } }),
  ));

Deno.test("a delivery is a dead letter after eight attempts, and is sent anew by a replay", () =>
  withReceiver(
    async (store, receiver) => {
      await hook(store, receiver.url);
      await makeModel(store, "cores");
      const zero = { random: () => 0 };
      assertEquals(await drain(store, zero), {
        delivered: 0,
        retried: MAX_ATTEMPTS - 1,
        dead: 1,
        obstacles: [],
      });
      const [{ delivery_id: id, ...dead }] = await readDeliveries(store);
      assertEquals(dead, { state: "dead", series: 0, attempts: MAX_ATTEMPTS });
      assertEquals((await drain(store, at(86_400_000))).retried, 0);

      await replayDelivery(store, id, ada);
      await assertRejects(() => replayDelivery(store, id, ada), UsageError, "it still waits");
      assertEquals((await drain(store, at(1))).delivered, 1);
      await replayDelivery(store, id, ada);
      assertEquals((await drain(store, at(1))).delivered, 1);
      assertEquals(await readDeliveries(store), [
        { delivery_id: id, state: "delivered", series: 2, attempts: 1 },
      ]);
      const ids = new Set(receiver.received.map(({ headers }) => headers.get("webhook-id")));
      assertEquals([...ids], [id]);
      assertEquals(receiver.received.length, MAX_ATTEMPTS + 2);
      const recorded = await store.query("from audit where action = 'webhook.replayed'");
      assertEquals(recorded.length, 2);
      await assertRejects(() => replayDelivery(store, "none", ada), UsageError, "none of this id");
    },
    (number) => new Response("no", { status: number > MAX_ATTEMPTS ? 200 : 500 }),
  ));

Deno.test("a receiver that hangs holds up no other, and its deliveries wait for the next process", async () => {
  await using store = await openStore(":memory:");
  const release = Promise.withResolvers<void>();
  await using hung = startReceiver(() => release.promise.then(() => new Response()));
  await using good = startReceiver();
  await hook(store, hung.url, { name: "hung" });
  await hook(store, good.url, { name: "good" });
  for (let i = 0; i < 12; i++) await makeModel(store, `model ${i}`);
  await using dispatcher = WebhookDispatcher.start(store);
  await good.reached(12);
  await hung.reached(4);
  assertEquals(hung.received.length, 4, "as many as one receiver gets at once");
  await dispatcher.close();
  release.resolve();
  const [{ count }] = await store.query<{ count: number }>(
    `select count(*) as count from webhook_deliveries where webhook = 'hung' and state = 'pending'
       and attempts = 0`,
  );
  assertEquals(count, 12);
  // A good one whose answer was not read any more is sent again, under its old id.
  await drain(store, at(1));
  assertEquals(await store.query("select distinct state from webhook_deliveries"), [
    { state: "delivered" },
  ]);
  const ids = new Set(good.received.map(({ headers }) => headers.get("webhook-id")));
  assertEquals(ids.size, 12);
});

Deno.test("an attempt at a receiver that does not answer ends with its time", () =>
  withReceiver(
    async (store, receiver) => {
      await hook(store, receiver.url);
      await makeModel(store, "cores");
      assertEquals((await drain(store, { timeoutMs: 50 })).retried, 1);
      const [{ status_code: status, error }] = await readAttempts(store);
      assertEquals(status, null);
      assertEquals(error, "Cannot deliver: the receiver did not answer within 50 ms");
    },
    () => new Promise((resolve) => setTimeout(() => resolve(new Response()), 200)),
  ));

Deno.test("what a process committed before it was killed is delivered by the next one", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await using receiver = startReceiver();
    const path = `${dir}/store.duckdb`;
    const url = (file: string) => JSON.stringify(import.meta.resolve(`../../../runtime/${file}`));
    const file = `${dir}/victim.ts`;
    await Deno.writeTextFile(
      file,
      `import { openStore } from ${url("store/store.ts")};
      import { createWebhook } from ${url("webhooks/mod.ts")};
      import { createModel } from ${url("tracking/registry.ts")};
      const store = await openStore(Deno.args[0], { publish: false });
      const by = "ada";
      const events = ["registered_model.created"];
      await createWebhook(store, { name: "a", url: Deno.args[1], events, allowsLocal: true }, { by });
      await createModel(store, { name: "cores" }, { by });
      Deno.kill(Deno.pid, "SIGKILL");`,
    );
    const config = new URL("../../../deno.json", import.meta.url).pathname;
    const { signal, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "-A", "--config", config, file, path, receiver.url],
      stdout: "null",
      stderr: "piped",
    }).output();
    assertEquals(signal, "SIGKILL", new TextDecoder().decode(stderr));
    await using store = await openStore(path, { publish: false });
    assertEquals((await drain(store)).delivered, 1);
    assertEquals(receiver.received[0].body.data.name, "cores");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("what a killed process had claimed is delivered when its claim has run out", () =>
  withReceiver(async (store, receiver) => {
    await hook(store, receiver.url);
    await makeModel(store, "cores");
    const [{ delivery_id: id }] = await readDeliveries(store);
    const now = new Date();
    const claim = () =>
      claimDue(store, webhookOutbox, {
        ids: [id],
        now,
        until: new Date(now.getTime() + 15_000),
      });
    assertEquals((await claim()).length, 1);
    assertEquals((await claim()).length, 0, "one process has it");
    assertEquals((await drain(store)).delivered, 0);
    assertEquals((await drain(store, at(16_000))).delivered, 1);
  }));

Deno.test("two dispatchers of a store send each delivery once", () =>
  withReceiver(async (store, receiver) => {
    await hook(store, receiver.url);
    for (let i = 0; i < 10; i++) await makeModel(store, `model ${i}`);
    const counts = await Promise.all([drain(store), drain(store)]);
    assertEquals(counts.reduce((sum, { delivered }) => sum + delivered, 0), 10);
    assertEquals(receiver.received.length, 10);
  }));

Deno.test("WebhookDispatcher.start() sends after a commit, with nothing due before", () =>
  withReceiver(async (store, receiver) => {
    await using _dispatcher = WebhookDispatcher.start(store);
    await hook(store, receiver.url);
    await makeModel(store, "first");
    await receiver.reached(1);
    await makeModel(store, "second");
    await receiver.reached(2);
  }));

Deno.test("a change that fails leaves neither an entry of the audit log nor a delivery", () =>
  withReceiver(async (store, receiver) => {
    await hook(store, receiver.url);
    await makeModel(store, "taken");
    await drain(store);
    const before = await verifyAudit(store);
    await assertRejects(() => makeModel(store, "taken"), Error, "there is one of this name");
    assertEquals(await verifyAudit(store), before);
    assertEquals((await readDeliveries(store)).length, 1);
    assertEquals((await drain(store)).delivered, 0);
  }));

Deno.test("a webhook hears of its events while it is active, and of none when it is deleted", () =>
  withReceiver(async (store, receiver) => {
    const all = ["registered_model.created", "geophone.registered_model.deleted"];
    const { id } = await hook(store, receiver.url, { events: [...all, ...all] });
    assertEquals((await findWebhook(store, id)).events, all);
    await makeModel(store, "a");
    await updateWebhook(store, id, { status: "DISABLED" }, ada);
    assertEquals((await drain(store)).delivered, 0, "it waits");
    await makeModel(store, "not told");
    await updateWebhook(store, "chat", { status: "ACTIVE" }, ada);
    assertEquals((await drain(store)).delivered, 1);
    await tagModel(store, { name: "a" }, { key: "k", value: "v" }, ada);
    await deleteModel(store, "a", ada);
    assertEquals((await drain(store)).delivered, 1);
    assertEquals(receiver.received.map(({ body }) => [body.entity, body.action, body.data.name]), [
      ["registered_model", "created", "a"],
      ["geophone.registered_model", "deleted", "a"],
    ]);
    await makeModel(store, "b");
    await deleteWebhook(store, "chat", ada);
    assertEquals((await drain(store)).delivered, 0);
    const [dropped] = (await readDeliveries(store)).slice(-1);
    assertEquals(dropped.state, "dropped");
    await assertRejects(
      () => replayDelivery(store, dropped.delivery_id, ada),
      UsageError,
      "its webhook was deleted",
    );
    assertEquals(await listWebhooks(store), []);
    assertEquals(
      await store.query("select action, actor, subject from audit where action like 'webhook.%'"),
      ["created", "updated", "updated", "deleted"].map((what) => ({
        action: `webhook.${what}`,
        actor: "ada",
        subject: "chat",
      })),
    );
    // The name is free again.
    await hook(store, receiver.url);
  }));

Deno.test("a redirect is a failure, and is not followed", async () => {
  await using other = startReceiver();
  await withReceiver(
    async (store, receiver) => {
      await hook(store, receiver.url);
      await makeModel(store, "cores");
      assertEquals((await drain(store)).retried, 1);
      assertEquals((await readAttempts(store))[0].status_code, 307);
      assertEquals(other.received.length, 0);
    },
    () => new Response(null, { status: 307, headers: { location: other.url } }),
  );
});

const localUrls = [
  "https://127.0.0.1:8000/",
  "https://localhost/hook",
  "https://2130706433/",
  "https://10.0.0.1/",
  "https://169.254.169.254/latest/meta-data",
  "https://[::1]/",
  "https://[::ffff:10.0.0.1]/",
  "https://[fd00::1]/",
  "https://0.0.0.0/",
];

Deno.test.each(localUrls)("createWebhook() refuses %s without allowsLocal", async (url) => {
  await using store = await openStore(":memory:");
  await assertRejects(
    () => createWebhook(store, { name: "a", url, events: ["model_version.created"] }, ada),
    UsageError,
    "is not a public one",
  );
});

Deno.test("sendDelivery() refuses a name that leads to an address that is not public, each time", () =>
  withReceiver(async (_store, receiver) => {
    const url = new URL(receiver.url);
    url.hostname = "localhost";
    const outgoing = { url: url.href, secret: null, deliveryId: "d", payload: "{}" };
    const addresses = [
      [{ address: "1.1.1.1", family: 4 }, { address: "10.0.0.1", family: 4 }],
      [{ address: "fd00::1", family: 6 }],
      [],
    ];
    for (const found of addresses) {
      const { isDelivered, error } = await sendDelivery({
        ...outgoing,
        url: url.href.replace("http:", "https:"),
        allowsLocal: false,
      }, { lookup: () => Promise.resolve(found) });
      assertEquals(isDelivered, false);
      assertStringIncludes(
        error!,
        found.length === 0 ? "it has no address" : "is not a public one",
      );
    }
    const plain = await sendDelivery({ ...outgoing, allowsLocal: false });
    assertStringIncludes(plain.error!, "its scheme is http; write https");
    assertEquals(receiver.received.length, 0);
    assertEquals((await sendDelivery({ ...outgoing, allowsLocal: true })).isDelivered, true);
  }));

Deno.test("sendDelivery() says why no answer came, without the URL", async () => {
  const receiver = startReceiver();
  await receiver[Symbol.asyncDispose]();
  const result = await sendDelivery({
    url: receiver.url,
    allowsLocal: true,
    secret: null,
    deliveryId: "d",
    payload: "{}",
  });
  assertEquals([result.isDelivered, result.status], [false, null]);
  assertStringIncludes(result.error!, "Cannot deliver: ");
  assertStringIncludes(result.error!, "refused");
  assert(!result.error!.includes("in-the-url"));
});

Deno.test("a secret is kept encrypted, and neither views nor the audit log show it or the URL", () =>
  withReceiver(async (store, receiver) => {
    const { id } = await hook(store, receiver.url, { secret: SECRET });
    await updateWebhook(store, id, { secret: `${SECRET} 2` }, ada);
    const shown = JSON.stringify([
      await listWebhooks(store).then((all) => all.map(({ url: _, ...rest }) => rest)),
      ...await Promise.all(
        ["webhooks", "audit", "webhook_deliveries"].map((view) => store.query(`from ${view}`)),
      ),
    ]);
    assert(!shown.includes(SECRET) && !shown.includes("in-the-url"));
    const [row] = await store.query<{ sealed_secret: string }>("from core.webhooks");
    assert(!atob(row.sealed_secret).includes("secret"));
    await deleteWebhook(store, id, ada);
    assertEquals(await store.query("select sealed_secret from core.webhooks"), [
      { sealed_secret: null },
    ]);
  }));

Deno.test("a webhook that this process cannot serve waits, and is named once", () =>
  withReceiver(async (store, receiver) => {
    const { id } = await hook(store, receiver.url, { name: "sealed", secret: SECRET });
    await createWebhook(store, {
      name: "far",
      url: "https://1.1.1.1/hook",
      events: ["registered_model.created"],
    }, ada);
    const [{ sealed_secret: sealed }] = await store.query<{ sealed_secret: string }>(
      "select sealed_secret from core.webhooks where webhook_id = ?",
      [id],
    );
    const seal = (value: string) =>
      store.query("update core.webhooks set sealed_secret = ? where webhook_id = ?", [value, id]);
    await seal(sealSecret(SECRET, { owner: id, key: new Uint8Array(32) }));
    await makeModel(store, "cores");
    const messages: string[] = [];
    const onError = (message: string) => messages.push(message);
    const { obstacles, ...counts } = await drain(store, { onError });
    assertEquals(counts, { delivered: 0, retried: 0, dead: 0 });
    assertEquals([...obstacles].sort(), messages.sort());
    assertEquals(messages.length, 2);
    assertStringIncludes(messages[0], 'Cannot serve webhook "far": this task may not reach');
    assertStringIncludes(messages[1], 'Cannot serve webhook "sealed": Cannot open the secret');
    await seal(sealed);
    assertEquals((await drain(store)).delivered, 1);
    assertEquals((await readAttempts(store)).length, 1);
  }));

const wrong: readonly [name: string, fields: Fields, part: string][] = [
  ["an empty name", { name: "" }, 'Cannot take webhook name ""'],
  ["a taken name", {}, 'Cannot create webhook "chat": there is one of this name'],
  ["no events", { name: "b", events: [] }, "Cannot subscribe to no event"],
  ["a misspelled event", { name: "b", events: ["model_version.create"] }, "did you mean"],
  ["an event that never comes", { name: "b", events: ["prompt.created"] }, "nothing here"],
  ["no URL", { name: "b", url: "hooks" }, "it is no URL"],
  ["a file", { name: "b", url: "file:///etc/passwd" }, "its scheme is file"],
  [
    "plain http to others",
    { name: "b", url: "http://1.1.1.1/", allowsLocal: false },
    "write https",
  ],
  ["a password in the URL", { name: "b", url: "https://a:b@1.1.1.1/" }, "a user or a password"],
];

for (const [name, fields, part] of wrong) {
  Deno.test(`createWebhook() refuses ${name}`, async () => {
    await using store = await openStore(":memory:");
    const url = "http://127.0.0.1:9/";
    await hook(store, url);
    const error = await assertRejects(() => hook(store, url, fields), UsageError, part);
    assert(!/a:b@/.test(error.message));
    assertEquals((await listWebhooks(store)).length, 1);
  });
}

Deno.test("webhooks are found by name or id, renamed to free names only, and at most a hundred", async () => {
  await using store = await openStore(":memory:");
  const { id } = await hook(store, "http://127.0.0.1:9/");
  await hook(store, "http://127.0.0.1:9/", { name: "mail" });
  await assertRejects(() => findWebhook(store, "chatt"), UsageError, 'did you mean "chat"?');
  await assertRejects(
    () => updateWebhook(store, id, { name: "mail" }, ada),
    UsageError,
    'Cannot rename webhook "chat" to "mail"',
  );
  await assertRejects(
    () => updateWebhook(store, "none", { status: "DISABLED" }, ada),
    UsageError,
    "there are chat, mail",
  );
  assertEquals((await updateWebhook(store, id, { name: "talk" }, ada)).name, "talk");
  await store.query(
    `insert into core.webhooks
     select uuid()::varchar, 'filler ' || i, w.* exclude (webhook_id, name)
     from core.webhooks w, range(${MAX_WEBHOOKS - 2}) t(i) where w.name = 'talk'`,
  );
  await assertRejects(
    () => hook(store, "http://127.0.0.1:9/", { name: "one more" }),
    UsageError,
    `there are ${MAX_WEBHOOKS} already`,
  );
});

Deno.test("testWebhook() sends one signed example beside the outbox and gives the answer", () =>
  withReceiver(
    async (store, receiver) => {
      await hook(store, receiver.url, { secret: SECRET });
      const good = await testWebhook(store, "chat");
      assertEquals([good.isDelivered, good.status, good.body], [true, 200, "thanks 1"]);
      const bad = await testWebhook(store, "chat", { event: "model_version.created" });
      assertEquals([bad.isDelivered, bad.status, bad.body], [false, 400, "thanks 2"]);
      assertEquals(receiver.received[1].body.entity, "model_version");
      for (const received of receiver.received) await assertSigned(received, SECRET);
      assertEquals(await readDeliveries(store), []);
      await assertRejects(() => testWebhook(store, "chat", { event: "x" }), UsageError);
    },
    (number) => new Response(`thanks ${number}`, { status: number === 1 ? 200 : 400 }),
  ));
