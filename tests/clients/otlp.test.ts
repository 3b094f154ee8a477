/** The unchanged OTLP exporter of OpenTelemetry's Python SDK sends to `/v1/traces`. */
import { assertEquals } from "@std/assert";
import { openStore } from "../../runtime/store/store.ts";
import { serve } from "../../server.ts";
import { canInstall, say, withClient } from "./python.ts";

const client = {
  name: "opentelemetry",
  packages: ["opentelemetry-sdk==1.45.2", "opentelemetry-exporter-otlp-proto-http==1.45.2"],
  probe: "import opentelemetry.exporter.otlp.proto.http, opentelemetry.sdk",
};

Deno.test({
  name: "OpenTelemetry's Python exporter sends traces that the store has, plain and compressed",
  ignore: !canInstall(client.name),
  fn: () =>
    withClient(client, async (runScript) => {
      await using store = await openStore(":memory:");
      const served = await serve({ store, model: "rocks", quiet: true, serving: { port: 0 } });
      try {
        for (const compression of ["none", "gzip"]) {
          const { code, out, said } = await runScript("./otlp_check.py", [served.url, compression]);
          assertEquals(code, 0, said);
          say(`${compression}: ${out.trim().split("\n").at(-1)}`);
          assertEquals(out.includes("ok: 3 spans"), true, said);
          const id = /^trace: ([0-9a-f]{32})$/m.exec(out)![1];
          const trace = await (await fetch(`${served.url}/traces/${id}`)).json();
          assertEquals(
            [trace.name, trace.service, trace.span_count, trace.errors, trace.tokens_in],
            ["answer", `python-${compression}`, 3, 1, 12],
          );
          const [root, chat, tool] = trace.spans;
          assertEquals([root.kind, chat.kind, tool.status], ["server", "client", "error"]);
          assertEquals([chat.parent_id, tool.parent_id], [root.span_id, root.span_id]);
          assertEquals([root.attributes.numbers, root.attributes.share], [[1, 2, 3], 0.25]);
          assertEquals(tool.events[0].attributes["exception.type"], "ValueError");
          assertEquals(root.scope, "check");
        }
      } finally {
        await served.shutdown();
      }
    }),
});
