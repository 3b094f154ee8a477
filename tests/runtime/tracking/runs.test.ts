import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import {
  type Batch,
  createExperiment,
  createRun,
  getExperiment,
  getExperimentByName,
  getRun,
  logBatch,
  logInputs,
  metricHistory,
  type MetricPoint,
  moveExperiment,
  moveRun,
  renameExperiment,
  updateRun,
} from "../../../runtime/tracking/runs.ts";
import {
  cleanPath,
  deleteArtifacts,
  getArtifact,
  listArtifacts,
  pathOfUri,
  putArtifact,
} from "../../../runtime/tracking/artifacts.ts";
import { TrackingError } from "../../../runtime/tracking/error.ts";
import {
  createModel,
  createVersion,
  deleteModel,
  deleteVersion,
  getModel,
  getVersion,
  moveAlias,
  moveToStage,
  tagModel,
  versionByAlias,
} from "../../../runtime/tracking/registry.ts";
import {
  experimentTarget,
  modelTarget,
  parseFilter,
  runTarget,
  search,
  type SearchTarget,
  versionTarget,
} from "../../../runtime/tracking/search.ts";
import { EvidenceError } from "../../../runtime/registry/evidence.ts";
import { buildTestModel, registerTestModel } from "../../model_fixture.ts";
import { flipArtifact } from "../../tampering.ts";

const by = { by: "ada" };

function withStore(action: (store: Store) => Promise<void>): () => Promise<void> {
  return async () => {
    await using store = await openStore(":memory:");
    await action(store);
  };
}

function point(key: string, value: number, rest: Partial<MetricPoint> = {}): MetricPoint {
  return { key, value, step: 0, time: new Date(1_000), ...rest };
}

async function refused(code: TrackingError["code"], action: () => Promise<unknown>, part = "") {
  const error = await assertRejects(action, TrackingError, part);
  assertEquals((error as TrackingError).code, code, (error as Error).message);
}

async function startRun(store: Store, batch: Batch = {}, name?: string): Promise<string> {
  const { id } = await createRun(
    store,
    { experimentId: "0", startTime: new Date(1_000), ...(name ? { name } : {}) },
    by,
  );
  await logBatch(store, id, batch, by);
  return id;
}

Deno.test(
  "createExperiment() refuses a name that is taken, also by a deleted one",
  withStore(async (store) => {
    const id = await createExperiment(store, { name: "cores" }, by);
    await moveExperiment(store, id, "deleted");
    await refused("RESOURCE_ALREADY_EXISTS", () => createExperiment(store, { name: "cores" }, by));
    await refused("INVALID_PARAMETER_VALUE", () => createExperiment(store, { name: " " }, by));
    await refused(
      "INVALID_PARAMETER_VALUE",
      () => createExperiment(store, { name: "x".repeat(501) }, by),
    );
    await refused("RESOURCE_DOES_NOT_EXIST", () => getExperimentByName(store, "none"));
    await refused("INVALID_PARAMETER_VALUE", () => moveExperiment(store, "0", "deleted"));
    assertEquals((await getExperiment(store, id)).lifecycle, "deleted");
    await refused("INVALID_PARAMETER_VALUE", () => createRun(store, { experimentId: id }, by));
  }),
);

Deno.test(
  "createExperiment() gives one name to one of many who ask at once",
  withStore(async (store) => {
    const asked = await Promise.allSettled(
      Array.from({ length: 8 }, () => createExperiment(store, { name: "same" }, by)),
    );
    assertEquals(asked.filter(({ status }) => status === "fulfilled").length, 1);
  }),
);

Deno.test(
  "logBatch() keeps a param's first value, and takes the same value again",
  withStore(async (store) => {
    const id = await startRun(store, { params: [{ key: "depth", value: "4" }] });
    await logBatch(store, id, { params: [{ key: "depth", value: "4" }] }, by);
    await refused(
      "INVALID_PARAMETER_VALUE",
      () => logBatch(store, id, { params: [{ key: "depth", value: "5" }] }, by),
      'it is "4", and a param never changes',
    );
    assertEquals((await getRun(store, id)).params, [{ key: "depth", value: "4" }]);
  }),
);

