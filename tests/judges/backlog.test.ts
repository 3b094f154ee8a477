import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "node:path";
import { judgeSample, JudgingParams } from "../../judges/judging.ts";
import { readCursor } from "../../judges/sampling/cursor.ts";
import { drawRow } from "../../runtime/draw.ts";
import { SamplingParams } from "../../judges/sampling/plan.ts";
import { JudgeSchedule } from "../../judges/schedule.ts";
import { samplePredictions } from "../../judges/subjects/predictions.ts";
import { Random } from "../../numeric/random.ts";
import { withLease } from "../../runtime/alerts/lease.ts";
import { UsageError } from "../../runtime/errors.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { ROOT } from "../cli_runner.ts";
import { addInferences, addModel, DAY } from "../plugins/alerts/rows.ts";
import { about, makeJudge, signal } from "./held_out.ts";

/** Rounds of killing; set GEOPHONE_CRASH_ROUNDS for more. */
const ROUNDS = Math.max(10, Number(Deno.env.get("GEOPHONE_CRASH_ROUNDS") ?? 0));

/** Starts the process, kills it `afterMs` after it began to judge, and gives whether that was in time. */
async function judgeAndKill(path: string, afterMs: number | null): Promise<boolean> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-q",
      "--no-check",
      "-P=test",
      join(ROOT, "tests/judges/judging_process.ts"),
      path,
    ],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let said = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    const isBeginning = said === "";
    said += text;
    if (!isBeginning || afterMs === null) continue;
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    // It may have ended in this very moment.
    await Promise.try(() => child.kill("SIGKILL")).catch(() => {});
  }
  const { signal: end, code } = await child.status;
  assert(end === "SIGKILL" || code === 0, `it ended by ${end ?? code} after "${said}"`);
  return end === "SIGKILL";
}

Deno.test("judging killed with -9 loses nothing and judges nothing twice, rows that arrive late included", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "s.duckdb");
    const random = new Random(15);
    let inTime = 0;
    for (let round = 0; round < ROUNDS; round++) {
      {
        await using store = await openStore(path, { publish: false });
        if (round === 0) await addModel(store);
        await addInferences(store, { count: 1500, requestId: `now-${round}` });
        await addInferences(store, {
          count: 100,
          requestId: `late-${round}`,
          minutesAgo: (1 + random.below(9)) * DAY,
        });
        // Whoever was killed holds the lease for five seconds more; all but one round let them pass at once.
        if (round !== 1) await store.query("delete from core.leases");
      }
      if (await judgeAndKill(path, random.below(700))) inTime++;
      await checkOnce(path);
    }
    assert(inTime >= ROUNDS / 2, `${inTime} of ${ROUNDS} were killed in time`);
    await judgeAndKill(path, null);
    await checkOnce(path);
    await using store = await openStore(path, { publish: false });
    const judged = await store.query<{ requestId: string; row: number }>(
      `select request_id as "requestId", row from judgements`,
    );
    const all = await store.query<{ requestId: string; row: number }>(
      `select request_id as "requestId", row from core.inferences`,
    );
    const key = (row: { requestId: string; row: number }) => `${row.requestId}/${row.row}`;
    const drawn = all.filter((row) => drawRow(row, 42) < 0.8);
    assertEquals(new Set(judged.map(key)), new Set(drawn.map(key)));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

async function checkOnce(path: string): Promise<void> {
  await using store = await openStore(path, { publish: false });
  const twice = await store.query(
    "select request_id, row, count(*) as n from core.judgements group by all having n > 1",
  );
  assertEquals(twice, []);
}

const plan = {
  ...SamplingParams.parse({}),
  ...about,
  rate: 1,
  seed: 42,
};

async function openDays(): Promise<Store> {
  const store = await openStore(":memory:");
  await addModel(store);
  for (const minutesAgo of [3 * DAY, 2 * DAY, 5]) {
    await addInferences(store, { count: 10, minutesAgo });
  }
  return store;
}

function makeOptions(asked: string[], more: Partial<Parameters<typeof judgeSample>[1]> = {}) {
  const judge = makeJudge(({ requestId, row }) => {
    asked.push(`${requestId}/${row}`);
    return { status: "scored", score: 1 };
  });
  const params = JudgingParams.parse({ samplingRate: 1, canaries: 0 });
  return { ...about, judges: [judge], params, seed: 42, signal, ...more };
}

Deno.test("the cursor stands at the current day when all is judged, and is not believed after rows come late or go", async () => {
  await using store = await openDays();
  const asked: string[] = [];
  const options = makeOptions(asked);
  await judgeSample(store, options);
  const owner = { judge: "fake", judgeVersion: "fake-1", sample: samplePredictions(plan) };
  const today = new Date(`${new Date().toISOString().slice(0, 10)}T00:00:00Z`);
  assertEquals(await readCursor(store, owner), today);
  await judgeSample(store, options);
  assertEquals(asked.splice(0).length, 30);

  await addInferences(store, { count: 4, minutesAgo: 2 * DAY, requestId: "late" });
  assertEquals(await readCursor(store, owner), null);
  await judgeSample(store, options);
  assertEquals(asked.splice(0), ["late/0", "late/1", "late/2", "late/3"]);
  assertEquals(await readCursor(store, owner), today);

  // As many go as come: the number of rows alone would not tell.
  await store.query("delete from core.inferences where request_id = 'late' and row < 2");
  await addInferences(store, { count: 2, minutesAgo: 2 * DAY, requestId: "later" });
  assertEquals(await readCursor(store, owner), null);
  await judgeSample(store, options);
  assertEquals(asked.splice(0), ["later/0", "later/1"]);
  const other = { ...owner, sample: samplePredictions({ ...plan, seed: 7 }) };
  assertEquals(await readCursor(store, other), null);
});

