/** The state machine against Prometheus itself: `promtool test rules` on the same random series. */
import { assertEquals } from "@std/assert";
import { stringify } from "@std/yaml";
import { type AlertMemory, step } from "../../../runtime/alerts/state.ts";
import { Random } from "../../../numeric/random.ts";

const STEP_MS = 30_000;
const STEPS = 40;
const SERIES = ["a", "b", "c"];
const CASES = 60;

interface Case {
  readonly forMs: number;
  readonly keepFiringForMs: number;
  /** Whether the condition of each series holds, `null` where the series is not there. `[series][step]` */
  readonly holds: readonly (readonly (boolean | null)[])[];
}

function makeCase(seed: number): Case {
  const random = new Random(seed);
  const draw = (n: number) => random.below(n);
  return {
    forMs: draw(6) * STEP_MS,
    keepFiringForMs: draw(6) * STEP_MS,
    holds: SERIES.map(() => {
      let holds: boolean | null = draw(2) === 0;
      return Array.from({ length: STEPS }, () => {
        if (draw(3) === 0) holds = [true, false, null][draw(3)];
        return holds;
      });
    }),
  };
}

/** Pending and firing series after each step, by our function. */
function trace({ forMs, keepFiringForMs, holds }: Case): [series: string, state: string][][] {
  let memory: AlertMemory | null = null;
  return Array.from({ length: STEPS }, (_, i) => {
    const series = SERIES.filter((_, j) => holds[j][i] === true)
      .map((name) => ({ series: name, labels: {}, value: 1, message: name }));
    memory = step(memory, { kind: "rows", series }, {
      now: i * STEP_MS,
      clocks: { forMs, keepFiringForMs },
    }).memory;
    return memory.series.map(({ series, state }) => [series, state] as [string, string]).sort();
  });
}

function toPromtool(cases: readonly Case[]) {
  const rules = cases.map(({ forMs, keepFiringForMs }, i) => ({
    alert: `Alert${i}`,
    expr: `m${i} > 0`,
    for: `${forMs}ms`,
    keep_firing_for: `${keepFiringForMs}ms`,
  }));
  const tests = cases.map((each, i) => ({
    interval: `${STEP_MS}ms`,
    input_series: SERIES.map((name, j) => ({
      series: `m${i}{series="${name}"}`,
      values: each.holds[j].map((holds) => holds === null ? "stale" : holds ? "1" : "0").join(" "),
    })),
    promql_expr_test: trace(each).map((states, k) => ({
      expr: `ALERTS{alertname="Alert${i}"}`,
      eval_time: `${k * STEP_MS}ms`,
      exp_samples: states.map(([series, state]) => ({
        labels: `ALERTS{alertname="Alert${i}",alertstate="${state}",series="${series}"}`,
        value: 1,
      })),
    })),
  }));
  return {
    rules: { groups: [{ name: "all", interval: `${STEP_MS}ms`, rules }] },
    tests: { rule_files: ["rules.yaml"], evaluation_interval: `${STEP_MS}ms`, tests },
  };
}

async function findPromtool(): Promise<boolean> {
  try {
    return (await new Deno.Command("promtool", { args: ["--version"], stderr: "null" }).output())
      .success;
  } catch {
    return false;
  }
}

const hasPromtool = await findPromtool();
if (!hasPromtool) {
  // deno-lint-ignore no-console -- says why a test is left out
  console.log("skipped: promtool is not installed (Debian package prometheus)");
}

Deno.test({
  name:
    "step() has the states that promtool computes when series come, go and come again at random",
  ignore: !hasPromtool,
  async fn() {
    const dir = await Deno.makeTempDir();
    try {
      const { rules, tests } = toPromtool(Array.from({ length: CASES }, (_, i) => makeCase(i + 1)));
      await Deno.writeTextFile(`${dir}/rules.yaml`, stringify(rules));
      await Deno.writeTextFile(`${dir}/tests.yaml`, stringify(tests));
      const { success, stdout, stderr } = await new Deno.Command("promtool", {
        args: ["test", "rules", "tests.yaml"],
        cwd: dir,
      }).output();
      const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
      assertEquals([success, text.slice(0, 2_000)], [true, text.slice(0, 2_000)]);
      // Prometheus must have had something to disagree with.
      const states = tests.tests.flatMap((test) =>
        test.promql_expr_test.flatMap(({ exp_samples }) => exp_samples)
      );
      assertEquals(states.length > 1_000, true);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});
