/**
 * Opens a project for use: config, store, plugins and server wired into one object that commands,
 * scripts and notebooks share.
 *
 * @module
 */
import { resolve } from "node:path";
import { connection, judges } from "./judges/mod.ts";
import { JudgingParams } from "./judges/judging.ts";
import { isJudgeFile, loadJudges } from "./judges/markdown.ts";
import { isPromptReference, openPromptJudge, promptOf } from "./judges/registry/judges.ts";
import type { JudgeScheduleDeps } from "./judges/schedule.ts";
import { loadPlugins } from "./plugins/mod.ts";
import { type Plugin, Plugins } from "./plugins/plugin.ts";
import { AlertingParams } from "./runtime/alerts/params.ts";
import type { ScheduleDeps } from "./runtime/alerts/scheduler.ts";
import { tellAlerts, type TellOptions } from "./runtime/alerts/tell.ts";
import { type Config, type ConfigOptions, DEFAULT_CONFIG, loadConfig } from "./runtime/config.ts";
import { checkProfile } from "./runtime/monitors/bind.ts";
import type { ProfileDefinition } from "./runtime/monitors/definition.ts";
import { readMonitored } from "./runtime/monitors/rows.ts";
import type { MonitorsSampling } from "./runtime/monitors/sampling.ts";
import type { MonitorScheduleDeps } from "./runtime/monitors/schedule.ts";
import type { GateParams } from "./runtime/registry/gate_params.ts";
import { currentVersion } from "./runtime/registry/model_registry.ts";
import { NotificationParams } from "./runtime/notifications/params.ts";
import { ResourceParams } from "./runtime/resources.ts";
import { RetentionParams } from "./runtime/inference/retention.ts";
import { checkStages, openRun, type Reporter, type Run, type Selection } from "./runtime/runner.ts";
import { describeError, UsageError } from "./runtime/errors.ts";
import { openStore, type Store } from "./runtime/store/store.ts";
import { setTracing } from "./runtime/traces/log.ts";
import { TracingParams } from "./runtime/traces/params.ts";
import type { GeophoneApp } from "./server.ts";
import { ServingParams } from "./serving/params.ts";
import { stages } from "./stages/mod.ts";

/** How to open a project. */
export interface ProjectOptions extends ConfigOptions {
  /** Plugins beside the built-in ones and those the config names. */
  readonly plugins?: readonly Plugin[];
  /**
   * Folder against which `file`, the store and relative paths of the config resolve; default the
   * current one.
   */
  readonly baseDir?: string;
  /** DuckDB file instead of the config's, or `:memory:`. */
  readonly store?: string;
  /** Leaves no trace: a store whose file is not there yet is an empty one in memory. */
  readonly isTrial?: boolean;
  /** Whether the store's file is held by a thread of its own, as a server wants it; default false. */
  readonly thread?: boolean;
  /** Whether the store's file may be created; default true. */
  readonly create?: boolean;
}

/** An open project. Close it, or declare it with `await using`. */
export interface Project extends AsyncDisposable {
  readonly config: Config;
  readonly store: Store;
  readonly plugins: Plugins;
  /** Opens a run of stages: `const run = await project.openRun(); await run(ingestion)`. */
  openRun(options?: RunOptions): Promise<Run>;
  /** Asks the prediction server within this process. */
  request(path: string, init?: RequestInit): Promise<Response>;
  close(): Promise<void>;
}

/** Options of one run. */
export interface RunOptions {
  readonly selection?: Selection;
  readonly reporter?: Reporter;
  readonly signal?: AbortSignal;
}

/** The sections a config may have: one per stage, and those of the server, of what is kept, of alerts. */
export const sections = {
  ...Object.fromEntries(stages.map((stage) => [stage.name, stage.params])),
  serving: ServingParams.prefault({}),
  retention: RetentionParams.prefault({}),
  resources: ResourceParams.prefault({}),
  notifications: NotificationParams.prefault({}),
  alerting: AlertingParams.prefault({}),
  tracing: TracingParams.prefault({}),
};

/**
 * Loads the plugins a config names, beside the built-in ones.
 * @throws {UsageError} when one cannot be loaded or its name is taken.
 */
export async function openPlugins(
  specifiers: readonly string[] = [],
  extra: readonly Plugin[] = [],
  baseDir?: string,
): Promise<Plugins> {
  try {
    const files = specifiers.filter((specifier) => !isPromptReference(specifier));
    const modules = files.filter((specifier) => !isJudgeFile(specifier));
    const custom = await loadJudges(files.filter(isJudgeFile), connection, baseDir);
    return new Plugins([...await loadPlugins(modules, baseDir), ...judges, ...custom, ...extra]);
  } catch (error) {
    throw new UsageError(describeError(error).replace(/\.$/, ""), { cause: error });
  }
}

/**
 * Opens a project.
 * @throws {UsageError} when the config, a plugin or a parameter is wrong.
 */
