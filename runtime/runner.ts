/**
 * Runs stages in order: parses their parameters first, reuses what an earlier run already made,
 * times and records everything as rows.
 *
 * @module
 */
import { isAbsolute, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Finding, Plugins } from "../plugins/plugin.ts";
import { sha256 } from "./artifacts.ts";
import { hashCode } from "./code_hash.ts";
import { type Config, parseParams } from "./config.ts";
import { describeError, UsageError } from "./errors.ts";
import { userName } from "./registry/model_registry.ts";
import type { Context, Stage } from "./stage.ts";
import type { Step, Store } from "./store/store.ts";

// deno-lint-ignore no-explicit-any -- a list holds stages of every type
export type AnyStage = Stage<any, any, any>;

/** How a stage ended. */
export interface StageResult {
  readonly stage: string;
  readonly status: "done" | "cached" | "failed" | "cancelled" | "skipped" | "would run";
  /** Why it ran or did not, such as `parameters changed: trainer`. */
  readonly reason: string;
  readonly seconds: number;
  readonly summary: string;
}

/** Shows a run to a person; every method is optional. */
export interface Reporter {
  stageStarted?(stage: string): void;
  progress?(stage: string, share: number, text: string): void;
  stageFinished?(result: StageResult): void;
  finding?(finding: Finding): void;
}

/** Which part of the pipeline to run, and how. */
export interface Selection {
  /** First stage that runs; what lies before it is taken from the last run. */
  readonly from?: string;
  /** Last stage that runs. */
  readonly to?: string;
  /** Says what would run and changes nothing. */
  readonly isDryRun?: boolean;
}

/** What a run needs. */
export interface RunOptions {
  readonly config: Config;
  readonly store: Store;
  readonly plugins: Plugins;
  /** The stages in order; `run` refuses others only when a selection names them. */
  readonly stages: readonly AnyStage[];
  readonly request: Context["request"];
  /** How stages tell people of alerts; without it they tell nobody. */
  readonly tell?: Context["tell"];
  readonly signal?: AbortSignal;
  readonly reporter?: Reporter;
  readonly selection?: Selection;
  readonly baseDir?: string;
}

/** Thrown when a stage fails; `cause` is the original error. */
export class StageError extends Error {
  override readonly name = "StageError";
  constructor(readonly stage: string, cause: unknown) {
    super(`Cannot finish stage "${stage}"`, { cause });
  }
}

/** Ends a pipeline early on purpose: the last selected stage has finished. */
export class PipelineStop extends Error {
  override readonly name = "PipelineStop";
}

/** An open run: `await run(features, silver)`. */
export interface Run {
  <Out, P>(stage: Stage<void, Out, P>): Promise<Out>;
  <In, Out, P>(stage: Stage<In, Out, P>, input: In): Promise<Out>;
  readonly id: string;
  readonly results: readonly StageResult[];
  readonly findings: readonly Finding[];
  /** Output of each stage that finished or was taken from an earlier run, by name. */
  readonly outputs: ReadonlyMap<string, unknown>;
  /** Closes the run as done, or as failed with the error. */
  finish(error?: unknown): Promise<void>;
}

/**
 * Opens a run: checks the selection and every stage's parameters, and records it.
 * @throws {UsageError} when a stage, parameter or plugin does not exist.
 */
export async function openRun(options: RunOptions): Promise<Run> {
  const runner = new Runner(options);
  await runner.start();
  const run = ((stage: AnyStage, input?: unknown) => runner.run(stage, input)) as Run;
  return Object.defineProperties(run, {
    id: { value: runner.id },
    results: { value: runner.results },
    findings: { value: runner.findings },
    outputs: { value: runner.outputs },
    finish: { value: (error?: unknown) => runner.finish(error) },
  });
}

/**
 * Gives the parameters of each stage, checked also for what only plugins can know.
 * @throws {UsageError} that names the stage and what is wrong.
 */
export function checkStages(
  stages: readonly AnyStage[],
  config: Config,
  plugins: Plugins,
): Map<string, unknown> {
  return new Map(stages.map((stage) => {
    // A config's sections are parsed already; a stage it does not know has its defaults.
    const params = config.sections[stage.name] ?? parseParams(stage.params, {}, stage.name);
    try {
      stage.validate?.(params, plugins);
    } catch (error) {
      if (error instanceof UsageError) throw error;
      throw new UsageError(`Cannot use ${stage.name}: ${describeError(error)}`, { cause: error });
    }
    return [stage.name, params];
  }));
}

