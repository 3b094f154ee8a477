import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { z } from "zod";
import { loadPlugins } from "../../../plugins/mod.ts";
import { DeliveryError, type Plugin } from "../../../plugins/plugin.ts";
import { createWebhook } from "../../../plugins/sinks/webhook.ts";
import { verifyAudit } from "../../../runtime/audit.ts";
import { UsageError } from "../../../runtime/errors.ts";
import { MAX_ATTEMPTS } from "../../../runtime/notifications/dispatcher.ts";
import { configureSinks, NotificationParams } from "../../../runtime/notifications/params.ts";
import {
  listNotifications,
  notificationSteps,
  replayNotification,
  SinkDispatcher,
  type SinkDispatchOptions,
} from "../../../runtime/notifications/sinks.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { sampleEvents } from "../../contract.ts";
import { startReceiver } from "../../webhook_receiver.ts";

const ada = { by: "ada" };

function makeSink(
  name: string,
  deliver: Plugin<"sink">["deliver"] = () => Promise.resolve(),
  more: Partial<Plugin<"sink">> = {},
): Plugin<"sink"> {
  return { kind: "sink", name, summary: "a test", deliver, ...more };
}

async function tell(store: Store, ...sinks: string[]): Promise<void> {
  await store.transaction(notificationSteps(sampleEvents, { sinks }));
}

async function drain(store: Store, options: SinkDispatchOptions) {
  await using dispatcher = new SinkDispatcher(store, options);
  return { ...await dispatcher.drain(), obstacles: [...dispatcher.obstacles.values()] };
}

const at = (offsetMs: number) => ({ now: () => Date.now() + offsetMs });

const readStates = (store: Store) =>
  store.query<{ sink: string; state: string; series: number; attempts: number }>(
    "select sink, state, series, attempts from sink_deliveries order by sink, created_at",
  );

Deno.test("notificationSteps() makes one delivery per sink with the change or none, and none of no event", async () => {
  await using store = await openStore(":memory:");
  assertEquals(notificationSteps([], { sinks: ["log"] }), []);
  await assertRejects(() =>
    store.transaction([
      ...notificationSteps(sampleEvents, { sinks: ["log", "file"] }),
      { sql: "insert into core.no_such_table values (1)" },
    ])
  );
  assertEquals(await readStates(store), []);
  await tell(store, "log", "file", "log");
  assertEquals((await readStates(store)).map(({ sink }) => sink), ["file", "log"]);
  const [{ events }] = await store.query<{ events: string }>("select events from sink_deliveries");
  assertEquals(JSON.parse(events), [...sampleEvents]);
});

Deno.test("SinkDispatcher gives a sink the events, the delivery's id and its parsed parameters", async () => {
  await using store = await openStore(":memory:");
  const seen: unknown[] = [];
  const sink = makeSink("mine", (events, _signal, delivery) => {
    seen.push({ events, ...delivery });
    return Promise.resolve();
  }, { params: z.strictObject({ room: z.string().default("a"), size: z.int().default(1) }) });
  await tell(store, "mine");
  const params = NotificationParams.parse({ mine: { room: "ops" } });
  const { delivered } = await drain(store, { sinks: [sink], params });
  const [{ id }] = await store.query<{ id: string }>(
    "select delivery_id as id from sink_deliveries",
  );
  assertEquals(delivered, 1);
  assertEquals(seen, [{ events: [...sampleEvents], id, params: { room: "ops", size: 1 } }]);
});

