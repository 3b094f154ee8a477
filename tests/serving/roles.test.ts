import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import {
  createApiKey,
  type NewApiKey,
  revokeApiKey,
  type Role,
  roles,
  rotateApiKey,
} from "../../runtime/api_keys.ts";
import { UsageError } from "../../runtime/errors.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { type AppDeps, createApp, type GeophoneApp, serve } from "../../server.ts";
import { mlflowRoutes } from "../../serving/mlflow/mod.ts";
import { registerTestModel, testRecord } from "../model_fixture.ts";

interface Keyed {
  readonly app: GeophoneApp;
  readonly store: Store;
  /** Makes a key, lets the server see it and gives its secret. */
  add(key: NewApiKey): Promise<string>;
  call(path: string, secret?: string, init?: RequestInit): Promise<Response>;
}

async function withKeys(
  action: (keyed: Keyed) => Promise<void>,
  deps: Partial<AppDeps> = {},
): Promise<void> {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  await using app = await createApp({ store, model: "rocks", quiet: true, ...deps });
  await action({
    app,
    store,
    async add(key) {
      const { secret } = await createApiKey(store, key);
      await app.refresh();
      return secret;
    },
    call: (path, secret, init = {}) =>
      app.request(path, {
        ...init,
        headers: { ...init.headers, ...(secret === undefined ? {} : { "x-api-key": secret }) },
      }),
  });
}

function post(body: unknown): RequestInit {
  return { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) };
}

function records(count: number): RequestInit {
  return post({ records: Array.from({ length: count }, (_, i) => testRecord(i)) });
}

/** Every route but those of MLflow, and the least role it takes; `null` needs no key. */
const routes: readonly [method: string, path: string, least: Role | null][] = [
  ["GET", "/health", null],
  ["GET", "/ready", null],
  ["GET", "/ping", null],
  ["GET", "/v2/health/live", null],
  ["GET", "/v2/health/ready", null],
  ["GET", "/", "viewer"],
  ["GET", "/model_info", "viewer"],
  ["GET", "/models", "viewer"],
  ["GET", "/models/compare", "viewer"],
  ["GET", "/models/rocks/versions/1", "viewer"],
  ["GET", "/models/rocks/versions/1/card", "viewer"],
  ["GET", "/traces", "viewer"],
  ["GET", "/traces/none", "viewer"],
  ["GET", "/traffic", "viewer"],
  ["GET", "/alerts", "viewer"],
  ["GET", "/api/v1/alerts", "viewer"],
  ["GET", "/api/v1/rules", "viewer"],
  ["GET", "/monitors", "viewer"],
  ["GET", "/metrics", "viewer"],
  ["GET", "/openapi.json", "viewer"],
  ["GET", "/docs", "viewer"],
  ["GET", "/version", "viewer"],
  ["GET", "/v2", "viewer"],
  ["GET", "/v2/", "viewer"],
  ["GET", "/v2/models/stats", "viewer"],
  ["GET", "/v2/models/rocks", "viewer"],
  ["GET", "/v2/models/rocks/ready", "viewer"],
  ["GET", "/v2/models/rocks/config", "viewer"],
  ["GET", "/v2/models/rocks/stats", "viewer"],
  ["GET", "/v2/models/rocks/versions/1", "viewer"],
  ["GET", "/v2/models/rocks/versions/1/ready", "viewer"],
  ["GET", "/v2/models/rocks/versions/1/config", "viewer"],
  ["GET", "/v2/models/rocks/versions/1/stats", "viewer"],
  ["GET", "/v2/nowhere", "viewer"],
  ["GET", "/nowhere", "viewer"],
  ["POST", "/models", "viewer"],
  ["POST", "/v2/repository/index", "viewer"],
  ["POST", "/predict", "predictor"],
  ["POST", "/batch_predict", "predictor"],
  ["POST", "/predict/stream", "predictor"],
  ["POST", "/invocations", "predictor"],
  ["POST", "/v2/models/rocks/infer", "predictor"],
  ["POST", "/v2/models/rocks/versions/1/infer", "predictor"],
  ["POST", "/labels", "predictor"],
  ["POST", "/v1/traces", "predictor"],
  ["GET", "/batch_predict/jobs", "predictor"],
  ["GET", "/batch_predict/jobs/none", "predictor"],
  ["POST", "/sql", "operator"],
  ["GET", "/label", "operator"],
  ["POST", "/judge-labels", "operator"],
  ["POST", "/traffic/rollback", "operator"],
  ["POST", "/alerts/silences", "operator"],
  ["DELETE", "/alerts/silences/none", "operator"],
  ["POST", "/alerts/none/acknowledge", "operator"],
  ["POST", "/models/rocks/versions/1/approve", "operator"],
  ["POST", "/models/rocks/versions/1/reject", "operator"],
  ["POST", "/models/rocks/versions/1/promote", "admin"],
  ["POST", "/v2/repository/models/rocks/load", "operator"],
  ["POST", "/v2/repository/models/rocks/unload", "operator"],
];