interface KeyParts {
  readonly code: string;
  readonly input: string;
  readonly seed: number;
  readonly params: unknown;
  readonly plugins: unknown;
}

interface StageRun {
  readonly run_id: string;
  readonly cache_key: string;
  readonly key_parts: string;
  readonly output: string;
}

class Runner {
  readonly id = makeRunId();
  readonly results: StageResult[] = [];
  readonly findings: Finding[] = [];
  readonly outputs = new Map<string, unknown>();
  readonly #options: RunOptions;
  readonly #params = new Map<string, unknown>();
  readonly #order: readonly string[];

  constructor(options: RunOptions) {
    this.#options = options;
    this.#order = options.stages.map((stage) => stage.name);
  }

  get #isDryRun(): boolean {
    return this.#options.selection?.isDryRun === true;
  }

  async start(): Promise<void> {
    const { config, stages, plugins, selection = {}, store } = this.#options;
    for (const name of [selection.from, selection.to]) {
      if (name !== undefined && !this.#order.includes(name)) {
        throw new UsageError(`Cannot find stage "${name}": there are ${this.#order.join(", ")}`);
      }
    }
    for (const [name, params] of checkStages(stages, config, plugins)) {
      this.#params.set(name, params);
    }
    if (this.#isDryRun) return;
    await store.transaction([
      ...(store.isOwner
        ? [{
          sql: "update core.runs set status = 'interrupted' where status = 'running' and name = ?",
          params: [config.name],
        }]
        : []),
      {
        sql: `insert into core.runs values (?, ?, ?, ?, 'running', ?, ?, ?, ?, null, null)`,
        params: [
          this.id,
          config.name,
          config.environment,
          config.seed,
          JSON.stringify(config.sections),
          await hashCode(this.#roots()),
          userName(),
          new Date(),
        ],
      },
    ]);
  }

  async finish(error?: unknown): Promise<void> {
    if (this.#isDryRun) return;
    const isFailure = error !== undefined && !(error instanceof PipelineStop);
    const status = !isFailure ? "done" : this.#options.signal?.aborted ? "cancelled" : "failed";
    await this.#options.store.transaction([{
      sql: "update core.runs set status = ?, ended_at = ?, error = ? where run_id = ?",
      params: [status, new Date(), isFailure ? describeError(error) : null, this.id],
    }]);
  }

  async run(stage: AnyStage, input: unknown): Promise<unknown> {
    const { selection = {}, config } = this.#options;
    const position = this.#order.indexOf(stage.name);
    if (!this.#params.has(stage.name)) {
      // A stage of a notebook's own.
      const values = config.sections[stage.name] ?? {};
      this.#params.set(stage.name, parseParams(stage.params, values, stage.name));
    }
    if (selection.to !== undefined && position > this.#order.indexOf(selection.to)) {
      throw new PipelineStop(`Stopped after stage "${selection.to}"`);
    }
    const parts = await this.#keyParts(stage, input);
    const key = await sha256(`${stage.name}\n${canonicalJson(parts)}`);
    if (selection.from !== undefined && position < this.#order.indexOf(selection.from)) {
      return await this.#takeLast(stage, key);
    }
    const isForced = selection.from === stage.name;
    const last = await this.#findLast(stage.name, key);
    const reason = isForced ? "asked for by --from" : explain(parts, last);
    if (last?.cache_key === key && !isForced) {
      const output = JSON.parse(last.output);
      if (await this.#isCurrent(stage, output)) {
        this.#finished(stage, "cached", `unchanged since run ${last.run_id}`, 0, output);
        return output;
      }
    }
    if (this.#isDryRun) {
      this.#finished(stage, "would run", reason, 0, undefined);
      for (const name of this.#order.slice(position + 1)) {
        if (
          selection.to !== undefined &&
          this.#order.indexOf(selection.to) < this.#order.indexOf(name)
        ) break;
        this.#push({
          stage: name,
          status: "would run",
          reason: `follows ${stage.name}`,
          seconds: 0,
          summary: "",
        });
      }
      throw new PipelineStop("Stopped by --dry-run");
    }
    return await this.#execute(stage, input, { parts, key, reason });
  }

  async #execute(
    stage: AnyStage,
    input: unknown,
    { parts, key, reason }: { parts: KeyParts; key: string; reason: string },
  ): Promise<unknown> {
    const { store, config, reporter, signal } = this.#options;
    reporter?.stageStarted?.(stage.name);
    const startedAt = new Date();
    const start = performance.now();
    const metrics: Step[] = [];
    const findings: Finding[] = [];
    const context = this.#context(stage, metrics, findings);
    const record = (status: string, output: string | null, error: string | null): Step[] => [
      {
        sql: "insert into core.stage_runs values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params: [
          this.id,
          config.name,
          stage.name,
          status,
          reason,
          key,
          JSON.stringify(parts),
          output,
          startedAt,
          (performance.now() - start) / 1000,
          error,
        ],
      },
      ...metrics,
      ...findings.map((finding) => this.#findingStep(stage.name, finding)),
    ];
    let json: string;
    try {
      signal?.throwIfAborted();
      const made = await stage.run(input, this.#params.get(stage.name), context);
      json = JSON.stringify(made) ?? "null";
      await store.transaction(record("done", json, null));
    } catch (error) {
      const seconds = (performance.now() - start) / 1000;
      this.#push({
        stage: stage.name,
        status: signal?.aborted ? "cancelled" : "failed",
        reason: describeError(error),
        seconds,
        summary: "",
      });
      // The failure itself is what matters: a store that also fails must not hide it.
      await store.transaction(record("failed", null, describeError(error))).catch(() => {});
      throw new StageError(stage.name, error);
    }
    // What a later run takes from the cache is what this one goes on with.
    const output = JSON.parse(json);
    this.#finished(stage, "done", reason, (performance.now() - start) / 1000, output);
    return output;
  }

  #context(stage: AnyStage, metrics: Step[], findings: Finding[]): Context {
    const { config, store, plugins, signal, request, tell, reporter, baseDir } = this.#options;
    return {
      runId: this.id,
      name: config.name,
      environment: config.environment,
      seed: config.seed,
      store,
      plugins,
      signal: signal ?? new AbortController().signal,
      baseDir: baseDir ?? Deno.cwd(),
      request,
      tell: tell ?? (() => Promise.resolve(new Map())),
      log: (metric, value, step = 0) => {
        metrics.push({
          sql: "insert into core.metrics values (?, ?, ?, ?, ?, ?)",
          params: [
            this.id,
            stage.name,
            metric,
            Number.isFinite(value) ? value : null,
            step,
            new Date(),
          ],
        });
      },
      report: (finding) => {
        findings.push(finding);
        this.findings.push(finding);
        reporter?.finding?.(finding);
      },
      progress: (share, text = "") => reporter?.progress?.(stage.name, share, text),
    };
  }

  #findingStep(stage: string, finding: Finding): Step {
    return {
      sql: "insert into core.findings values (?, ?, ?, ?, ?, ?, ?, ?)",
      params: [
        this.id,
        stage,
        finding.check,
        finding.severity,
        finding.subject ?? null,
        finding.message,
        finding.rows ? JSON.stringify(finding.rows, bigintAsText) : null,
        new Date(),
      ],
    };
  }

  async #keyParts(stage: AnyStage, input: unknown): Promise<KeyParts> {
    const params = this.#params.get(stage.name) ?? null;
    return {
      code: stage.module
        ? await hashCode([stage.module, ...this.#roots()])
        : await sha256(`${stage.run}\n${await hashCode(this.#roots())}`),
      input: await sha256(canonicalJson(input ?? null)),
      seed: this.#options.config.seed,
      params,
      plugins: stage.dependsOn?.(params, this.#options.plugins) ?? null,
    };
  }

  /** Plugins are found by name at run time, so their code counts for every stage. */
  #roots(): string[] {
    const { config, baseDir = Deno.cwd() } = this.#options;
    return [
      new URL("../plugins/mod.ts", import.meta.url).href,
      new URL("../judges/mod.ts", import.meta.url).href,
      ...config.plugins.map((name) =>
        name.startsWith(".") || isAbsolute(name) ? pathToFileURL(resolve(baseDir, name)).href : name
      ),
    ];
  }

  async #findLast(stage: string, key: string): Promise<StageRun | undefined> {
    const [row] = await this.#options.store.query<StageRun & Record<string, unknown>>(
      `select run_id, cache_key, key_parts, output from core.stage_runs
       where name = ? and stage = ? and status = 'done'
       order by cache_key = ? desc, started_at desc limit 1`,
      [this.#options.config.name, stage, key],
    );
    return row;
  }

  async #takeLast(stage: AnyStage, key: string): Promise<unknown> {
    const last = await this.#findLast(stage.name, key);
    if (!last) {
      throw new UsageError(
        `Cannot start from stage "${this.#options.selection?.from}": stage "${stage.name}" has never finished; run the pipeline without --from`,
      );
    }
    const output = JSON.parse(last.output);
    const isSame = last.cache_key === key && await this.#isCurrent(stage, output);
    this.#finished(
      stage,
      "skipped",
      isSame
        ? `taken from run ${last.run_id}`
        : `taken from run ${last.run_id}, though out of date`,
      0,
      output,
    );
    return output;
  }

  async #isCurrent(stage: AnyStage, output: unknown): Promise<boolean> {
    if (!stage.isCurrent) return true;
    const params = this.#params.get(stage.name);
    try {
      return await stage.isCurrent(output, params, this.#context(stage, [], []));
    } catch {
      // What cannot be checked may be gone: the stage makes it again, or says what is wrong.
      return false;
    }
  }

  #finished(
    stage: AnyStage,
    status: StageResult["status"],
    reason: string,
    seconds: number,
    output: unknown,
  ): void {
    const summary = output === undefined || output === null ? "" : stage.describe?.(output) ?? "";
    drawInNotebooks(stage, output, summary);
    this.outputs.set(stage.name, output);
    this.#push({ stage: stage.name, status, reason, seconds, summary });
  }

  #push(result: StageResult): void {
    this.results.push(result);
    this.#options.reporter?.stageFinished?.(result);
  }
}

