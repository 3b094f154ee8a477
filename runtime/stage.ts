/**
 * The contract of a stage: a function from plain data to plain data, with parsed parameters.
 *
 * Inputs and outputs are JSON: tables, matrices and models stay in the store and a stage passes a
 * handle (table name and content hash, artifact hash, version number). So every stage can be cached,
 * resumed and read by a person.
 *
 * @module
 */
import type { z } from "zod";
import type { Finding, Plugin, Plugins } from "../plugins/plugin.ts";
import type { Store } from "./store/store.ts";

/** One step of the pipeline. */
export interface Stage<In, Out, P = unknown> {
  readonly name: string;
  /** One line for lists and help. */
  readonly summary: string;
  /** `import.meta.url` of the stage's file: a change in what it imports is a change of the stage. */
  readonly module?: string;
  readonly params: z.ZodType<P>;
  /** Checks what only plugins can know, such as a trainer's parameters, before any stage runs. */
  validate?(params: P, plugins: Plugins): void;
  /** What an outcome depends on beside input, parameters and code, as JSON: the SQL of alerts, say. */
  dependsOn?(params: P, plugins: Plugins): unknown;
  run(input: In, params: P, context: Context): Promise<Out>;
  /** One line about an output, shown when the stage has finished or was cached. */
  describe?(output: Out): string;
  /** HTML of an output, with which it draws itself in a notebook cell. */
  display?(output: Out): string;
  /** Whether what an earlier run left in the world still stands, so that its output may be reused. */
  isCurrent?(output: Out, params: P, context: Context): Promise<boolean>;
}

/** What a stage may touch besides its input. */
export interface Context {
  readonly runId: string;
  /** Name of the use case, which names its tables and its model. */
  readonly name: string;
  readonly environment: string;
  readonly seed: number;
  readonly store: Store;
  readonly plugins: Plugins;
  readonly signal: AbortSignal;
  /** Folder against which relative URIs of the config resolve. */
  readonly baseDir: string;
  /** Asks the prediction server: the one that runs, or one within this process. */
  request(path: string, init?: RequestInit): Promise<Response>;
  /** Tells people of alerts as the config says, and gives why a sink took nothing, by name. */
  tell(
    alerts: readonly Plugin<"alert">[],
    about: {
      readonly model: string;
      readonly version: number;
      /** Sinks that hear of alerts that name none. */
      readonly sinks: readonly string[];
    },
  ): Promise<ReadonlyMap<string, string>>;
  /** Records one metric of the run. */
  log(metric: string, value: number, step?: number): void;
  /** Records a finding of the run and shows it. */
  report(finding: Finding): void;
  /** Shows how far a long stage is: share in `[0, 1]` and a few words. */
  progress(share: number, text?: string): void;
}

/** Declares a stage; the types of input, output and parameters flow from `run` and `params`. */
export function defineStage<In, Out, P>(stage: Stage<In, Out, P>): Stage<In, Out, P> {
  return stage;
}