Deno.test("the cursor stays at the day of what is left, errors among it", async () => {
  await using store = await openDays();
  const judge = makeJudge(({ row }) =>
    row === 3
      ? { status: "error", kind: "timeout", message: "too late" }
      : { status: "scored", score: 1 }
  );
  await judgeSample(store, makeOptions([], { judges: [judge] }));
  const owner = { judge: "fake", judgeVersion: "fake-1", sample: samplePredictions(plan) };
  const found = await readCursor(store, owner);
  const expected = new Date(Date.now() - 3 * DAY * 60_000).toISOString().slice(0, 10);
  assertEquals(found?.toISOString().slice(0, 10), expected);
});

Deno.test("judgeSample() gives each judge its rate, within that of another, and keeps probability and stratum", async () => {
  await using store = await openDays();
  await addInferences(store, { count: 300, confidence: 0.4 });
  const { judges: [judge], ...options } = makeOptions([]);
  const params = JudgingParams.parse({
    samplingRate: 0.6,
    canaries: 0,
    sampling: { rates: { dear: 0.1 }, where: "confidence < 0.5" },
  });
  const judges = [judge, { ...judge, name: "dear" }];
  const [cheap, dear] = await judgeSample(store, { ...options, judges, params });
  assert(cheap.scored > 140 && cheap.scored < 220 && dear.scored > 10 && dear.scored < 60);
  const [row] = await store.query(
    `select count(*) as n, count(*) filter (c.row is null) as outside,
       min(d.inclusion_probability) as p, min(d.sampling_rate) as rate, min(d.stratum) as stratum
     from (from judgements where judge = 'dear') d
     left join (from judgements where judge = 'fake') c using (request_id, row)`,
  );
  assertEquals(row, {
    n: dear.scored,
    outside: 0,
    p: 0.1,
    rate: 0.1,
    stratum: "sandstone / confidence 1",
  });
  const wrong = JudgingParams.parse({ sampling: { where: "no_such_column > 1" } });
  await assertRejects(
    () => judgeSample(store, { ...options, judges, params: wrong }),
    UsageError,
    "no_such_column",
  );
});

Deno.test("view judge_means weighs scores by their probabilities, with coverage beside the mean", async () => {
  await using store = await openStore(":memory:");
  await addModel(store);
  await addInferences(store, { count: 2000, requestId: "sure", confidence: 0.9 });
  await addInferences(store, { count: 500, requestId: "unsure", confidence: 0.4 });
  const judge = makeJudge(({ requestId, row }) =>
    row % 10 === 0
      ? { status: "abstained", kind: "no_text" }
      : { status: "scored", score: requestId === "sure" ? 0.9 + row % 2 / 10 : 0.1 + row % 2 / 10 }
  );
  const params = JudgingParams.parse({
    samplingRate: 0.2,
    canaries: 0,
    sampling: { mode: "uncertainty" },
  });
  const [summary] = await judgeSample(store, makeOptions([], { judges: [judge], params }));
  const [row] = await store.query<Record<string, number>>("from judge_means");
  // 2,000 of 0.956 and 500 of 0.156 in the mean; unsure ones were drawn six times as often.
  assert(row.low < 0.7956 && row.high > 0.7956 && row.high - row.low < 0.1, JSON.stringify(row));
  assert(Math.abs(row.coverage - 0.9) < 0.06);
  assertEquals([row.judged, row.scored], [summary.scored + summary.abstained, summary.scored]);
  assert(Math.abs(row.mean - summary.meanScore!) < 1e-9);
});

Deno.test("judgeSample() of two at once judges nothing twice; one that must not wait says who is there", async () => {
  await using store = await openDays();
  const asked: string[] = [];
  const both = await Promise.all([1, 2].map(() => judgeSample(store, makeOptions(asked))));
  assertEquals(asked.length, 30);
  assertEquals(both.map(([{ scored }]) => scored).sort(), [0, 30]);
  await withLease(store, { name: "judging:rocks:1", ttlMs: 5_000 }, async () => {
    const [summary] = await judgeSample(store, makeOptions(asked, { waitMs: 0 }));
    assertEquals([summary.status, summary.detail], [
      "skipped",
      "another process judges this version now",
    ]);
  });
});

Deno.test("JudgeSchedule judges what is new at each tick, does nothing without a version, and ends", async () => {
  await using store = await openDays();
  const { judges, params, seed } = makeOptions([]);
  const lines: string[] = [];
  let version: typeof about | null = null;
  const deps = {
    judges,
    params: { ...params, everySeconds: 3600 },
    seed,
    target: () => Promise.resolve(version),
  };
  const onEvent = (line: string) => lines.push(line);
  const schedule = new JudgeSchedule(store, deps, { onEvent });
  assertEquals(await schedule.tick(), []);
  version = about;
  assertEquals((await schedule.tick()).map(({ scored }) => scored), [30]);
  await addInferences(store, { count: 2 });
  assertEquals((await schedule.tick()).map(({ scored }) => scored), [2]);
  assertEquals((await schedule.tick()).map(({ scored }) => scored), [0]);
  assertEquals(lines, [
    "Judge fake scored 30 of 30 predictions, 0 are left",
    "Judge fake scored 2 of 2 predictions, 0 are left",
  ]);
  await schedule.close();
  assertEquals(JudgeSchedule.start(store, { ...deps, params }), null);
  const failing = { ...deps, target: () => Promise.reject(new Error("No such store")) };
  const { promise, resolve } = Promise.withResolvers<string>();
  const running = JudgeSchedule.start(store, failing, { onEvent: resolve })!;
  assertEquals(await promise, "Cannot judge: No such store");
  await running.close();
});
