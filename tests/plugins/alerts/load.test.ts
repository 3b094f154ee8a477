import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { pathToFileURL } from "node:url";
import { loadAlerts, parseAlert } from "../../../plugins/alerts/load.ts";

const HEADER = "-- severity: warning\n-- summary: something happened\n";

Deno.test("parseAlert() reads header and query when lines end as on Windows and a semicolon ends the query", () => {
  const alert = parseAlert(
    "a",
    "-- severity: critical\r\n-- summary: it is\r\n-- empty: no_data\r\nselect 1\r\n-- why\r\nfrom runs;\r\n",
  );
  assertEquals(alert, {
    kind: "alert",
    name: "a",
    severity: "critical",
    summary: "it is",
    empty: "no_data",
    sql: "select 1\n-- why\nfrom runs",
  });
  assertEquals(parseAlert("b", `${HEADER}from runs`).empty, "ok");
});

Deno.test("parseAlert() names the alert and what is wrong when header or query are", () => {
  const wrong: [text: string, message: string][] = [
    ["", "it has no query"],
    [HEADER, "it has no query"],
    [`${HEADER}\n ;`, "it has no query"],
    ["from runs", "severity"],
    ["-- severity: fatal\n-- summary: x\nfrom runs", "severity"],
    ["-- severity: info\nfrom runs", "summary"],
    ["-- severity: info\n-- summary: ''\nfrom runs", "summary"],
    [`${HEADER}-- empty: maybe\nfrom runs`, "empty"],
    [`${HEADER}-- colour: red\nfrom runs`, "colour"],
    ["-- severity: [info\n-- summary: x\nfrom runs", "no YAML"],
    ["-- just words\nfrom runs", "header"],
  ];
  for (const [text, message] of wrong) {
    const error = assertThrows(() => parseAlert("mine", text), SyntaxError, message);
    assertEquals(error.message.startsWith('Cannot load alert "mine": '), true, error.message);
  }
});

Deno.test("loadAlerts() loads .sql files by name, whatever it is, and names the file that is wrong", async () => {
  const dir = await Deno.makeTempDir();
  const folder = pathToFileURL(`${dir}/`);
  try {
    for (const name of ["b.sql", "a #1 50%.sql"]) {
      await Deno.writeTextFile(`${dir}/${name}`, `${HEADER}from runs`);
    }
    await Deno.writeTextFile(`${dir}/notes.md`, "no alert");
    await Deno.mkdir(`${dir}/c.sql`);
    assertEquals((await loadAlerts(folder)).map(({ name }) => name), ["a #1 50%", "b"]);
    await Deno.writeTextFile(`${dir}/broken.sql`, "from runs");
    await assertRejects(() => loadAlerts(folder), SyntaxError, '"broken"');
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
