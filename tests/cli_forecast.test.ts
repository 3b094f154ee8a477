import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { openStore } from "../runtime/store/store.ts";
import { runCli, withProjectFolder } from "./cli_runner.ts";

Deno.test("deno task forecast prints and writes the hours to come, and refuses what it cannot", () =>
  withProjectFolder(async (folder) => {
    const path = join(folder, "store.duckdb");
    const options = ["--set", `store=${path}`];
    const missing = await runCli(["forecast", ...options]);
    assertEquals(missing.code, 2, missing.stderr);
    await (await openStore(path)).close();
    const early = await runCli(["forecast", ...options]);
    assertEquals(early.code, 2, early.stderr);
    assertStringIncludes(early.stderr, "wait until there are 16");
    {
      await using store = await openStore(path);
      await store.query(
        `insert into core.requests by name
         select uuid()::varchar as request_id, 'POST' as method, '/predict' as endpoint,
           200 as status_code, 'wells' as model, 1 as version, 1 as row_count, 4 as duration_ms,
           date_trunc('hour', now() at time zone 'UTC') - to_hours(i // 50) as request_time
         from range(50, 50 * 24 * 30) t(i) where (i // 50) % 24 < 12`,
      );
    }
    const table = await runCli(["forecast", ...options, "--hours", "3"]);
    assertEquals(table.code, 0, table.stderr);
    assertStringIncludes(table.stdout, "seasons of 24 and 168 h; ");
    assertEquals(table.stdout.trim().split("\n").slice(-3).length, 3);
    const json = JSON.parse((await runCli(["forecast", ...options, "--json"])).stdout);
    assertEquals([json.model, json.hours.length, json.targetUtilization], ["wells", 24, 0.6]);
    assert(json.hours.every(({ low, high }: { low: number; high: number }) => low <= high));
    const csv = await runCli(["forecast", ...options, "--format", "csv", "--hours", "2"]);
    const [head, ...lines] = csv.stdout.trim().split("\n");
    assertEquals([head, lines.length], ["time,requests,low,high,replicas", 2]);

    const out = join(folder, "demand.svg");
    const drawn = await runCli(["forecast", ...options, "--format", "svg", "--out", out]);
    assertEquals([drawn.code, drawn.stdout], [0, ""]);
    const svg = await Deno.readTextFile(out);
    assert(svg.startsWith("<svg ") && svg.endsWith("</svg>\n"));
    assert(!/NaN|undefined|Infinity/.test(svg));
    assertEquals(svg.match(/<polyline/g)!.length, 2);

    for (
      const [wrong, part] of [
        [["--hours", "0"], "integer from 1 to 672"],
        [["--hours", "many"], "must be a number"],
        [["--format", "cvs"], 'did you mean "csv"?'],
        [["--json", "--format", "csv"], "choose one"],
        [["--out", join(folder, "none", "x.svg")], "no such folder"],
      ] as const
    ) {
      const result = await runCli(["forecast", ...options, ...wrong]);
      assertEquals(result.code, 2, result.stderr);
      assertStringIncludes(result.stderr, part);
    }
  }));