Deno.test("a sink that hangs, one that throws and one that is slow to say why hold up no other", async () => {
  await using store = await openStore(":memory:");
  await tell(store, "hangs", "throws", "broken", "works");
  await tell(store, "hangs", "throws", "broken", "works");
  let delivered = 0;
  const works = Promise.withResolvers<void>();
  const never = Promise.withResolvers<void>();
  const sinks = [
    // It does not heed its signal.
    makeSink("hangs", () => never.promise),
    makeSink("throws", () => {
      throw new Error("At once");
    }),
    makeSink("broken", () => Promise.resolve(), {
      findObstacle: () => Promise.reject(new Error("Cannot look")),
    }),
    makeSink("works", () => {
      if (++delivered === 2) works.resolve();
      return Promise.resolve();
    }),
  ];
  const errors: string[] = [];
  const dispatcher = SinkDispatcher.start(store, {
    sinks,
    timeoutMs: 60_000,
    onError: (message) => errors.push(message),
  });
  await works.promise;
  await dispatcher.close();
  const states = await readStates(store);
  assertEquals(states.filter(({ sink }) => sink === "hangs").map(({ state }) => state), [
    "pending",
    "pending",
  ]);
  assertEquals(errors, ['Cannot serve sink "broken": Cannot look']);
  // What hung is given up at the end, and due at once for the next process.
  const again = await drain(store, { sinks: [makeSink("hangs")] });
  assertEquals(again.delivered, 2);
});

Deno.test("an attempt that takes too long is a failed one that says so", async () => {
  await using store = await openStore(":memory:");
  await tell(store, "hangs");
  const never = Promise.withResolvers<void>();
  const { retried } = await drain(store, {
    sinks: [makeSink("hangs", () => never.promise)],
    timeoutMs: 20,
  });
  assertEquals(retried, 1);
  const [{ error }] = await listNotifications(store);
  assertEquals(error, "Cannot deliver: the receiver did not answer within 20 ms");
});

Deno.test("a delivery that fails is tried again later and longer, then is a dead letter, and can be replayed", async () => {
  await using store = await openStore(":memory:");
  await tell(store, "down");
  const down = [makeSink("down", () => {
    throw new DeliveryError("Cannot deliver to the test", { status: 503 });
  })];
  const random = () => 0.999;
  for (let attempt = 1, offsetMs = 0; attempt <= MAX_ATTEMPTS; attempt++) {
    const result = await drain(store, { sinks: down, random, ...at(offsetMs) });
    assertEquals([result.retried, result.dead], attempt < MAX_ATTEMPTS ? [1, 0] : [0, 1]);
    assertEquals((await drain(store, { sinks: down, random, ...at(offsetMs) })).retried, 0);
    offsetMs += 5_000 * 4 ** (attempt - 1);
  }
  const [row] = await listNotifications(store, { state: "dead" });
  assertEquals([row.attempts, row.status_code, row.error], [8, 503, "Cannot deliver to the test"]);
  assertEquals(row.alerts, "first_alert, second_alert");

  await assertRejects(() => replayNotification(store, "none", ada), UsageError, "none of this id");
  await replayNotification(store, row.delivery_id, ada);
  await assertRejects(
    () => replayNotification(store, row.delivery_id, ada),
    UsageError,
    "still waits",
  );
  const ids: string[] = [];
  const up = [makeSink("down", (_events, _signal, delivery) => {
    ids.push(delivery!.id);
    return Promise.resolve();
  })];
  assertEquals((await drain(store, { sinks: up })).delivered, 1);
  assertEquals(ids, [row.delivery_id]);
  assertEquals(await readStates(store), [
    { sink: "down", state: "delivered", series: 1, attempts: 1 },
  ]);
  const [entry] = await store.query(
    "select actor, subject from audit where action = 'notification.replayed'",
  );
  assertEquals(entry, { actor: "ada", subject: row.delivery_id });
  assertEquals((await verifyAudit(store)).firstBroken, null);
});

Deno.test("Retry-After of a receiver is waited for, and the id stays the same", async () => {
  await using store = await openStore(":memory:");
  await using receiver = startReceiver((number) =>
    number === 1
      ? new Response(null, { status: 429, headers: { "retry-after": "600" } })
      : new Response()
  );
  const sinks = [
    createWebhook({ read: (name) => name.endsWith("_URL") ? receiver.url : undefined }),
  ];
  await tell(store, "webhook");
  const random = () => 0;
  assertEquals((await drain(store, { sinks, random })).retried, 1);
  assertEquals((await drain(store, { sinks, random, ...at(590_000) })).delivered, 0);
  assertEquals((await drain(store, { sinks, random, ...at(601_000) })).delivered, 1);
  const [first, second] = receiver.received;
  assertEquals(first.headers.get("webhook-id"), second.headers.get("webhook-id"));
  assertEquals(first.body.id, second.body.id);
});

