import { assert, assertEquals } from "@std/assert";
import { openStore } from "../../runtime/store/store.ts";
import { testRecord } from "../model_fixture.ts";
import { startChild } from "./child.ts";
import { fuzzBodies, type FuzzedBody, makeRandom } from "./fuzz.ts";

/** Requests of the soak; a million take about three minutes. */
const REQUESTS = Number(Deno.env.get("GEOPHONE_SOAK_REQUESTS") ?? 20_000);

/** Requests before memory is first looked at: code is compiled and pools are filled by then. */
const WARM_UP = Math.min(10_000, REQUESTS / 2);

/** Requests between two looks at memory. */
const STEP = Math.ceil((REQUESTS - WARM_UP) / 10);

/**
 * What memory may grow by: the noise of garbage collectors and allocators, and what DuckDB keeps of
 * rows while the store has them, about 350 bytes for each request here.
 */
const MAX_GROWTH_MIB = 128;
const MAX_GROWTH_BYTES_PER_REQUEST = 512;

const CALLERS = 16;

const valid: FuzzedBody[] = [
  {
    body: new TextEncoder().encode(JSON.stringify({ records: [testRecord(1), testRecord(2)] })),
    headers: { "content-type": "application/json" },
  },
];

/** Valid predictions, malformed ones, given ids and routes that are not there. */
function* makeRequests(seed: number): Generator<{ path: string; init: RequestInit }> {
  const random = makeRandom(seed);
  const broken = fuzzBodies(seed, Infinity, valid);
  for (let i = 0;; i++) {
    const kind = random();
    if (kind < 0.1) {
      const { body, headers } = broken.next().value!;
      yield { path: "/predict", init: { method: "POST", body, headers } };
    } else if (kind < 0.15) yield { path: `/nowhere/${i}`, init: {} };
    else if (kind < 0.2) yield { path: "/v2/models/rocks/ready", init: {} };
    else {
      const headers: Record<string, string> = kind < 0.5 ? { "x-request-id": `s${seed}.${i}` } : {};
      const body = JSON.stringify({ records: [testRecord(i)] });
      yield { path: "/predict", init: { method: "POST", body, headers } };
    }
  }
}

/** Memory of the process, and that part of it in which DuckDB keeps blocks of its tables. */
interface Memory {
  readonly resident: number;
  readonly database: number;
}

async function readMemory(url: string): Promise<Memory> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const sql = "select sum(memory_usage_bytes)::bigint as bytes from duckdb_memory()";
  const answer = await fetch(`${url}/sql`, { method: "POST", body: JSON.stringify({ sql }) });
  const { rows } = await answer.json();
  return {
    resident: Number(text.match(/^process_resident_memory_bytes (\S+)$/m)![1]),
    database: rows[0][0],
  };
}

Deno.test(`a server has every one of ${REQUESTS} requests on record, and its memory grows by no more than their rows`, async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/a.duckdb`;
    const server = await startChild(path);
    let sent = 0;
    let answered = 0;
    const memory: Memory[] = [];
    const start = performance.now();
    await Promise.all(Array.from({ length: CALLERS }, async (_, caller) => {
      const requests = makeRequests(caller + 1);
      while (sent < REQUESTS) {
        const number = ++sent;
        const { path, init } = requests.next().value!;
        const response = await fetch(server.url + path, init);
        await response.body?.cancel();
        assert(response.status < 500 || response.status === 503, `${response.status} ${path}`);
        answered++;
        if (number >= WARM_UP && (number - WARM_UP) % STEP === 0) {
          memory.push(await readMemory(server.url));
        }
      }
    }));
    const seconds = (performance.now() - start) / 1000;
    memory.push(await readMemory(server.url));
    await server.end("SIGTERM");
    await using store = await openStore(path, { publish: false });
    assertEquals(
      await store.query("select count(*) as n from core.requests"),
      [{ n: answered + memory.length }],
    );
    const show = ({ resident, database }: Memory) =>
      [resident, database].map((bytes) => Math.round(bytes / 2 ** 20)).join("/");
    const line = `${answered} requests in ${seconds.toFixed(0)} s; MiB in all/in DuckDB after ` +
      `${WARM_UP} and every ${STEP} more: ${memory.map(show).join(", ")}\n`;
    Deno.stderr.writeSync(new TextEncoder().encode(line));
    const limit = MAX_GROWTH_MIB * 2 ** 20 + MAX_GROWTH_BYTES_PER_REQUEST * (REQUESTS - WARM_UP);
    assert(memory[memory.length - 1].resident - memory[0].resident < limit, line);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
