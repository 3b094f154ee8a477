import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { UsageError } from "../../../runtime/errors.ts";
import { recordLabels } from "../../../runtime/inference/labels.ts";
import { registerTestModel } from "../../model_fixture.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { compareVersions } from "../../../serving/traffic/compare.ts";
import { ask, askAll, type Body, get, withTraffic } from "./fixture.ts";

const pair = { champion: "production", challenger: "challenger" };

/** Writes requests of one record each that both versions predicted, and their labels. */
async function writePairs(store: Store, pairs: Body[]): Promise<void> {
  const at = new Date();
  await store.transaction(pairs.flatMap(({ id, row = 0, champion, challenger, label }) => [
    {
      sql: `insert into core.shadow_inferences (request_id, row, request_time, model,
          champion_version, shadow_version, champion_label, shadow_label, ms)
        values (?, ?, ?, 'rocks', 1, 2, ?, ?, 1)`,
      params: [id, row, at, champion, challenger],
    },
    {
      sql: "insert into core.labels (request_id, row, label, created_at) values (?, ?, ?, ?)",
      params: [id, row, label, at],
    },
  ]));
}

async function withVersions(action: (store: Store) => Promise<void>): Promise<void> {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { seed: 1 });
  await registerTestModel(store, { seed: 2, alias: "challenger" });
  await action(store);
}

Deno.test("compareVersions() counts discordant pairs and bets on them alone", () =>
  withVersions(async (store) => {
    const of = (n: number, champion: string, challenger: string) =>
      Array.from({ length: n }, (_, i) => ({
        id: `${champion}-${challenger}-${i}`,
        champion,
        challenger,
        label: "a",
      }));
    await writePairs(store, [...of(30, "a", "a"), ...of(1, "a", "b"), ...of(4, "b", "a")]);
    const some = await compareVersions(store, "rocks", pair);
    assertEquals([some.design, some.decision, some.alpha], ["paired", "undecided", 0.05]);
    assertEquals(some.discordant, { challengerOnly: 4, championOnly: 1 });
    assertEquals([some.champion.requests, some.champion.rows], [35, 35]);
    assertEquals([some.champion.accuracy?.value, some.challenger.accuracy?.value], [
      31 / 35,
      34 / 35,
    ]);
    // 2^5 B(5, 2) = 32 / 30.
    assert(Math.abs(some.eValue - 32 / 30) < 1e-9);
    await writePairs(store, of(12, "c", "a"));
    const more = await compareVersions(store, "rocks", pair);
    assertEquals(more.decision, "challenger is better");
    assert(more.pValue <= 0.05 && more.eValue >= 20);
    const swapped = await compareVersions(store, "rocks", {
      champion: "challenger",
      challenger: "production",
    });
    assertEquals([swapped.decision, swapped.discordant], [
      "champion is better",
      { challengerOnly: 1, championOnly: 16 },
    ]);
    const strict = await compareVersions(store, "rocks", { ...pair, alpha: 1e-9 });
    assertEquals(strict.decision, "undecided");
  }));

Deno.test("compareVersions() takes the records of one request for one piece of evidence", () =>
  withVersions(async (store) => {
    await writePairs(
      store,
      Array.from({ length: 200 }, (_, row) => ({
        id: "one",
        row,
        champion: "b",
        challenger: "a",
        label: "a",
      })),
    );
    const { champion, decision, eValue, discordant } = await compareVersions(store, "rocks", pair);
    assertEquals([champion.requests, champion.rows, decision], [1, 200, "undecided"]);
    assertEquals(discordant?.challengerOnly, 200);
    assert(Math.abs(eValue - 1) < 1e-9);
  }));

