import { assertRejects, assertStringIncludes } from "@std/assert";
import { UsageError } from "../../../runtime/errors.ts";
import { checkProfile } from "../../../runtime/monitors/bind.ts";
import { ProfileParams } from "../../../runtime/monitors/definition.ts";
import { openStore } from "../../../runtime/store/store.ts";

const inputs = ["GR", "RHOB"];

Deno.test("checkProfile() takes every kind of expression that a window can compute", async () => {
  await using store = await openStore(":memory:");
  const definition = ProfileParams.parse({
    slices: ["slice", "GR > 50", "requester", "truth = label", "date_part('hour', request_time)"],
    metrics: [
      { name: "cost", kind: "aggregate", sql: "avg(GR) filter (truth is null)" },
      { name: "share", kind: "derived", sql: "labeled_rows / count + cost" },
      { name: "moved", kind: "drift", sql: "current.share - base.share" },
    ],
  });
  await checkProfile(store, definition, inputs);
});

Deno.test("checkProfile() names the key, what is wrong and the columns of the first that cannot be", async (t) => {
  await using store = await openStore(":memory:");
  const metric = (kind: string, sql: string) => ({ metrics: [{ name: "m", kind, sql }] });
  const wrong: readonly [string, Record<string, unknown>, string][] = [
    ["a slice of a missing column", { slices: ["slice", "NPHI > 1"] }, "slices[1]"],
    ["a slice that is no SQL", { slices: ["GR >"] }, "slices[0]"],
    ["a function that is not there", { slices: ["nosuch(GR)"] }, "slices[0]"],
    ["a slice that is an aggregate", { slices: ["slice", "count(*)"] }, "slices[1]"],
    ["a metric of a missing column", metric("aggregate", "avg(NPHI)"), 'metrics[0] "m"'],
    ["a metric that is no aggregate", metric("aggregate", "GR"), 'metrics[0] "m"'],
    ["a derived one of a row's column", metric("derived", "GR + 1"), 'metrics[0] "m"'],
    ["drift without sides", metric("drift", "count - 1"), 'metrics[0] "m"'],
  ];
  for (const [name, section, key] of wrong) {
    await t.step(name, async () => {
      const definition = ProfileParams.parse(section);
      const error = await assertRejects(() => checkProfile(store, definition, inputs), UsageError);
      assertStringIncludes(error.message, `of monitoring.profile.${key}: `);
      assertStringIncludes(error.message, "; write SQL over ");
    });
  }
});

Deno.test("checkProfile() leaves names alone while nobody knows the inputs, and not what does not parse", async () => {
  await using store = await openStore(":memory:");
  await checkProfile(store, ProfileParams.parse({ slices: ["NPHI > 1"] }), null);
  const broken = ProfileParams.parse({ slices: ["NPHI >"] });
  await assertRejects(() => checkProfile(store, broken, null), UsageError, "syntax error");
});
