/** The unchanged `pyarrow` reads what `/sql` and the command write. */
import { assertEquals } from "@std/assert";
import { sqlFormats } from "../../runtime/sql_formats/mod.ts";
import { openStore } from "../../runtime/store/store.ts";
import { serve } from "../../server.ts";
import { canInstall, say, withClient } from "./python.ts";

const client = { name: "pyarrow", packages: ["pyarrow==26.0.1"], probe: "import pyarrow" };

/** Values whose types the store names. */
const typed = {
  columns: ["at", "day", "raw", "big", "times", "m"],
  types: ["TIMESTAMP", "DATE", "BLOB", "UBIGINT", "TIMESTAMP[]", "STRUCT(a INTEGER)"],
  rows: [
    [
      "2024-02-29T10:00:00.123Z",
      "1969-12-31T00:00:00.000Z",
      Uint8Array.of(0, 255),
      "18446744073709551615",
      ["2024-02-29T10:00:00.000Z", null],
      { "a b": 1 },
    ],
    new Array(6).fill(null),
    ["9999-12-31T00:00:00.000Z", "2024-02-29T00:00:00.000Z", new Uint8Array(), 0, [], {}],
  ],
  isTruncated: false,
};

Deno.test({
  name: "pyarrow reads every type of the Arrow stream that /sql answers",
  ignore: !canInstall(client.name),
  fn: () =>
    withClient(client, async (runScript) => {
      const file = await Deno.makeTempFile({ suffix: ".arrows" });
      await Deno.writeFile(file, await sqlFormats.arrow.write(typed) as Uint8Array);
      await using store = await openStore(":memory:");
      const served = await serve({ store, model: "rocks", quiet: true, serving: { port: 0 } });
      try {
        const { code, out, said } = await runScript("./pyarrow_check.py", [served.url, file]);
        assertEquals(code, 0, said);
        say(out.trimEnd());
        assertEquals(out.match(/^ok: /gm)?.length, 21);
      } finally {
        await served.shutdown();
        await Deno.remove(file);
      }
    }),
});
