import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { MetricRegistry } from "../../../serving/metrics/registry.ts";

const time = new Date("2026-01-02T03:04:05.678Z");

function fill(): MetricRegistry {
  const registry = new MetricRegistry();
  registry.counter("cores_total", "Cores, by well", ["well"]).of({ well: 'a"\\\nb' }).inc(2);
  registry.counter("idle_total", "Nothing yet");
  registry.gauge("depth", "Depth in m").of({}).set(-1.5);
  const seconds = registry.histogram("read_seconds", "Time of reading", {
    bounds: [0.5, 1],
    labels: ["well"],
  }).of({ well: "P-130" });
  seconds.observe(0.25, { requestId: "r1", traceId: "ab".repeat(16), time });
  seconds.observe(7, { requestId: "x".repeat(110), traceId: "cd".repeat(16), time });
  registry.read(
    { name: "nv_count", help: "Another's name", type: "named", read: () => 4 },
    { name: "unknown_bytes", help: "Not told", type: "gauge", read: () => null },
    { name: "late", help: "Read late", type: "gauge", read: () => Promise.resolve([{ value: 1 }]) },
  );
  return registry;
}

Deno.test("MetricRegistry.render() writes Prometheus' text, the same before and after OpenMetrics", async () => {
  const registry = fill();
  const text = await registry.render("text/plain");
  assertEquals(
    text.split("\n").filter((line) => line !== "" && !line.startsWith("# HELP")),
    [
      "# TYPE cores_total counter",
      'cores_total{well="a\\"\\\\\\nb"} 2',
      "# TYPE idle_total counter",
      "idle_total 0",
      "# TYPE depth gauge",
      "depth -1.5",
      "# TYPE read_seconds histogram",
      'read_seconds_bucket{well="P-130",le="0.5"} 1',
      'read_seconds_bucket{well="P-130",le="1"} 1',
      'read_seconds_bucket{well="P-130",le="+Inf"} 2',
      'read_seconds_sum{well="P-130"} 7.25',
      'read_seconds_count{well="P-130"} 2',
      "# TYPE nv_count counter",
      "nv_count 4",
      "# TYPE late gauge",
      "late 1",
    ],
  );
  await registry.render("application/openmetrics-text");
  assertEquals(await registry.render("text/plain"), text);
});

Deno.test("MetricRegistry.render() writes OpenMetrics with exemplars, and keeps names of others", async () => {
  const text = await fill().render("application/openmetrics-text");
  const traceId = "ab".repeat(16);
  for (
    const line of [
      "# TYPE cores counter",
      'cores_total{well="a\\"\\\\\\nb"} 2',
      `read_seconds_bucket{well="P-130",le="0.5"} 1 # {trace_id="${traceId}",request_id="r1"} 0.25 1767323045.678`,
      'read_seconds_bucket{well="P-130",le="1.0"} 1',
      // Both ids together would be longer than the 128 that OpenMetrics allows.
      `read_seconds_bucket{well="P-130",le="+Inf"} 2 # {trace_id="${
        "cd".repeat(16)
      }"} 7 1767323045.678`,
      "# TYPE nv_count unknown",
      "nv_count 4",
    ]
  ) assertStringIncludes(`\n${text}`, `\n${line}\n`);
  assert(text.endsWith("# EOF\n"));
});

Deno.test("MetricRegistry.render() fails when a metric cannot be read, and names no number for it", async () => {
  const registry = new MetricRegistry();
  registry.read({
    name: "broken",
    help: "Cannot be read",
    type: "gauge",
    read: () => Promise.reject(new Error("Cannot read: no disk")),
  });
  await assertRejects(() => registry.render("text/plain"), Error, "no disk");
});