Deno.test(
  "logBatch() logs nothing when one part of it is refused",
  withStore(async (store) => {
    const id = await startRun(store, { params: [{ key: "depth", value: "4" }] });
    const parts: Batch[] = [
      { params: [{ key: "depth", value: "5" }] },
      { tags: [{ key: "../up", value: "x" }] },
      { params: [{ key: "a", value: "1" }, { key: "a", value: "2" }] },
    ];
    for (const part of parts) {
      await refused("INVALID_PARAMETER_VALUE", () =>
        logBatch(store, id, {
          metrics: [point("loss", 1)],
          params: [{ key: "fresh", value: "1" }],
          tags: [{ key: "fresh", value: "1" }],
          ...part,
        }, by));
    }
    const run = await getRun(store, id);
    assertEquals([run.metrics.length, run.params.length, run.tags.length], [0, 1, 1]);
  }),
);

const long = (length: number) => "x".repeat(length);
const overLimits: [name: string, batch: Batch][] = [
  ["a param value", { params: [{ key: "a", value: long(6_001) }] }],
  ["a tag value", { tags: [{ key: "a", value: long(8_001) }] }],
  ["a key", { metrics: [point(long(251), 1)] }],
  ["the number of params", {
    params: Array.from({ length: 101 }, (_, i) => ({ key: `p${i}`, value: "" })),
  }],
  ["the number of tags", {
    tags: Array.from({ length: 101 }, (_, i) => ({ key: `t${i}`, value: "" })),
  }],
  ["the number of metrics", { metrics: Array.from({ length: 1_001 }, () => point("m", 1)) }],
  ["the number of all", {
    metrics: Array.from({ length: 999 }, () => point("m", 1)),
    params: [{ key: "p", value: "" }],
    tags: [{ key: "t", value: "" }],
  }],
  ["letters of a key", { params: [{ key: "a;b", value: "" }] }],
  ["an empty key", { params: [{ key: "", value: "" }] }],
  ["a path that leaves", { metrics: [point("a/../b", 1)] }],
];
for (const [name, batch] of overLimits) {
  Deno.test(
    `logBatch() refuses what is over the limit: ${name}`,
    withStore(async (store) => {
      const id = await startRun(store);
      await refused("INVALID_PARAMETER_VALUE", () => logBatch(store, id, batch, by));
    }),
  );
}

Deno.test(
  "logBatch() takes as much as the limits allow",
  withStore(async (store) => {
    const id = await startRun(store, {
      metrics: Array.from({ length: 800 }, (_, step) => point("m", step, { step })),
      params: Array.from({ length: 100 }, (_, i) => ({ key: `p${i}`, value: long(6_000) })),
      tags: Array.from({ length: 100 }, (_, i) => ({ key: `t${i}`, value: long(8_000) })),
    });
    const run = await getRun(store, id);
    assertEquals([run.metrics[0].value, run.params.length, run.tags.length], [799, 100, 101]);
  }),
);

const latestCases: [name: string, points: MetricPoint[], latest: number][] = [
  ["the highest step", [point("m", 1, { step: 2 }), point("m", 9, { step: 1 })], 1],
  ["then the latest time", [
    point("m", 1, { time: new Date(5_000) }),
    point("m", 9, { time: new Date(4_000) }),
  ], 1],
  ["then the largest value", [point("m", 3), point("m", 9), point("m", 5)], 9],
  ["a number before NaN", [point("m", -3), point("m", NaN)], -3],
  ["NaN of a higher step", [point("m", -3), point("m", NaN, { step: 1 })], NaN],
  ["negative steps, too", [point("m", 7, { step: -1 }), point("m", 8, { step: -2 })], 7],
];
for (const [name, points, latest] of latestCases) {
  Deno.test(
    `the latest metric is the one of ${name}`,
    withStore(async (store) => {
      const id = await startRun(store, { metrics: points });
      assertEquals((await getRun(store, id)).metrics[0].value, latest);
      assertEquals(await store.query("select value from mlflow_latest_metrics"), [
        { value: latest },
      ]);
      const history = await metricHistory(store, { runId: id, key: "m" }, { offset: 0, limit: 9 });
      assertEquals(history.length, points.length);
    }),
  );
}

