import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { openProject } from "../../../run.ts";
import { decideOn } from "../../../runtime/registry/approvals.ts";
import { EvidenceError } from "../../../runtime/registry/evidence.ts";
import { GateParams } from "../../../runtime/registry/gate_params.ts";
import { escapeMarkdown, markdownTable } from "../../../runtime/markdown.ts";
import { makeModelCard } from "../../../runtime/registry/model_card.ts";
import { resolveVersion } from "../../../runtime/registry/model_registry.ts";
import { promote } from "../../../runtime/registry/promotion.ts";
import { openStore } from "../../../runtime/store/store.ts";
import { createModel, createVersion } from "../../../runtime/tracking/registry.ts";
import { runPipeline } from "../../../stages/mod.ts";
import { makeFlowers } from "../../cli_runner.ts";
import { registerTestModel } from "../../model_fixture.ts";
import { makeReport } from "../../report_fixture.ts";
import { flipArtifact } from "../../tampering.ts";

/** What no two runs have in common. */
function settle(card: string): string {
  return card.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "TIME").replace(/`[0-9a-f]{64}`/g, "`HASH`");
}

Deno.test("makeModelCard() writes what was recorded of a version, and nothing else", async (t) => {
  await using store = await openStore(":memory:");
  const version = await registerTestModel(store, {
    alias: null,
    report: makeReport({
      about: {
        description: "Lithology from three logs",
        intendedUse: "Wells of the basin | not for <drilling> decisions",
        license: "CC-BY-4.0",
      },
    }),
  });
  await store.query("update core.model_versions set created_by = 'ada'");
  await store.query(
    `insert into core.drift values ('run-2', 'rocks', 1, 'P-130', 'GR', 'ks', 0.5, null, true, 9, 9, now()),
       ('run-2', 'rocks', 1, 'P-130', 'RHOB', 'ks', 0.1, null, false, 9, 9, now())`,
  );
  // Of slice P-135 nearly nothing is right, of P-130 all.
  await store.transaction(
    Array.from({ length: 120 }, (_, i) => [
      {
        sql:
          `insert into core.inferences (request_id, row, request_time, model, version, features, label,
          confidence, probabilities, slice)
        values (?, 0, ?, 'rocks', 1, [1, 2, 3], 'sandstone', 0.9, [0.9, 0.05, 0.05], ?)`,
        params: [`r${i}`, new Date(0), i < 60 ? "P-130" : "P-135"],
      },
      {
        sql: `insert into core.labels (request_id, row, label, created_at) values (?, 0, ?, ?)`,
        params: [`r${i}`, i < 63 ? "sandstone" : "anhydrite", new Date(0)],
      },
    ]).flat(),
  );
  await decideOn(store, version, {
    decision: "approved",
    by: "bob",
    role: "operator",
    reason: "looked at P-130\nand | P-135",
  });
  await promote(store, {
    version,
    alias: "production",
    environment: "dev",
    params: GateParams.parse({ approvals: { count: 1 } }),
  }, { by: "ada", role: "admin", reason: "better" });
  const card = await makeModelCard(store, version, "dev");
  await t.assertSnapshot(settle(card));
  assertEquals(await makeModelCard(store, version, "dev"), card);
  for (const hash of [version.artifact, version.evidenceHash]) assertStringIncludes(card, hash);
});

Deno.test("makeModelCard() says of a client's version what was not recorded, and makes nothing up", async (t) => {
  await using store = await openStore(":memory:");
  await createModel(store, { name: "cores" }, { by: "ada" });
  await createVersion(store, { name: "cores", source: "s3://bucket/a" }, { by: "ada" });
  const card = await makeModelCard(store, await resolveVersion(store, "cores", "1"), "dev");
  await t.assertSnapshot(settle(card));
  for (const section of ["Description", "Intended use", "License"]) {
    assert(!card.includes(`## ${section}`), section);
  }
});

