import { assert, assertEquals } from "@std/assert";
import { Random } from "../../../numeric/random.ts";
import { explainWhy } from "../../../runtime/why/explain.ts";
import { makeAlert } from "../alerts/alert_fixture.ts";
import { faultKinds } from "./faults.ts";
import { AT, openWorld } from "./world.ts";

const since = (span: string) => `where request_time > now() at time zone 'UTC' - interval ${span}`;
const alerts = {
  predictions: makeAlert("low", `select 1 from inferences ${since("1 day")}`),
  errors: makeAlert("bad", `select 1 from requests ${since("1 hour")} and status_code >= 500`),
  latency: makeAlert("slow", `select 1 from requests ${since("1 hour")} and duration_ms > 9`),
};

/** Fifty faults a round; more of them by hand, with other seeds. */
const rounds = Number(Deno.env.get("GEOPHONE_WHY_ROUNDS") ?? 1);

Deno.test("explainWhy() ranks the true cause first in four of five of fifty faults of eleven kinds", async () => {
  await using store = await openWorld();
  const table: string[] = [];
  let total = 0;
  let first = 0;
  for (const [kind, { symptom, count, inject }] of Object.entries(faultKinds)) {
    const wrong: string[] = [];
    for (let i = 0; i < rounds * count; i++) {
      const cause = await inject(store, new Random(1_000 * total + i + 17));
      const { suspects } = await explainWhy(store, alerts[symptom], {
        model: "rocks",
        version: 1,
        at: AT,
      });
      const [top] = suspects;
      const isFound = top !== undefined && cause.kinds.includes(top.kind) &&
        top.subject === cause.subject;
      total++;
      if (isFound) first++;
      else {
        wrong.push(
          `${cause.subject} taken for ${
            suspects.slice(0, 2).map((s) => `${s.kind} ${s.subject} ${s.contribution.toFixed(2)}`)
              .join(" before ") || "nothing"
          }`,
        );
      }
    }
    table.push(
      `${kind.padEnd(16)} ${rounds * count - wrong.length} of ${rounds * count}${
        wrong.length === 0 ? "" : `: ${wrong.join("; ")}`
      }`,
    );
  }
  const report = `true cause first in ${first} of ${total}\n${table.join("\n")}`;
  // deno-lint-ignore no-console -- the confusion by kind is what the test is for
  console.log(report);
  assertEquals(total, 50 * rounds);
  assert(first >= 40 * rounds, report);
});