Deno.test("a sink gets at most so many deliveries a minute, also from another process, and the rest later", async () => {
  await using store = await openStore(":memory:");
  for (let i = 0; i < 5; i++) await tell(store, "slow", "fast");
  const sinks = [makeSink("slow"), makeSink("fast")];
  const params = NotificationParams.parse({ slow: { perMinute: 2 } });
  assertEquals((await drain(store, { sinks, params })).delivered, 7);
  assertEquals((await drain(store, { sinks, params })).delivered, 0);
  assertEquals((await drain(store, { sinks, params, ...at(61_000) })).delivered, 2);
  assertEquals((await drain(store, { sinks, params, ...at(122_000) })).delivered, 1);
});

Deno.test("a sink that this process cannot serve waits and is named once; another process serves it", async () => {
  await using store = await openStore(":memory:");
  await tell(store, "secret", "gone");
  const errors: string[] = [];
  const secret = makeSink("secret", () => Promise.resolve(), {
    findObstacle: () => Promise.resolve("GEOPHONE_X is not set"),
  });
  await using dispatcher = new SinkDispatcher(store, {
    sinks: [secret],
    onError: (message) => errors.push(message),
  });
  await dispatcher.drain();
  await dispatcher.drain();
  assertEquals(errors.sort(), [
    'Cannot serve sink "gone": there is none of this name; there are secret',
    'Cannot serve sink "secret": GEOPHONE_X is not set',
  ]);
  assertEquals(
    (await drain(store, { sinks: [makeSink("secret"), makeSink("gone")] })).delivered,
    2,
  );
});

Deno.test("two dispatchers of a store send each delivery once", async () => {
  await using store = await openStore(":memory:");
  for (let i = 0; i < 10; i++) await tell(store, "mine");
  let count = 0;
  const sinks = [makeSink("mine", () => {
    count++;
    return Promise.resolve();
  })];
  const counts = await Promise.all([drain(store, { sinks }), drain(store, { sinks })]);
  assertEquals(counts.reduce((sum, { delivered }) => sum + delivered, 0), 10);
  assertEquals(count, 10);
});

Deno.test("deliveries are there after the process that put them in has ended", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const path = `${dir}/store.duckdb`;
    {
      await using store = await openStore(path, { publish: false });
      await tell(store, "mine");
    }
    await using store = await openStore(path, { publish: false });
    assertEquals((await drain(store, { sinks: [makeSink("mine")] })).delivered, 1);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("configureSinks() takes the parameters of every built-in sink and names what is wrong", async () => {
  const sinks = (await loadPlugins()).filter((plugin) => plugin.kind === "sink");
  const given = NotificationParams.parse({
    slack: { template: "{{alert}}", perMinute: 5 },
    email: { to: ["ada@example.com"] },
  });
  const configured = configureSinks(sinks, given);
  assertEquals(configured.map(({ sink }) => sink.name), sinks.map(({ name }) => name));
  const slack = configured.find(({ sink }) => sink.name === "slack")!;
  assertEquals([slack.perMinute, slack.params], [5, { template: "{{alert}}" }]);
  const wrong: readonly [given: unknown, part: string][] = [
    [{ slak: {} }, 'did you mean "slack"?'],
    [{ slack: { templat: "x" } }, "notifications.slack"],
    [{ slack: { template: "{{massage}}" } }, "{{massage}}"],
    [{ email: { to: "ada@example.com" } }, "notifications.email"],
    [{ webhook: { url: "https://example.com" } }, "notifications.webhook"],
  ];
  for (const [values, part] of wrong) {
    const error = assertThrows(
      () => configureSinks(sinks, NotificationParams.parse(values)),
      UsageError,
    );
    assertStringIncludes(error.message, part);
  }
  assertThrows(
    () => configureSinks([makeSink("mine")], NotificationParams.parse({ mine: { url: "x" } })),
    UsageError,
    "notifications.mine",
  );
  assert(!NotificationParams.safeParse({ log: { perMinute: 0 } }).success);
});