Deno.test(
  "metrics keep NaN, infinities, large steps and equal points",
  withStore(async (store) => {
    const values = [NaN, Infinity, -Infinity, 1e-300, 1];
    const id = await startRun(store, {
      metrics: [
        ...values.map((value, step) => point("m", value, { step })),
        point("m", 1, { step: 4 }),
        point("far", 1, { step: 2 ** 52 }),
      ],
    });
    const history = await metricHistory(store, { runId: id, key: "m" }, { offset: 0, limit: 99 });
    assertEquals(history.map(({ value }) => value), [...values, 1]);
    const far = await metricHistory(store, { runId: id, key: "far" }, { offset: 0, limit: 1 });
    assertEquals(far[0].step, 2 ** 52);
  }),
);

Deno.test(
  "a run that is deleted, unknown or a pipeline's is not written to",
  withStore(async (store) => {
    const id = await startRun(store);
    await moveRun(store, id, "deleted");
    const write = (run: string) => logBatch(store, run, { metrics: [point("m", 1)] }, by);
    await refused("INVALID_PARAMETER_VALUE", () => write(id), "it is deleted");
    await refused("RESOURCE_DOES_NOT_EXIST", () => write("nobody"));
    await moveRun(store, id, "active");
    await write(id);
    await store.query(
      `insert into core.runs values ('own', 'wells', 'dev', 1, 'done', '{}', 'c', null, now()::timestamp, null, null)`,
    );
    await refused("INVALID_PARAMETER_VALUE", () => write("own"), "a pipeline wrote it");
    await refused("INVALID_PARAMETER_VALUE", () => moveRun(store, "own", "deleted"));
    const { experimentId } = await getRun(store, "own");
    assertEquals((await getExperimentByName(store, "wells")).id, experimentId);
    await refused("INVALID_PARAMETER_VALUE", () => renameExperiment(store, experimentId, "x"));
    await refused("RESOURCE_ALREADY_EXISTS", () => createExperiment(store, { name: "wells" }, by));
    const { id: beside } = await createRun(store, { experimentId }, by);
    assertEquals((await getRun(store, beside)).experimentId, experimentId);
  }),
);

Deno.test(
  "updateRun() changes status, end and name, and the name's tag with it",
  withStore(async (store) => {
    const id = await startRun(store, {}, "before");
    const run = await updateRun(store, id, {
      status: "FINISHED",
      endTime: new Date(9_000),
      name: "after",
    }, by);
    assertEquals([run.status, run.endTime, run.name], ["FINISHED", new Date(9_000), "after"]);
    assertEquals(run.tags, [{ key: "mlflow.runName", value: "after" }]);
    const log = await store.query("select value, changed_by from tag_history order by change");
    assertEquals(log.map((row) => row.value), ["before", "after"]);
  }),
);

Deno.test(
  "logInputs() keeps each dataset once, with its tags",
  withStore(async (store) => {
    const id = await startRun(store);
    const input = {
      name: "wells",
      digest: "d1",
      sourceType: "local",
      source: "{}",
      schema: null,
      profile: null,
      tags: [{ key: "mlflow.data.context", value: "training" }],
    };
    await logInputs(store, id, { inputs: [input] });
    await logInputs(store, id, { inputs: [input] });
    assertEquals((await getRun(store, id)).inputs, [input]);
    await refused(
      "INVALID_PARAMETER_VALUE",
      () => logInputs(store, id, { inputs: [{ ...input, digest: long(37) }] }),
    );
  }),
);