Deno.test("every route takes its least role and those above, and names it to those below", () =>
  withKeys(async ({ add, call, store }) => {
    const secrets = new Map<Role, string>();
    for (const role of roles) secrets.set(role, await add({ name: `a-${role}`, role }));
    const isRefused = async (response: Response) => {
      const text = await response.text();
      return response.status === 403 ? text : null;
    };
    const protocol = mlflowRoutes.flatMap(({ method, path, role }) =>
      ["/api", "/ajax-api"].map((prefix) =>
        [method, `${prefix}${path.replace(/[:*]\w+/g, "x")}`, role] as const
      )
    );
    for (const [method, path, least] of [...routes, ...protocol]) {
      const init = { method };
      const anyone = await call(path, undefined, init);
      await anyone.body?.cancel();
      assertEquals(anyone.status === 401, least !== null, `${method} ${path}`);
      for (const [role, secret] of secrets) {
        const refusal = await isRefused(await call(path, secret, init));
        const isEnough = least === null || roles.indexOf(role) >= roles.indexOf(least);
        assertEquals(refusal === null, isEnough, `${role} ${method} ${path}: ${refusal}`);
        if (refusal) {
          assertStringIncludes(refusal, `its role is ${role}, and ${least} is needed`);
        }
      }
    }
    const [{ n }] = await store.query(
      "select count(*) as n from requests where status_code = 403 and requester is null",
    );
    assertEquals(n, 0);
  }));

Deno.test("a route of MLflow that searches or gets is for viewers, one that writes for operators, and those of webhooks for admins", () => {
  for (const { method, path, role } of mlflowRoutes) {
    const isReading = method === "GET" || /\/(search|get-latest-versions)$/.test(path);
    const least = path.startsWith("/2.0/mlflow/webhooks")
      ? "admin"
      : isReading
      ? "viewer"
      : "operator";
    assertEquals(role, least, `${method} ${path}`);
  }
});

Deno.test("the first key of the store closes a server that runs, and its end does not open it", () =>
  withKeys(async ({ app, store, add, call }) => {
    assertEquals((await call("/")).status, 200);
    const secret = await add({ name: "ci", role: "viewer" });
    assertEquals((await call("/")).status, 401);
    assertEquals((await call("/", secret)).status, 200);
    const { security } = await (await call("/openapi.json", secret)).json();
    assertEquals(security, [{ apiKey: [] }, { bearer: [] }]);
    await revokeApiKey(store, "ci");
    await app.refresh();
    assertEquals((await call("/")).status, 401);
    const revoked = await call("/", secret);
    assertEquals([revoked.status, (await revoked.json()).error.code], [403, "revoked_key"]);
  }));

Deno.test("a rotated key answers with both secrets, and each request has the key's name on record", () =>
  withKeys(async ({ app, store, add, call }) => {
    const old = await add({ name: "ci", role: "predictor" });
    const { secret } = await rotateApiKey(store, "ci");
    await app.refresh();
    for (const each of [old, secret]) {
      assertEquals((await call("/predict", each, records(1))).status, 200);
    }
    const bearer = { authorization: `Bearer ${secret}` };
    assertEquals((await app.request("/", { headers: bearer })).status, 200);
    await rotateApiKey(store, "ci", { graceMs: 0 });
    await app.refresh();
    const replaced = await call("/", secret);
    assertEquals([replaced.status, (await replaced.json()).error.code], [403, "expired_key"]);
    assertEquals(
      await store.query(
        "select status_code, requester, count(*) as n from requests group by all order by 1",
      ),
      [
        { status_code: 200, requester: "ci", n: 3 },
        { status_code: 403, requester: "ci", n: 1 },
      ],
    );
  }));

Deno.test("the key of the environment has every right beside those of the store", () =>
  withKeys(async ({ add, call }) => {
    const viewer = await add({ name: "eye", role: "viewer" });
    const query = post({ sql: "select requester from requests where requester is not null" });
    assertEquals((await call("/sql", "boot", query)).status, 200);
    assertEquals((await call("/sql", viewer, query)).status, 403);
    const { rows } = await (await call("/sql", "boot", query)).json();
    assertEquals(rows.length, 2);
    assertMatch(rows[0][0], /^key-[0-9a-f]{8}$/);
    assertEquals(rows[1], ["eye"]);
  }, { apiKey: "boot", serving: { host: "0.0.0.0" } }));

