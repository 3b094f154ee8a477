import { assert, assertEquals } from "@std/assert";
import { join } from "node:path";
import { Random } from "../numeric/random.ts";
import { openStore } from "../runtime/store/store.ts";
import { cliArgs, makeFlowers, runCli, withProjectFolder } from "./cli_runner.ts";

/** Rounds of killing; set GEOPHONE_CRASH_ROUNDS for more. */
const ROUNDS = Number(Deno.env.get("GEOPHONE_CRASH_ROUNDS") ?? 4);

/** Rows of the table: enough for a run of about two seconds, so that kills hit all stages. */
const ROWS = 4_000;

const CONFIG = `version: 1
name: flowers
ingestion:
  train: [flowers.csv]
  production: [later.csv]
preprocessing:
  target: Species
training:
  params: { rounds: 20 }
`;

Deno.test("a pipeline killed with -9 leaves a store that opens and that the next run finishes", async () => {
  await withProjectFolder(async (folder) => {
    await Deno.writeTextFile(join(folder, "flowers.csv"), makeFlowers(ROWS));
    await Deno.writeTextFile(join(folder, "later.csv"), makeFlowers(ROWS / 2));
    await Deno.writeTextFile(join(folder, "flowers.yaml"), CONFIG);
    const path = join(folder, "flowers.duckdb");
    const args = (seed: number, store = path) => [
      ...["pipeline", "--config", "flowers.yaml", "--set", `store=${store}`],
      ...["--seed", String(seed)],
    ];
    const start = performance.now();
    assertEquals((await runCli(args(0, join(folder, "first.duckdb")), folder)).code, 0);
    const wholeMs = performance.now() - start;

    const random = new Random(2026);
    const ends: string[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      // Stratified, so that a few rounds already hit early, middle and late stages.
      const share = (round - 1 + random.uniform()) / ROUNDS;
      ends.push(await killAfter(args(round), { folder, delayMs: share * wholeMs }));
      await checkStore(path);

      const next = await runCli(args(round), folder);
      assertEquals(next.code, 0, `Round ${round} (${ends.at(-1)}): ${next.stdout}${next.stderr}`);
      await checkStore(path);
      const again = await runCli([...args(round), "--dry-run"], folder);
      assert(!again.stdout.includes("would run"), `Round ${round}: ${again.stdout}`);
    }
    assert(ends.some((end) => end === "SIGKILL"), `No run was killed in time: ${ends.join(", ")}`);
    await using store = await openStore(path);
    const [{ running }] = await store.query(
      "select count(*) as running from core.runs where status = 'running'",
    );
    assertEquals(running, 0);
  });
});

/** Starts a command, kills it after a while and gives how it ended. */
async function killAfter(
  args: readonly string[],
  { folder, delayMs }: { readonly folder: string; readonly delayMs: number },
): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: cliArgs(args),
    cwd: folder,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const timer = setTimeout(() => {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended in this very moment.
    }
  }, delayMs);
  const { signal, code } = await child.status;
  clearTimeout(timer);
  return signal ?? `exit code ${code}`;
}

/** A stage that is recorded as done has its output, and the tables and artifacts it names. */
async function checkStore(path: string): Promise<void> {
  await using store = await openStore(path);
  const done = await store.query<{ stage: string; output: string | null }>(
    "select stage, output from core.stage_runs where status = 'done'",
  );
  for (const { stage, output } of done) {
    assert(output !== null, `Stage "${stage}" is done without an output`);
    for (const table of findAll(JSON.parse(output), "table")) {
      const [{ rows }] = await store.query(`select count(*) as rows from ${table}`);
      assert(rows as number > 0, `Stage "${stage}" left table ${table} empty`);
    }
    for (const hash of findAll(JSON.parse(output), "artifact")) {
      const found = await store.query("select 1 from core.artifacts where sha256 = ?", [hash]);
      assertEquals(found.length, 1, `Stage "${stage}" left no artifact ${hash}`);
    }
  }
  const orphans = await store.query(
    "select model, alias, version from aliases anti join core.model_versions using (model, version)",
  );
  assertEquals(orphans, []);
}

/** The texts under a key, at any depth. */
function findAll(value: unknown, key: string): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    name === key && typeof inner === "string" ? [inner] : findAll(inner, key)
  );
}