const filters: [filter: string, names: string[]][] = [
  ["", ["a", "b", "c"]],
  ["metrics.loss < 0.5", ["a"]],
  ["metrics.loss >= 5e-1", ["b"]],
  ["metric.loss != 0.25 and params.kind = 'trees'", ["b"]],
  ["metrics.loss != 0.25", ["b", "c"]],
  ["metrics.`my loss` = -1", ["a"]],
  ['metrics."my loss" = -1', ["a"]],
  ["params.kind LIKE 'tr%'", ["a", "b"]],
  ["params.kind like 'TR%'", []],
  ["parameters.kind ILIKE 'TR%'", ["a", "b"]],
  ["tags.team != 'geo'", ["b"]],
  ["tags.team IS NULL", ["c"]],
  ["tags.team is not null AND params.kind = 'trees'", ["a", "b"]],
  ["tags.`a b`.c = 'x'", []],
  ["tags.mlflow.runName = 'a'", ["a"]],
  ["tags.quote = 'it''s'", ["b"]],
  ["attributes.run_name IN ('a', 'c')", ["a", "c"]],
  ["run_name NOT IN ('a')", ["b", "c"]],
  ["attr.status = 'RUNNING' and run_name = \"c\"", ["c"]],
  ["start_time > 0 AND start_time <= 1000", ["a", "b", "c"]],
  ["attributes.`run name` = 'b'", ["b"]],
  ["end_time > 1", []],
  ["datasets.name = 'wells' and dataset.context IN ('training')", ["a"]],
];
const badFilters = [
  "metrics.loss",
  "metrics.loss <",
  "metrics.loss < 'x'",
  "metrics.loss LIKE 1",
  "metrics.loss < 0.5 OR metrics.loss > 1",
  "metrics.loss < 0.5 and",
  "metrics.loss < 0.5 metrics.loss > 0.1",
  "params.kind > 'a'",
  "params.kind = 3",
  "params.kind = trees",
  "params.kind IN ('a')",
  "tags.x = 'open",
  "tags.x = 'a'; drop table core.runs",
  "tags.x = 'a' -- b",
  "nothing.x = 'a'",
  "run_nam = 'a'",
  "attributes.nothing = 'a'",
  "datasets.size = 'a'",
  "run_id IN ('a'",
  "run_id IN ()",
  "run_id IN (1)",
  "start_time = 'now'",
  "status < 'A'",
  "= 'a'",
  "tags. = 'a'",
  "run_id IS NULL",
  "()",
];

async function startThree(store: Store): Promise<void> {
  const a = await startRun(store, {
    metrics: [point("loss", 0.25), point("my loss", -1)],
    params: [{ key: "kind", value: "trees" }],
    tags: [{ key: "team", value: "geo" }],
  }, "a");
  await logInputs(store, a, {
    inputs: [{
      name: "wells",
      digest: "d",
      sourceType: null,
      source: null,
      schema: null,
      profile: null,
      tags: [{ key: "mlflow.data.context", value: "training" }],
    }],
  });
  await startRun(store, {
    metrics: [point("loss", 0.75)],
    params: [{ key: "kind", value: "trees" }],
    tags: [{ key: "team", value: "it" }, { key: "quote", value: "it's" }],
  }, "b");
  await startRun(store, { metrics: [point("loss", NaN)] }, "c");
}

async function names(store: Store, filter: string, orderBy: string[] = ["run_name"]) {
  const { rows } = await search(store, runTarget, { filter, orderBy, maxResults: 100 });
  return rows.map((row) => row.name);
}

Deno.test(
  "search() finds the runs that a filter names",
  withStore(async (store) => {
    await startThree(store);
    for (const [filter, expected] of filters) {
      assertEquals(await names(store, filter), expected, filter);
    }
  }),
);

for (const filter of badFilters) {
  Deno.test(`parseFilter() refuses ${filter}`, () => {
    const error = assertThrows(() => parseFilter(filter, runTarget), TrackingError) as Error;
    assert(error.message.startsWith("Cannot search by "), error.message);
  });
}

