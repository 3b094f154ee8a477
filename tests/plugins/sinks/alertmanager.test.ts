/** Against Debian's `prometheus-alertmanager` with its `amtool`, and against a receiver of HTTP. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { AlertEvent } from "../../../plugins/plugin.ts";
import { createAlertmanager } from "../../../plugins/sinks/alertmanager.ts";
import { sampleEvents } from "../../contract.ts";
import { startReceiver } from "../../webhook_receiver.ts";

const { signal } = new AbortController();
const HOUR_MS = 3_600_000;

Deno.test("deliver() posts labels, annotations and times of each alert", async () => {
  await using receiver = startReceiver();
  const sink = createAlertmanager({ read: () => receiver.url.replace("/hook", "/prefix/") });
  const before = Date.now();
  const params = { holdHours: 2, generatorUrl: "https://example.com/alerts" };
  const broken: AlertEvent = { ...sampleEvents[0], kind: "error", labels: { "1 a-b": "c" } };
  await sink.deliver([...sampleEvents, broken], signal, { id: "d-1", params });
  const [first, second, third] = receiver.received[0].body;
  const heldMs = Date.parse(first.endsAt) - 2 * HOUR_MS;
  assert(heldMs >= before && heldMs <= Date.now());
  assertEquals({ ...first, endsAt: null }, {
    labels: { alertname: "first_alert", severity: "critical" },
    annotations: {
      summary: "first message\nof two lines",
      description: "first message\nof two lines",
      value: "0.05",
      runbook_url: "https://example.com/first",
    },
    startsAt: "2026-03-04T05:06:07.000Z",
    endsAt: null,
    generatorURL: "https://example.com/alerts",
  });
  assertEquals(second.labels, {
    well: "P-130",
    series: "well=P-130",
    alertname: "second_alert",
    severity: "info",
  });
  assertEquals(second.endsAt, "2026-03-04T06:00:00.000Z");
  assertEquals(third.labels, {
    _1_a_b: "c",
    condition: "error",
    alertname: "first_alert",
    severity: "critical",
  });
});

Deno.test("deliver() rejects when the receiver does not take the alerts", async () => {
  await using receiver = startReceiver(() => new Response("no", { status: 400 }));
  const sink = createAlertmanager({ read: () => receiver.url });
  await assertRejects(() => sink.deliver(sampleEvents, signal), Error, "it answered 400");
});

const binary = await findBinary("prometheus-alertmanager") ?? await findBinary("alertmanager");
const amtool = await findBinary("amtool");
const isMissing = binary === undefined || amtool === undefined;
// deno-lint-ignore no-console
if (isMissing) console.log("skipped: no alertmanager and amtool on the PATH");

Deno.test({
  name: "amtool sees an alert that deliver() pushed to a real Alertmanager, until it is resolved",
  ignore: isMissing,
  async fn() {
    await using server = await startAlertmanager(binary!);
    const sink = createAlertmanager({ read: () => server.url });
    const firing = {
      ...sampleEvents[0],
      labels: { well: "P-130" },
      startsAt: Date.now() - HOUR_MS,
    };
    await sink.deliver([firing, { ...firing, kind: "no_data" }], signal);
    const seen = await queryAlerts(server.url);
    assertEquals(seen.map(({ labels }) => labels), [
      { alertname: "first_alert", severity: "critical", well: "P-130" },
      { alertname: "first_alert", condition: "no_data", severity: "critical", well: "P-130" },
    ]);
    assertEquals(seen[0].annotations.runbook_url, "https://example.com/first");
    assertEquals(seen[0].status.state, "active");
    await sink.deliver([{ ...firing, kind: "resolved", endsAt: Date.now() }], signal);
    const left = await queryAlerts(server.url);
    assertEquals(left.map(({ labels }) => labels.condition), ["no_data"]);
  },
});

async function findBinary(name: string): Promise<string | undefined> {
  for (const folder of (Deno.env.get("PATH") ?? "").split(":")) {
    const path = `${folder}/${name}`;
    if (await Deno.stat(path).then(({ isFile }) => isFile, () => false)) return path;
  }
  return undefined;
}

/** Starts an Alertmanager of no receivers on a free port. */
async function startAlertmanager(path: string) {
  const dir = await Deno.makeTempDir();
  await Deno.writeTextFile(
    `${dir}/config.yml`,
    "route: { receiver: none }\nreceivers: [{ name: none }]\n",
  );
  const probe = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = probe.addr as Deno.NetAddr;
  probe.close();
  const child = new Deno.Command(path, {
    args: [
      `--config.file=${dir}/config.yml`,
      `--storage.path=${dir}/data`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--cluster.listen-address=",
    ],
    stdout: "null",
    stderr: "null",
  }).spawn();
  const url = `http://127.0.0.1:${port}`;
  for (let i = 0; i < 200; i++) {
    const response = await fetch(`${url}/-/ready`).catch(() => null);
    await response?.body?.cancel();
    if (response?.ok) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    url,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.status;
      await Deno.remove(dir, { recursive: true });
    },
  };
}

interface SeenAlert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly status: { readonly state: string };
}

async function queryAlerts(url: string): Promise<SeenAlert[]> {
  const { stdout, success } = await new Deno.Command(amtool!, {
    args: ["alert", "query", `--alertmanager.url=${url}`, "--output=json"],
  }).output();
  assert(success);
  const alerts: SeenAlert[] = JSON.parse(new TextDecoder().decode(stdout)) ?? [];
  const keyOf = ({ labels }: SeenAlert) => labels.condition ?? "";
  return alerts.sort((a, b) => keyOf(a) < keyOf(b) ? -1 : 1);
}