/** Gives an output the method by which a Jupyter cell draws it; JSON does not see it. */
function drawInNotebooks(stage: AnyStage, output: unknown, summary: string): void {
  if (typeof output !== "object" || output === null) return;
  Object.defineProperty(output, Symbol.for("Jupyter.display"), {
    configurable: true,
    value: () => ({
      "text/plain": `${stage.name}: ${summary}`,
      ...(stage.display ? { "text/html": stage.display(output) } : {}),
    }),
  });
}

/** Why a stage runs although something like it ran before. */
function explain(parts: KeyParts, last: StageRun | undefined): string {
  if (!last) return "first run";
  const before = JSON.parse(last.key_parts) as KeyParts;
  const changes: string[] = [];
  if (before.input !== parts.input) changes.push("input changed");
  if (canonicalJson(before.params) !== canonicalJson(parts.params)) {
    changes.push(`parameters changed: ${changedKeys(before.params, parts.params).join(", ")}`);
  }
  if (before.seed !== parts.seed) changes.push("seed changed");
  if (before.code !== parts.code) changes.push("code changed");
  if (canonicalJson(before.plugins ?? null) !== canonicalJson(parts.plugins)) {
    changes.push("plugins changed");
  }
  return changes.join(", ") || "what it made is gone or out of date";
}

function changedKeys(before: unknown, after: unknown): string[] {
  const a = (before ?? {}) as Record<string, unknown>;
  const b = (after ?? {}) as Record<string, unknown>;
  return [...new Set([...Object.keys(a), ...Object.keys(b)])]
    .filter((key) => canonicalJson(a[key] ?? null) !== canonicalJson(b[key] ?? null));
}

function bigintAsText(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}

/** JSON with sorted keys, so that equal values have equal text. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(
    value,
    (_key, plain) =>
      typeof plain === "object" && plain !== null && !Array.isArray(plain)
        ? Object.fromEntries(Object.entries(plain).sort(([a], [b]) => a < b ? -1 : 1))
        : plain,
  );
}

function makeRunId(): string {
  const time = new Date().toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-");
  return `${time}-${crypto.randomUUID().slice(0, 6)}`;
}
