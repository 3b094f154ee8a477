/** The unchanged `deltalake` reads an archive of traces. */
import { assertEquals } from "@std/assert";
import { openStore } from "../../runtime/store/store.ts";
import { archiveTraces } from "../../runtime/traces/archive.ts";
import { TraceLog } from "../../runtime/traces/log.ts";
import { makeCallSpan, makeSpan } from "../runtime/traces/span_fixture.ts";
import { canInstall, say, withClient } from "./python.ts";

const client = {
  name: "deltalake",
  packages: ["deltalake==1.6.6", "pyarrow==26.0.1"],
  probe: "import deltalake, pyarrow",
};

Deno.test({
  name: "deltalake reads archived traces with their days, times and statistics",
  ignore: !canInstall(client.name),
  fn: () =>
    withClient(client, async (runScript) => {
      const folder = await Deno.makeTempDir();
      await using store = await openStore(":memory:");
      const log = new TraceLog(store, { redactText: (text) => text });
      const startedUs = Date.parse("2026-01-02T03:04:05.678Z") * 1000 + 901;
      const archive = () =>
        archiveTraces(store, {
          folder,
          before: new Date("2026-02-01"),
          signal: new AbortController().signal,
        });
      try {
        await log.write([
          makeSpan({ startedUs, name: "first", attributes: { depth: 2105.5 } }),
          makeCallSpan([5, 1], { startedUs: startedUs + 86_400_000_000 }),
        ]);
        await archive();
        await log.write([makeSpan({ startedUs: startedUs + 86_500_000_000, name: "late" })]);
        await archive();
        const { code, out, said } = await runScript("./deltalake_check.py", [folder]);
        assertEquals(code, 0, said);
        say(out.trimEnd());
        assertEquals(out.match(/^ok: /gm)?.length, 12);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    }),
});