const orders: [orderBy: string[], names: string[]][] = [
  [["metrics.loss"], ["a", "b", "c"]],
  [["metrics.loss DESC"], ["b", "a", "c"]],
  [["metrics.`my loss` desc", "run_name desc"], ["a", "c", "b"]],
  [["params.kind ASC", "attributes.run_name DESC"], ["b", "a", "c"]],
  [["tags.team DESC"], ["b", "a", "c"]],
  [["start_time DESC", "run_name DESC"], ["c", "b", "a"]],
];
Deno.test(
  "search() orders with NaN after numbers and what is missing at the end",
  withStore(async (store) => {
    await startThree(store);
    for (const [orderBy, expected] of orders) {
      assertEquals(await names(store, "", orderBy), expected, orderBy.join());
    }
    for (const bad of ["", "metrics.loss down", "nothing", "run_name ASC DESC", "run_name; x"]) {
      await refused("INVALID_PARAMETER_VALUE", () => names(store, "", [bad]));
    }
  }),
);

Deno.test(
  "search() gives every row once over its pages, and refuses a foreign token",
  withStore(async (store) => {
    for (let i = 0; i < 7; i++) await startRun(store, {}, `run ${i}`);
    const found: unknown[] = [];
    let pageToken = "";
    do {
      const page = await search(store, runTarget, { maxResults: 3, pageToken });
      found.push(...page.rows.map((row) => row.name));
      pageToken = page.nextPageToken ?? "";
    } while (pageToken);
    assertEquals([found.length, new Set(found).size], [7, 7]);
    for (const token of ["x", btoa("{}"), btoa('{"offset":-1}'), btoa('{"offset":"1"}')]) {
      await refused(
        "INVALID_PARAMETER_VALUE",
        () => search(store, runTarget, { maxResults: 3, pageToken: token }),
      );
    }
  }),
);

Deno.test(
  "search() finds experiments, models and versions by their tags and attributes",
  withStore(async (store) => {
    await createExperiment(store, { name: "cores", tags: [{ key: "t", value: "1" }] }, by);
    await createModel(store, { name: "rocks", tags: [{ key: "t", value: "1" }] }, by);
    await createVersion(store, {
      name: "rocks",
      source: "s3://x",
      tags: [{ key: "t", value: "1" }],
    }, by);
    const count = async (target: SearchTarget, filter: string) =>
      (await search(store, target, { filter, maxResults: 9 })).rows.length;
    assertEquals(await count(experimentTarget, "name ILIKE 'CO%' and tags.t = '1'"), 1);
    assertEquals(await count(experimentTarget, "creation_time > 0"), 2);
    assertEquals(await count(modelTarget, "name = 'rocks' and tags.`t` = '1'"), 1);
    assertEquals(await count(modelTarget, "tags.`mlflow.prompt.is_prompt` != 'true'"), 1);
    assertEquals(await count(versionTarget, "version_number >= 1 and source_path LIKE 's3%'"), 1);
    assertEquals(await count(versionTarget, "tags.geophone.servable = 'false'"), 1);
    await refused("INVALID_PARAMETER_VALUE", () => count(modelTarget, "creation_timestamp > 1"));
    await refused("INVALID_PARAMETER_VALUE", () => count(modelTarget, "metrics.x > 1"));
  }),
);

const badPaths = [
  "",
  "/",
  "/etc/passwd",
  "a/../b",
  "..",
  "a/./b",
  "a//b",
  "a\\b",
  "C:/x",
  "a/%2e%2e/b",
  "a%2Fb",
  "a\u0000b",
  "a\nb",
  long(1_025),
];
for (const path of badPaths) {
  Deno.test(`cleanPath() refuses ${JSON.stringify(path.slice(0, 20))}`, () => {
    assertThrows(() => cleanPath(path), TrackingError, "clean relative path");
  });
}

