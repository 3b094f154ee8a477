/**
 * `promtool`, a real Prometheus server and the reference parser of OpenMetrics against `/metrics`. The
 * programs are used where they are on the PATH.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { openStore } from "../../runtime/store/store.ts";
import { serve } from "../../server.ts";
import { registerTestModel, testRecord } from "../model_fixture.ts";
import { canInstall, type PythonClient, runProgram, withClient } from "./python.ts";

const parser: PythonClient = {
  name: "prometheus_client",
  packages: ["prometheus_client==0.21.1"],
  probe: "import prometheus_client",
};

/** Name and state of a test that needs a program; the name says why it is left out. */
async function needs(program: string, name: string): Promise<{ name: string; ignore: boolean }> {
  const { code } = await runProgram(program, ["--version"]);
  if (code === 0) return { name, ignore: false };
  return { name: `${name} [left out: ${program} is not on the PATH]`, ignore: true };
}

const TRACE = "0af7651916cd43dd8448eb211c80319c";

/** Serves a model that has answered two requests of two records, and failed one. */
async function withServer(action: (url: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await using store = await openStore(`${dir}/store.duckdb`);
    await registerTestModel(store);
    const served = await serve({ store, model: "rocks", quiet: true, serving: { port: 0 } });
    try {
      const records = [testRecord(0), testRecord(1)];
      for (const body of [{ records }, { records }, { records: [] }]) {
        const response = await fetch(`${served.url}/predict`, {
          method: "POST",
          headers: { traceparent: `00-${TRACE}-b7ad6b7169203331-01` },
          body: JSON.stringify(body),
        });
        await response.body?.cancel();
      }
      await action(served.url);
    } finally {
      await served.shutdown();
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test({
  ...await needs(
    "promtool",
    "promtool check metrics accepts /metrics, but for the names that Triton chose",
  ),
  fn: () =>
    withServer(async (url) => {
      const response = await fetch(`${url}/metrics`);
      assertMatch(response.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
      const file = await Deno.makeTempFile();
      await Deno.writeTextFile(file, await response.text());
      const { code, said } = await runProgram("sh", ["-c", 'promtool check metrics < "$0"', file]);
      await Deno.remove(file);
      // 3 is a matter of taste, 1 a text that cannot be read.
      assert(code === 0 || code === 3, said);
      const remarks = said.split("\n").filter((line) => line !== "" && !/^nv_/.test(line));
      assertEquals(remarks, []);
    }),
});

/** A port that was free a moment ago. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

Deno.test({
  ...await needs(
    "prometheus",
    "a Prometheus server scrapes /metrics as docs/observability.md configures it",
  ),
  fn: () =>
    withServer(async (url) => {
      const dir = await Deno.makeTempDir();
      const guide = await Deno.readTextFile(
        new URL("../../docs/observability.md", import.meta.url),
      );
      const config = /```yaml\n(# prometheus\.yml\n[^`]+)```/.exec(guide)![1]
        .replace("127.0.0.1:8000", new URL(url).host)
        .replace("scrape_interval: 15s", "scrape_interval: 200ms")
        .replace("scrape_timeout: 10s", "scrape_timeout: 200ms")
        .replace(/\n *authorization:\n[^\n]+\n/, "\n");
      await Deno.writeTextFile(`${dir}/prometheus.yml`, config);
      const address = `127.0.0.1:${freePort()}`;
      const child = new Deno.Command("prometheus", {
        args: [
          `--config.file=${dir}/prometheus.yml`,
          `--storage.tsdb.path=${dir}/data`,
          `--web.listen-address=${address}`,
          "--enable-feature=exemplar-storage",
        ],
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).spawn();
      const ask = async (path: string, query: string) => {
        const url = new URL(`http://${address}/api/v1/${path}`);
        url.searchParams.set("query", query);
        url.searchParams.set("start", String(Date.now() / 1000 - 60));
        url.searchParams.set("end", String(Date.now() / 1000 + 60));
        try {
          return (await (await fetch(url)).json()).data;
        } catch {
          return undefined;
        }
      };
      try {
        let value: string | undefined;
        for (let i = 0; i < 300 && value === undefined; i++) {
          value = (await ask("query", "nv_inference_count"))?.result?.[0]?.value[1];
          if (value === undefined) await new Promise((resolve) => setTimeout(resolve, 100));
        }
        assertEquals(value, "4");
        for (const query of guide.matchAll(/```promql\n([^`]+)```/g)) {
          for (const line of query[1].split("\n").filter((line) => /^[^#]/.test(line))) {
            assert(Array.isArray((await ask("query", line))?.result), line);
          }
        }
        const exemplars = await ask("query_exemplars", "geophone_request_duration_seconds_bucket");
        assert(JSON.stringify(exemplars).includes(TRACE), JSON.stringify(exemplars));
      } finally {
        child.kill("SIGTERM");
        await child.status;
        await Deno.remove(dir, { recursive: true });
      }
    }),
});

Deno.test({
  name: "prometheus_client 0.21.1 parses the OpenMetrics form, exemplars included",
  ignore: !canInstall(parser.name),
  fn: () =>
    withClient(parser, (runScript) =>
      withServer(async (url) => {
        const { code, said } = await runScript("prometheus_check.py", [`${url}/metrics`, TRACE]);
        assertEquals(code, 0, said);
        assertEquals(said.match(/^ok: /gm)?.length, 4);
      })),
});
