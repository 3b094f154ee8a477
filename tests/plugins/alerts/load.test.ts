import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { pathToFileURL } from "node:url";
import { loadAlerts, parseAlert } from "../../../plugins/alerts/load.ts";
import { convertQuartz } from "../../../plugins/alerts/quartz.ts";
import { parseAlertV2 } from "../../../plugins/alerts/sql_alert_v2.ts";

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

Deno.test("parseAlert() reads every key of a header", () => {
  const text = `-- severity: critical
-- summary: it is slow
-- schedule: "0 7 * * MON-FRI"
-- timezone: Europe/Berlin
-- for: 1h30m
-- keep_firing_for: 5m
-- threshold: { column: p99, operator: GREATER_THAN, value: { column: most, aggregation: MAX }, aggregation: AVG }
-- group_by: [endpoint]
-- empty: firing
-- notify: { sinks: [log], on_ok: false }
-- retrigger: 0
-- labels: { team: rocks }
-- runbook: https://example.com/slow
select 1`;
  assertEquals(parseAlert("slow", text), {
    kind: "alert",
    name: "slow",
    sql: "select 1",
    severity: "critical",
    summary: "it is slow",
    empty: "firing",
    schedule: { cron: "0 7 * * MON-FRI", timezone: "Europe/Berlin" },
    forMs: 5_400_000,
    keepFiringForMs: 300_000,
    threshold: {
      column: "p99",
      operator: "GREATER_THAN",
      value: { column: "most", aggregation: "MAX" },
      aggregation: "AVG",
    },
    groupBy: ["endpoint"],
    notify: { sinks: ["log"], onOk: false },
    retrigger: 0,
    labels: { team: "rocks" },
    runbook: "https://example.com/slow",
  });
});

Deno.test("parseAlert() names the nearest key and what a value must be when one is wrong", () => {
  const wrong: [line: string, message: string][] = [
    ["sumary: x", 'unknown key "sumary"; did you mean "summary"?'],
    ["notify: { sink: [log] }", 'notify: unknown key "sink"; did you mean "sinks"?'],
    ["threshold: { colum: x, operator: EQUAL, value: 1 }", 'did you mean "column"?'],
    ["threshold: { column: x, operator: EQUAL }", "a threshold has a value unless"],
    ["threshold: { column: x, operator: IS_NULL, value: 1 }", "a threshold has a value unless"],
    [
      "threshold: { column: x, operator: EQUAL, value: { column: y, aggregation: MAX } }",
      "row by row",
    ],
    ["for: soon", 'Cannot read duration "soon"'],
    ["schedule: 61 * * * *", 'schedule: "61 * * * *" is no cron expression'],
    ["timezone: Europe/Berln", 'there is no "Europe/Berln"'],
    ["labels: { a b: x }", "a label's name"],
  ];
  for (const [line, message] of wrong) {
    assertThrows(() => parseAlert("mine", `${HEADER}-- ${line}\nfrom runs`), SyntaxError, message);
  }
});

const v2 = {
  id: "0b1",
  display_name: "Slow answers",
  query_text: "select p99 from latency;",
  evaluation: {
    source: { name: "p99", aggregation: "MAX", display: "p99" },
    comparison_operator: "GREATER_THAN_OR_EQUAL",
    threshold: { value: { double_value: 100 } },
    empty_result_state: "UNKNOWN",
    notification: {
      notify_on_ok: true,
      retrigger_seconds: 3600,
      subscriptions: [{ user_email: "a@b" }],
    },
  },
  schedule: {
    quartz_cron_schedule: "0 0/15 8-18 ? * MON-FRI",
    timezone_id: "Europe/Berlin",
    pause_status: "PAUSED",
  },
  custom_summary: "answers are slow",
  run_as: { user_name: "ada" },
};

Deno.test("parseAlertV2() reads a lakehouse's SQL alert as one of ours", () => {
  assertEquals(parseAlertV2("slow", JSON.stringify(v2)), {
    sql: "select p99 from latency",
    severity: "warning",
    summary: "answers are slow",
    empty: "no_data",
    schedule: { cron: "0 0-59/15 8-18 * * MON-FRI", timezone: "Europe/Berlin", isPaused: true },
    threshold: {
      column: "p99",
      aggregation: "MAX",
      operator: "GREATER_THAN_OR_EQUAL",
      value: 100,
    },
    notify: { onOk: true },
    retrigger: 3600,
  });
});

Deno.test("parseAlertV2() compares the first row alone without an aggregation, once until it is ok", () => {
  const { notification: _, ...evaluation } = v2.evaluation;
  const alert = parseAlertV2(
    "slow",
    JSON.stringify({
      ...v2,
      evaluation: {
        ...evaluation,
        source: { name: "p99" },
        threshold: { column: { name: "most" } },
        empty_result_state: "TRIGGERED",
      },
    }),
  );
  assertEquals(alert.sql, "from (\nselect p99 from latency\n) limit 1");
  assertEquals(alert.threshold?.value, { column: "most" });
  assertEquals([alert.retrigger, alert.notify, alert.empty], [0, { onOk: false }, "firing"]);
});

Deno.test("parseAlertV2() names the alert and what is wrong", () => {
  const wrong: [change: object | string, message: string][] = [
    ["{", "it is no JSON"],
    [{ query_txt: "x" }, 'did you mean "query_text"?'],
    [{ display_name: undefined }, "display_name"],
    [{ parameters: [{ name: "p" }] }, "queries with parameters are not supported"],
    [{ schedule: { ...v2.schedule, quartz_cron_schedule: "* * * * *" } }, "5 fields"],
    [{ schedule: { ...v2.schedule, timezone_id: "Mars" } }, 'there is no "Mars"'],
  ];
  for (const [change, message] of wrong) {
    const text = typeof change === "string" ? change : JSON.stringify({ ...v2, ...change });
    const error = assertThrows(() => parseAlertV2("mine", text), SyntaxError, message);
    assertEquals(error.message.startsWith('Cannot load alert "mine": '), true, error.message);
  }
});

Deno.test("convertQuartz() counts weekdays from 0 and steps to the end of a field", () => {
  for (
    const [quartz, cron] of [
      ["0 0 12 * * ?", "0 0 12 * * *"],
      ["0 5/10 * 1 1 ? 2027", "0 5-59/10 * 1 1 * 2027"],
      ["0 0 8 ? * 1,7", "0 0 8 * * 0,6"],
      ["0 0 8 ? * 6L", "0 0 8 * * 5#L"],
      ["0 0 8 ? * 6#3", "0 0 8 * * 5#3"],
      ["0 0 8 L * ?", "0 0 8 L * *"],
    ]
  ) {
    assertEquals(convertQuartz(quartz), cron);
  }
});

Deno.test("loadAlerts() loads a lakehouse's .json beside .sql", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/a.sql`, `${HEADER}from runs`);
    await Deno.writeTextFile(`${dir}/b.json`, JSON.stringify(v2));
    await Deno.writeTextFile(`${dir}/a.test.yaml`, "[]");
    const alerts = await loadAlerts(pathToFileURL(`${dir}/`));
    assertEquals(alerts.map(({ kind, name }) => [kind, name]), [["alert", "a"], ["alert", "b"]]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