Deno.test(
  "artifacts are listed by folder, replaced and deleted; their bytes are stored once",
  withStore(async (store) => {
    const content = new TextEncoder().encode("hello");
    const mediaType = "text/plain";
    for (const path of ["0/r/artifacts/a.txt", "0/r/artifacts/deep/b.txt", "0/r2/x"]) {
      await putArtifact(store, path, { content, mediaType });
    }
    assertEquals(await listArtifacts(store, "0/r/artifacts"), [
      { name: "a.txt", isFolder: false, size: 5 },
      { name: "deep", isFolder: true, size: null },
    ]);
    assertEquals((await listArtifacts(store, "")).map(({ name }) => name), ["0"]);
    assertEquals(await listArtifacts(store, "0/r/artifacts/a.txt"), []);
    assertEquals(await store.query("select count(*) as n from core.artifacts"), [{ n: 1 }]);
    await putArtifact(store, "0/r2/x", { content: new Uint8Array([0, 255, 10]), mediaType });
    assertEquals((await getArtifact(store, "0/r2/x")).content, new Uint8Array([0, 255, 10]));
    assertEquals(await deleteArtifacts(store, "0/r/artifacts"), 2);
    await refused("RESOURCE_DOES_NOT_EXIST", () => getArtifact(store, "0/r/artifacts/a.txt"));
    await refused(
      "INVALID_PARAMETER_VALUE",
      () => putArtifact(store, "models/rocks/1/model.onnx", { content, mediaType }),
    );
    assertEquals(pathOfUri("mlflow-artifacts:/0/r"), "0/r");
    assertEquals(pathOfUri("mlflow-artifacts://host:1/0/r"), "0/r");
    assertEquals(pathOfUri("s3://bucket/x"), null);
  }),
);

Deno.test(
  "createVersion() gives every version a number of its own, and none twice",
  withStore(async (store) => {
    await createModel(store, { name: "rocks" }, by);
    const make = () => createVersion(store, { name: "rocks", source: "s3://x" }, by);
    const made = await Promise.all(Array.from({ length: 12 }, make));
    const numbers = made.map(({ version }) => version).sort((a, b) => a - b);
    assertEquals(numbers, Array.from({ length: 12 }, (_, i) => i + 1));
    await deleteVersion(store, { name: "rocks", version: 12 }, by);
    await refused("RESOURCE_DOES_NOT_EXIST", () => getVersion(store, "rocks", 12));
    assertEquals((await make()).version, 13);
    await deleteModel(store, "rocks", by);
    await refused("RESOURCE_DOES_NOT_EXIST", () => getModel(store, "rocks"));
    await refused("RESOURCE_DOES_NOT_EXIST", make);
    assertEquals(await store.query("select * from models"), []);
    await createModel(store, { name: "rocks" }, by);
    assertEquals((await make()).version, 14);
    assertEquals((await getModel(store, "rocks")).latestVersions.map((v) => v.version), [14]);
  }),
);

Deno.test(
  "tags are of one model and of one version, and tell what a version is",
  withStore(async (store) => {
    await createModel(store, { name: "rocks", tags: [{ key: "owner", value: "ada" }] }, by);
    const tags = [{ key: "a", value: "1" }];
    await createVersion(store, { name: "rocks", source: "x", tags }, by);
    await createVersion(store, { name: "rocks", source: "x" }, by);
    const keys = async (version: number) =>
      (await getVersion(store, "rocks", version)).tags.map(({ key }) => key);
    const computed = ["geophone.artifact", "geophone.evidence_hash", "geophone.servable"];
    assertEquals(await keys(1), ["a", ...computed]);
    assertEquals(await keys(2), computed);
    for (const key of [...computed, "geophone.stage"]) {
      await refused(
        "INVALID_PARAMETER_VALUE",
        () => tagModel(store, { name: "rocks", version: 1 }, { key, value: "x" }, by),
      );
      await refused(
        "INVALID_PARAMETER_VALUE",
        () => createVersion(store, { name: "rocks", source: "x", tags: [{ key, value: "x" }] }, by),
      );
    }
    await tagModel(store, { name: "rocks", version: 1 }, { key: "a", value: null }, by);
    assertEquals(await keys(1), computed);
    await refused(
      "RESOURCE_DOES_NOT_EXIST",
      () => tagModel(store, { name: "rocks" }, { key: "nothing", value: null }, by),
    );
    await deleteModel(store, "rocks", by);
    await createModel(store, { name: "rocks" }, by);
    assertEquals((await getModel(store, "rocks")).tags, []);
  }),
);

