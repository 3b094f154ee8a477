import { assert, assertEquals } from "@std/assert";
import { openProject } from "../../run.ts";
import { runPipeline } from "../../stages/mod.ts";

/** The whole pipeline on the real wells, with the quick overlay and a store of its own. */
Deno.test("runPipeline() takes the real wells to a released, logged and judged model, then serves all from cache", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await using project = await openProject({
      overlays: ["quick"],
      settings: [`store=${folder}/store.duckdb`],
    });
    const run = await project.openRun();
    const outcome = await runPipeline(run);
    await run.finish();
    assertEquals(run.results.map(({ status }) => status), Array(9).fill("done"));
    assertEquals([outcome.version, outcome.isPassed], [1, true]);
    const [counts] = await project.store.query(
      `select (select count(*) from inferences) as rows, (select count(*) from judgements) > 0 as judged,
        (select count(*) from gold.wells) as gold, (select count(*) from alerts) > 0 as alerts,
        (select count(*) from inferences where slice = 'F03-02') as quarantined`,
    );
    assertEquals(counts, {
      rows: 30_984,
      judged: true,
      gold: 10_859,
      alerts: true,
      quarantined: 0,
    });
    const [{ report }] = await project.store.query<{ report: string }>("select report from models");
    const { scores, baselines } = JSON.parse(report);
    const [prior, logistic] = baselines;
    assert(scores.logLoss.value < logistic.scores.logLoss.value);
    assert(logistic.scores.macroF1.value > prior.scores.macroF1.value);

    const again = await project.openRun();
    assertEquals(await runPipeline(again), outcome);
    await again.finish();
    assertEquals(again.results.map(({ status }) => status), Array(9).fill("cached"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