Deno.test("a key out of requests gets 429 with Retry-After, a row and a count", () =>
  withKeys(async ({ store, add, call }) => {
    const ci = await add({ name: "ci", role: "viewer", requestsPerMinute: 2 });
    const other = await add({ name: "other", role: "viewer" });
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push((await call("/", ci)).status);
    assertEquals(statuses, [200, 200, 429]);
    const limited = await call("/models", ci);
    assertMatch(limited.headers.get("retry-after")!, /^(2\d|30)$/);
    const { error } = await limited.json();
    assertEquals([limited.status, error.code], [429, "rate_limited"]);
    assertEquals((await call("/health", ci)).status, 200);
    assertEquals((await call("/", other)).status, 200);
    const mlflow = await call("/api/2.0/mlflow/experiments/search?max_results=1", ci);
    assertEquals((await mlflow.json()).error_code, "REQUEST_LIMIT_EXCEEDED");
    const [{ n }] = await store.query(
      "select count(*) as n from requests where status_code = 429 and requester = 'ci'",
    );
    assertEquals(n, 3);
    const metrics = await (await call("/metrics", other)).text();
    assertStringIncludes(metrics, 'geophone_rate_limited_total{key="ci"} 3');
  }));

Deno.test("a key out of rows gets 429 from every protocol, and 413 for more than it may ever send", () =>
  withKeys(async ({ store, add, call }) => {
    const secret = await add({ name: "ci", role: "predictor", rowsPerMinute: 10 });
    assertEquals((await call("/predict", secret, records(11))).status, 413);
    // What is refused for its form is no charge.
    assertEquals((await call("/predict", secret, post({ records: [{}] }))).status, 422);
    assertEquals((await call("/predict", secret, records(8))).status, 200);
    const limited = await call("/batch_predict", secret, records(8));
    assertEquals([limited.status, (await limited.json()).error.code], [429, "rate_limited"]);
    const seconds = Number(limited.headers.get("retry-after"));
    assert(seconds > 30 && seconds <= 36, String(seconds));
    const columns = ["GR", "RHOB", "NPHI"];
    const split = { dataframe_split: { columns, data: [[1, 2, 0.1], [1, 2, 0.1], [1, 2, 0.1]] } };
    const invocation = await call("/invocations", secret, {
      ...post(split),
      headers: { "content-type": "application/json" },
    });
    assertEquals([invocation.status, await invocation.text().then((t) => /LIMIT/.test(t))], [
      429,
      true,
    ]);
    assertEquals((await call("/predict", secret, records(2))).status, 200);
    assertEquals(
      await store.query(
        `select status_code, row_count from requests where row_count > 0 order by request_time`,
      ),
      [
        { status_code: 413, row_count: 11 },
        { status_code: 200, row_count: 8 },
        { status_code: 429, row_count: 8 },
        { status_code: 429, row_count: 3 },
        { status_code: 200, row_count: 2 },
      ],
    );
  }));

Deno.test("each line of a stream counts, and a key that is revoked meanwhile ends the answers", () =>
  withKeys(async ({ app, store, add, call }) => {
    const secret = await add({ name: "ci", role: "predictor", rowsPerMinute: 2 });
    const { readable, writable } = new TransformStream<string, string>();
    const writer = writable.getWriter();
    const line = `${JSON.stringify(testRecord(1))}\n`;
    const response = await call("/predict/stream", secret, {
      method: "POST",
      body: readable.pipeThrough(new TextEncoderStream()),
    });
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    const answers = [];
    for (let i = 0; i < 4; i++) {
      if (i === 3) {
        await revokeApiKey(store, "ci");
        await app.refresh();
      }
      writer.write(line);
      answers.push(JSON.parse((await reader.read()).value!));
    }
    await writer.close();
    assertEquals((await reader.read()).done, true);
    assertEquals(answers.map(({ error }) => error?.code), [
      undefined,
      undefined,
      "rate_limited",
      "revoked_key",
    ]);
    const rows = await store.query(
      "select status_code, requester from requests where contains(request_id, '#') order by request_id",
    );
    assertEquals(
      rows,
      [200, 200, 429, 403].map((status_code) => ({
        status_code,
        requester: "ci",
      })),
    );
  }));

Deno.test("no secret, right or wrong, is in an answer, a metric or a row of the inference table", () =>
  withKeys(async ({ store, add, call }) => {
    const secrets = [
      await add({ name: "ci", role: "viewer", requestsPerMinute: 3 }),
      "boot-secret",
      "wrong-secret",
    ];
    let seen = "";
    for (const secret of secrets) {
      for (const path of ["/", "/sql", "/nowhere", "/api/2.0/mlflow/runs/create", "/metrics"]) {
        for (const init of [{}, post("{")]) {
          const response = await call(path, secret, init);
          seen += JSON.stringify([...response.headers]) + await response.text();
        }
      }
    }
    seen += JSON.stringify(await store.query("from requests"));
    for (const secret of secrets) assertEquals(seen.includes(secret), false, secret);
  }, { apiKey: "boot-secret" }));

Deno.test("serve() refuses another address until the store has a key", async () => {
  await using store = await openStore(":memory:");
  const start = () =>
    serve({ store, model: "rocks", quiet: true, serving: { host: "0.0.0.0", port: 0 } });
  await assertRejects(start, UsageError, "deno task keys create");
  await createApiKey(store, { name: "ci", role: "viewer" });
  // The tests may listen on loopback alone: this is the system's word, no longer the server's.
  await assertRejects(start, Deno.errors.NotCapable, "0.0.0.0");
});