export async function openProject(options: ProjectOptions = {}): Promise<Project> {
  const config = await openConfig(options);
  const plugins = await openPlugins(config.plugins, options.plugins, options.baseDir);
  const prompts = config.plugins.filter(isPromptReference);
  // A config that is wrong leaves no store behind; prompts are in one that is there.
  if (prompts.length === 0) checkStages(stages, config, plugins);
  const isMissing = config.store !== ":memory:" &&
    !await Deno.stat(config.store).then(() => true, () => false);
  if (isMissing && prompts.length > 0) {
    throw new UsageError(
      `Cannot find prompt "${
        promptOf(prompts[0])
      }": there is no store yet; run "deno task pipeline" ` +
        'without it, then "deno task prompts register FILE.md"',
    );
  }
  const store = await openStore(isMissing && options.isTrial ? ":memory:" : config.store, {
    create: prompts.length === 0 && (options.create ?? true),
    thread: options.thread ?? false,
  });
  if (prompts.length > 0) {
    try {
      for (const prompt of prompts) plugins.add(await openPromptJudge(store, prompt, connection));
      checkStages(stages, config, plugins);
    } catch (error) {
      await store.close();
      throw new UsageError(describeError(error).replace(/\.$/, ""), { cause: error });
    }
  }
  setTracing(store, { params: config.sections.tracing as TracingParams });
  let app: Promise<GeophoneApp> | undefined;
  const request = async (path: string, init?: RequestInit) => {
    app ??= openApp({ config, store });
    return await (await app).request(path, init);
  };
  async function close() {
    const opened = await app?.catch(() => undefined);
    await opened?.close();
    await store.close();
  }
  return {
    config,
    store,
    plugins,
    request,
    openRun: (run = {}) =>
      openRun({
        config,
        store,
        plugins,
        stages,
        request,
        tell: (alerts, { model, version, sinks }) =>
          tellAlerts(store, alerts, {
            ...tellDeps(config, plugins),
            model,
            version,
            defaultSinks: sinks,
            signal: run.signal ?? new AbortController().signal,
          }),
        ...(options.baseDir ? { baseDir: options.baseDir } : {}),
        ...run,
      }),
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function openConfig(options: ProjectOptions): Promise<Config> {
  const { baseDir, file = DEFAULT_CONFIG } = options;
  const inBase = (path: string) => baseDir === undefined ? path : resolve(baseDir, path);
  const config = await loadConfig(sections, { ...options, file: inBase(file) });
  const store = options.store ?? config.store;
  return { ...config, store: store === ":memory:" ? store : inBase(store) };
}

/** The prediction server of a config over its store; serves production, else what was deployed. */
export async function openApp(
  { config, store }: { readonly config: Config; readonly store: Store },
): Promise<GeophoneApp> {
  const { createApp } = await import("./server.ts");
  return await createApp({
    store,
    model: config.name,
    aliases: ["production", deployedAlias(config)],
    serving: config.sections.serving as ServingParams,
    gates: config.sections.release as GateParams,
    environment: config.environment,
  });
}

/** Alias that the deployment stage moves. */
export function deployedAlias(config: Config): string {
  return (config.sections.deployment as { alias: string }).alias;
}

/** Judging parameters of a config. */
export function judgingParams(config: Config): ReturnType<typeof JudgingParams.parse> {
  return (config.sections.monitoring as { judging: ReturnType<typeof JudgingParams.parse> })
    .judging;
}

/** The sinks of a project, and how they are told. */
export function tellDeps(
  config: Config,
  plugins: Plugins,
): Pick<TellOptions, "params" | "sinks" | "notifications"> {
  return {
    params: config.sections.alerting as AlertingParams,
    sinks: plugins.list("sink"),
    notifications: config.sections.notifications as NotificationParams,
  };
}

/** What is profiled of a project's model, with the drift methods that its definition names. */
export function monitorDeps(project: Project): Required<MonitorScheduleDeps> {
  const { config, plugins } = project;
  const { profile, sampling } = config.sections.monitoring as {
    readonly profile: ProfileDefinition;
    readonly sampling: Omit<MonitorsSampling, "seed">;
  };
  return {
    definition: profile,
    sampling: { ...sampling, seed: config.seed },
    methods: profile.methods.map((name) => plugins.get("drift", name)),
    target: alertDeps(project).target,
  };
}

/**
 * Refuses expressions of `monitoring.profile` that no window of a version could compute; `null` is the
 * one that a pipeline is about to make, whose inputs are known when the config names its features.
 * @throws {UsageError} with the key of the config.
 */
export async function checkMonitors(
  { config, store }: Project,
  version: { readonly model: string; readonly version: number } | null,
): Promise<void> {
  const { profile } = config.sections.monitoring as { readonly profile: ProfileDefinition };
  if (profile.granularities.length === 0) return;
  const { features } = config.sections.preprocessing as {
    readonly features: "numeric" | readonly string[] | Readonly<Record<string, unknown>>;
  };
  const declared = features === "numeric"
    ? null
    : Array.isArray(features)
    ? features as readonly string[]
    : Object.keys(features);
  const known = version === null ? null : await readMonitored(store, version);
  await checkProfile(store, profile, known?.inputs ?? declared);
}

/** Which alerts of a project are evaluated on which version, and who hears of them. */
export function alertDeps({ config, store, plugins }: Project): ScheduleDeps {
  const monitoring = config.sections.monitoring as {
    readonly alerts: readonly string[] | null;
    readonly sinks: readonly string[];
  };
  return {
    alerts: monitoring.alerts?.map((name) => plugins.get("alert", name)) ?? plugins.list("alert"),
    params: config.sections.alerting as AlertingParams,
    defaultSinks: monitoring.sinks,
    async target() {
      for (const alias of ["production", deployedAlias(config)]) {
        const version = await currentVersion(store, config.name, alias);
        if (version !== null) return { model: config.name, version };
      }
      return null;
    },
  };
}

/** Which judges of a project are asked while a server runs, and about which version. */
export function judgeDeps(project: Project): JudgeScheduleDeps {
  const params = judgingParams(project.config);
  return {
    judges: params.judges.map((name) => project.plugins.get("judge", name)),
    callJudges: params.traces.judges.map((name) => project.plugins.get("judge", name)),
    params,
    seed: project.config.seed,
    target: alertDeps(project).target,
  };
}