Deno.test("compareVersions() compares requests of a split when nothing was mirrored, and says when nothing is known", () =>
  withTraffic({
    traffic: {
      split: [{ alias: "production", percent: 50 }, { alias: "challenger", percent: 50 }],
    },
  }, async ({ app, store }) => {
    const empty = await compareVersions(store, "rocks", pair);
    assertEquals([empty.design, empty.champion.accuracy, empty.decision], [
      "unpaired",
      null,
      "undecided",
    ]);
    assertEquals([empty.eValue, empty.pValue], [1, 1]);
    const answers = await askAll(app, 200);
    await recordLabels(
      store,
      answers.map(({ request_id: requestId, version, predictions: [{ label }] }, i) => ({
        requestId,
        row: 0,
        // Version 2 is right, version 1 half of the time.
        label: version === 2 || i % 2 === 0
          ? label
          : label === "anhydrite"
          ? "sandstone"
          : "anhydrite",
      })),
      "lab",
    );
    const { champion, challenger, ...rest } = await compareVersions(store, "rocks", pair);
    assertEquals(champion.requests + challenger.requests > 190, true);
    assertEquals(challenger.accuracy?.value, 1);
    assert(champion.accuracy!.value > 0.3 && champion.accuracy!.value < 0.7);
    assertEquals([rest.design, rest.discordant, rest.decision], [
      "unpaired",
      null,
      "challenger is better",
    ]);
  }));

Deno.test("GET /models/compare answers from shadow rows and labels, whoever asks how often", () =>
  withTraffic({ traffic: { shadow: { alias: "challenger" } } }, async ({ app, store }) => {
    const answers = await askAll(app, 150);
    await ask(app, 1, { path: "/predict?version=2" });
    const deadline = Date.now() + 10_000;
    while ((await store.query("from shadow")).length < 150) {
      assert(Date.now() < deadline, "Expected 150 shadow rows within 10 s");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const truth = new Map(
      (await store.query<Body>("select request_id, shadow_label as label from shadow")).map(
        ({ request_id, label }) => [request_id, label],
      ),
    );
    const labels = answers.map(({ request_id }) => ({ request_id, label: truth.get(request_id) }));
    const path = "/models/compare?champion=production&challenger=2";
    for (const part of [labels.slice(0, 10), labels.slice(10)]) {
      const response = await app.request("/labels", {
        method: "POST",
        body: JSON.stringify({ labels: part }),
      });
      assertEquals(response.status, 200);
      await response.body?.cancel();
      await get(app, path);
    }
    const { request_id: _, ...answer } = await get(app, path);
    assertEquals([answer.model, answer.design], ["rocks", "paired"]);
    assertEquals([answer.champion.version, answer.challenger.version], [1, 2]);
    assertEquals([answer.challenger.rows, answer.challenger.accuracy.value], [150, 1]);
    const disagreed = answers.filter(({ request_id, predictions: [{ label }] }) =>
      truth.get(request_id) !== label
    );
    assertEquals(answer.discordant, { challenger_only: disagreed.length, champion_only: 0 });
    const n = disagreed.length;
    assert(Math.abs(answer.e_value / (2 ** n / (n + 1)) - 1) < 1e-6, `${n} ${answer.e_value}`);
    assertEquals(answer.decision, n >= 9 ? "challenger is better" : "undecided");
    for (
      const [query, status, part] of [
        ["", 400, 'give "champion" and "challenger"'],
        ["?champion=1", 400, 'give "champion" and "challenger"'],
        ["?champion=1&challanger=2", 400, 'did you mean "challenger"'],
        ["?champion=1&challenger=nobody", 404, "there are versions"],
        ["?champion=1&challenger=2&model=sands", 404, "sands"],
      ] as const
    ) {
      const refused = await app.request(`/models/compare${query}`);
      assertEquals(refused.status, status, query);
      assertStringIncludes((await refused.json()).error.message, part);
    }
    const promoted = await store.query("select version from aliases where alias = 'production'");
    assertEquals(promoted, [{ version: 1 }]);
  }));

Deno.test("compareVersions() refuses versions that there are not", () =>
  withVersions(async (store) => {
    await assertRejects(
      () => compareVersions(store, "rocks", { champion: "1", challenger: "7" }),
      UsageError,
      "there are versions",
    );
  }));