Deno.test(
  "createVersion() of a run's ONNX file of ours can be served, of another file it is listed",
  withStore(async (store) => {
    await createModel(store, { name: "rocks" }, by);
    const id = await startRun(store, { metrics: [point("accuracy", 0.9), point("bad", NaN)] });
    const folder = `0/${id}/artifacts`;
    const put = (path: string, content: Uint8Array) =>
      putArtifact(store, `${folder}/${path}`, { content, mediaType: "x" });
    await put("ours/model.onnx", buildTestModel());
    await put("other/model.onnx", new Uint8Array([1, 2, 3]));
    const entry = { name: "rocks", runId: id };
    const ours = await createVersion(store, { ...entry, source: `runs:/${id}/ours` }, by);
    const again = await createVersion(
      store,
      { ...entry, source: `mlflow-artifacts:/${folder}/ours/model.onnx` },
      by,
    );
    const other = await createVersion(store, { ...entry, source: `runs:/${id}/other` }, by);
    assertEquals([ours, again, other].map((v) => v.isServable), [true, true, false]);
    assertEquals([ours, again, other].map((v) => v.version), [1, 2, 3]);
    assertEquals(ours.storage, `mlflow-artifacts:/${folder}/ours`);
    const rows = await store.query(
      "select input_names, report from core.model_versions order by version",
    );
    assertEquals(rows[0].input_names, ["GR", "RHOB", "NPHI"]);
    assertEquals(JSON.parse(rows[0].report as string).scores, { accuracy: 0.9, bad: null });
    await refused(
      "RESOURCE_DOES_NOT_EXIST",
      () => createVersion(store, { name: "rocks", source: "x", runId: "nobody" }, by),
    );
  }),
);

Deno.test(
  "moveAlias() writes the alias log, and refuses reserved names and missing versions",
  withStore(async (store) => {
    await registerTestModel(store, { alias: null });
    const move = (alias: string, version: number | null) =>
      moveAlias(store, { name: "rocks", alias, version }, { by: "ada", reason: "test" });
    await move("Champion", 1);
    await move("Champion", 1);
    await move("Champion", null);
    for (const alias of ["latest", "LATEST", "v1", "V2", "3", "", "a b", "a/b", long(256)]) {
      await refused("INVALID_PARAMETER_VALUE", () => move(alias, 1));
    }
    await refused("RESOURCE_DOES_NOT_EXIST", () => move("champion", 7));
    await refused("INVALID_PARAMETER_VALUE", () => versionByAlias(store, "rocks", "Champion"));
    assertEquals((await versionByAlias(store, "rocks", "latest")).version, 1);
    assertEquals(
      await store.query("select from_version, to_version, changed_by from alias_history"),
      [
        { from_version: null, to_version: 1, changed_by: "ada" },
        { from_version: 1, to_version: null, changed_by: "ada" },
      ],
    );
  }),
);

Deno.test(
  "moveToStage() moves the aliases production and staging",
  withStore(async (store) => {
    await registerTestModel(store, { alias: null });
    await registerTestModel(store, { alias: null, seed: 2 });
    const move = (
      version: number,
      stage: "None" | "Staging" | "Production" | "Archived",
      isArchiving = false,
    ) => moveToStage(store, { name: "rocks", version, stage }, { by: "ada", isArchiving });
    const stages = async () =>
      (await store.query("select stage from mlflow_model_versions order by version"))
        .map((row) => row.stage);
    await move(1, "Staging");
    assertEquals(await stages(), ["Staging", "None"]);
    await move(1, "Production");
    assertEquals(await stages(), ["Production", "None"]);
    await move(2, "Production", true);
    assertEquals(await stages(), ["Archived", "Production"]);
    assertEquals((await versionByAlias(store, "rocks", "production")).version, 2);
    await move(2, "Archived");
    assertEquals(await stages(), ["Archived", "Archived"]);
    await refused("INVALID_PARAMETER_VALUE", () => versionByAlias(store, "rocks", "production"));
    await move(1, "None");
    assertEquals(await stages(), ["None", "Archived"]);
    // Any number of versions may be archived, but an alias has one: that stage is a tag, with history.
    assertEquals(
      await store.query(
        `select subject, value from tag_history where key = 'geophone.stage' and value = 'Archived'
         order by change`,
      ),
      [{ subject: "rocks/1", value: "Archived" }, { subject: "rocks/2", value: "Archived" }],
    );
    assertEquals(
      await store.query(
        "select alias, from_version, to_version from alias_history order by change",
      ),
      [
        { alias: "staging", from_version: null, to_version: 1 },
        { alias: "staging", from_version: 1, to_version: null },
        { alias: "production", from_version: null, to_version: 1 },
        { alias: "production", from_version: 1, to_version: 2 },
        { alias: "production", from_version: 2, to_version: null },
      ],
    );
  }),
);