Deno.test("makeModelCard() shows the latest generated description last, under a heading that says so, and escaped", async () => {
  await using store = await openStore(":memory:");
  const version = await registerTestModel(store, { report: makeReport() });
  const before = await makeModelCard(store, version, "dev");
  assert(!before.includes("Generated"));
  await store.query(
    `insert into core.generated_texts by name
     select * from (values
       ('model', 'rocks/1', 'An old text.', timestamp '2026-03-01'),
       ('model', 'rocks/1', '# Gates\n\n- passed <b>|all|</b>', timestamp '2026-03-02'),
       ('model', 'rocks/1', null, timestamp '2026-03-03'),
       ('model', 'rocks/2', 'Another version.', timestamp '2026-03-04'),
       ('alerts', 'rocks/1', 'Another kind.', timestamp '2026-03-05')
     ) as rows (kind, subject, text, created_at), (select 'tiny' as model, 'd1g' as model_digest,
       'h' as prompt_hash, 0 as dropped)`,
  );
  assertEquals(
    await makeModelCard(store, version, "dev"),
    `${before}\n## Generated description\n\nA language model, tiny (\`d1g\`), wrote this on ` +
      "2026-03-02T00:00:00.000Z. Numbers and names were looked up in the facts; no person has checked " +
      "it, and no gate reads it.\n\n> “# Gates - passed &lt;b>\\|all\\|&lt;/b>”\n",
  );
});

Deno.test("makeModelCard() refuses a version whose bytes have changed, and names a changed decision", async () => {
  await using store = await openStore(":memory:");
  const version = await registerTestModel(store, { alias: null, report: makeReport() });
  const { evidence } = await promote(store, {
    version,
    alias: "production",
    environment: "dev",
    params: GateParams.parse({}),
  }, { by: "ada", role: "admin", reason: "better" });
  await flipArtifact(store, evidence);
  const card = await makeModelCard(store, version, "dev");
  assertStringIncludes(card, "gates passed; its evidence has changed");
  await flipArtifact(store, version.evidenceHash);
  await assertRejects(
    () => makeModelCard(store, version, "dev"),
    EvidenceError,
    "its evidence changed",
  );
});

Deno.test("makeModelCard() of a pipeline's version has the numbers of its report", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/flowers.csv`, makeFlowers());
    await Deno.writeTextFile(
      `${folder}/flowers.yaml`,
      "version: 1\nname: flowers\ningestion: { train: [flowers.csv] }\n" +
        "preprocessing: { target: Species }\nregistry: { description: Three species }\n" +
        "evaluation: { replicates: 100 }\n",
    );
    await using project = await openProject({
      baseDir: folder,
      file: "flowers.yaml",
      store: ":memory:",
    });
    const run = await project.openRun();
    const { version, isPassed } = await runPipeline(run);
    await run.finish();
    assert(isPassed);
    const card = await makeModelCard(
      project.store,
      await resolveVersion(project.store, "flowers", String(version)),
      "dev",
    );
    const [{ report }] = await project.store.query<{ report: string }>("select report from models");
    const { scores, data, parity, golden } = JSON.parse(report);
    for (
      const part of [
        "## Description\n\nThree species",
        `${scores.macroF1.value.toFixed(3)} (${scores.macroF1.low.toFixed(3)} to `,
        `| flowers.csv | 300 | \`${data.sources[0].sha256}\` |`,
        "| iris | 100 |",
        `differ by ${parity.maxDifference.toExponential(1)} at most, 0 of 300 labels flip`,
        golden,
        "gates passed",
        "| Petal length | – | – |",
        `deployed by run ${run.id}`,
      ]
    ) assertStringIncludes(card, part);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("escapeMarkdown() and markdownTable() keep their shape whatever stands in a value", () => {
  assertEquals(
    escapeMarkdown("a|b\r\n# c [x](y) `z` *d* <e>&f\\"),
    "a\\|b # c \\[x](y) \\`z\\` \\*d\\* &lt;e>&amp;f\\\\",
  );
  const table = markdownTable(["a", "b"], [["x | y\n| z", null], [undefined, 0]]);
  assertEquals(table.split("\n").length, 4);
  assertEquals(table.split("\n")[3], "| – | 0 |");
});