Deno.test(
  "moveToStage() and moveAlias() refuse a version of which a byte has changed",
  withStore(async (store) => {
    const { artifact } = await registerTestModel(store, { alias: null });
    await flipArtifact(store, artifact);
    const version = { name: "rocks", version: 1 };
    const move = () =>
      moveToStage(store, { ...version, stage: "Production" }, { by: "ada", isArchiving: false });
    await assertRejects(move, EvidenceError, "its model bytes changed");
    const point = () =>
      moveAlias(store, { ...version, alias: "production" }, { by: "ada", reason: "test" });
    await assertRejects(point, EvidenceError, "its model bytes changed");
    assertEquals(await store.query("from alias_history"), []);
  }),
);

Deno.test(
  "logBatch() lets one of many different values of a param win, and logs nothing of the others",
  withStore(async (store) => {
    const id = await startRun(store);
    const asked = await Promise.allSettled(
      Array.from({ length: 16 }, (_, i) =>
        logBatch(store, id, {
          params: [{ key: "depth", value: String(i) }],
          metrics: [point("depth", i)],
        }, by)),
    );
    const winners = asked.flatMap(({ status }, i) => status === "fulfilled" ? [i] : []);
    const run = await getRun(store, id);
    assertEquals(run.params, [{ key: "depth", value: String(winners[0]) }]);
    assertEquals(run.metrics.map(({ value }) => value), winners);
    assertEquals(winners.length, 1);
  }),
);

Deno.test("tracking works over a store that another process holds", async () => {
  const dir = await Deno.makeTempDir();
  const path = `${dir}/store.duckdb`;
  const owner = new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      `const { openStore } = await import(${
        JSON.stringify(new URL("../../../runtime/store/store.ts", import.meta.url).href)
      });
       const store = await openStore(${JSON.stringify(path)});
       console.log("ready");
       for await (const _ of Deno.stdin.readable) break;
       await store.close();`,
    ],
    cwd: new URL("../../..", import.meta.url),
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = owner.stdout.getReader();
  try {
    await reader.read();
    await using store = await openStore(path);
    assertEquals(store.isOwner, false);
    const id = await startRun(store, {
      params: [{ key: "a", value: "1" }],
      metrics: [point("m", NaN), point("m", Infinity, { step: 1 })],
    });
    await refused(
      "INVALID_PARAMETER_VALUE",
      () => logBatch(store, id, { params: [{ key: "a", value: "2" }] }, by),
      "never changes",
    );
    const history = await metricHistory(store, { runId: id, key: "m" }, { offset: 0, limit: 9 });
    assertEquals(history.map(({ value }) => value), [NaN, Infinity]);
    const content = new Uint8Array([0, 255, 7]);
    await putArtifact(store, `0/${id}/artifacts/x`, { content, mediaType: "x" });
    assertEquals((await getArtifact(store, `0/${id}/artifacts/x`)).content, content);
  } finally {
    await owner.stdin.close().catch(() => {});
    await owner.status;
    await reader.cancel();
    await Deno.remove(dir, { recursive: true });
  }
});
