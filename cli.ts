/**
 * `deno task …`: one thin command per capability. The table below is all that help needs; a
 * command's own code loads when it runs.
 *
 * @module
 */
import { parseArgs } from "node:util";
import type { Arguments } from "./commands/arguments.ts";
import { describeError, suggest, UsageError } from "./runtime/errors.ts";

/** One option of a command. */
interface Option {
  readonly type: "string" | "boolean";
  readonly about: string;
  /** Placeholder of the value in help. */
  readonly value?: string;
  readonly multiple?: boolean;
}

interface Command {
  readonly usage: string;
  readonly summary: string;
  readonly options: Readonly<Record<string, Option>>;
  readonly examples: readonly string[];
  /** Least and most positional arguments. */
  readonly positionals: readonly [number, number];
  readonly load: () => Promise<{ run(args: Arguments): Promise<number | void> }>;
}

const configOptions = {
  config: { type: "string", value: "FILE", about: "use case; default config/wells.yaml" },
  env: { type: "string", value: "NAME", about: "dev (default), staging or production" },
  set: { type: "string", value: "a.b=c", multiple: true, about: "overrides one setting" },
  json: { type: "boolean", about: "print JSON" },
} as const satisfies Record<string, Option>;

const runOptions = {
  ...configOptions,
  seed: { type: "string", value: "N", about: "seed of everything random" },
  quick: { type: "boolean", about: "smaller settings of config/quick.yaml" },
} as const satisfies Record<string, Option>;

const commands: Readonly<Record<string, Command>> = {
  pipeline: {
    usage: "deno task pipeline [options]",
    summary: "runs the nine stages from raw files to a released model",
    options: {
      ...runOptions,
      from: { type: "string", value: "STAGE", about: "start here; earlier outputs are reused" },
      to: { type: "string", value: "STAGE", about: "stop after this stage" },
      only: { type: "string", value: "STAGE", about: "run this stage alone" },
      "dry-run": { type: "boolean", about: "say what would run and why, change nothing" },
    },
    examples: [
      "deno task pipeline",
      "deno task pipeline --quick",
      "deno task pipeline --from training --set training.params.learningRate=0.05",
    ],
    positionals: [0, 0],
    load: () => import("./commands/pipeline.ts"),
  },
  stage: {
    usage: "deno task stage STAGE [options]",
    summary: "runs one stage on the outputs of the last run; --help shows its parameters",
    options: { ...runOptions, "dry-run": { type: "boolean", about: "say whether it would run" } },
    examples: ["deno task stage features", "deno task stage features --help"],
    positionals: [1, 1],
    load: () => import("./commands/stage.ts"),
  },
  init: {
    usage: "deno task init TABLE --target COLUMN [options]",
    summary: "looks at a table and writes a commented config for it",
    options: {
      target: { type: "string", value: "COLUMN", about: "column to predict" },
      group: { type: "string", value: "COLUMN", about: "rows of one group stay together" },
      order: { type: "string", value: "COLUMN", about: "depth or time along which rows neighbor" },
      force: { type: "boolean", about: "overwrite an existing config" },
    },
    examples: ["deno task init my.csv --target Facies --group well --order depth"],
    positionals: [1, 1],
    load: () => import("./commands/init.ts"),
  },
  serve: {
    usage: "deno task serve [options]",
    summary: "serves the released model on http://127.0.0.1:8000",
    options: {
      ...configOptions,
      port: { type: "string", value: "N", about: "port; default 8000" },
      host: { type: "string", value: "NAME", about: "address; another than loopback needs a key" },
    },
    examples: ["deno task serve", "deno task serve --port 8080"],
    positionals: [0, 0],
    load: () => import("./commands/serve.ts"),
  },
  predict: {
    usage: "deno task predict IN OUT [options]",
    summary: "adds prediction, confidence and probabilities to a table",
    options: {
      ...configOptions,
      model: { type: "string", value: "REF", about: "alias or version; default production" },
    },
    examples: ["deno task predict data/P-130.las.gz predictions.csv"],
    positionals: [2, 2],
    load: () => import("./commands/predict.ts"),
  },
  sql: {
    usage: 'deno task sql "select …" [options]',
    summary: "asks the store, also while the server runs; read-only",
    options: {
      ...configOptions,
      csv: { type: "boolean", about: "print CSV" },
      format: {
        type: "string",
        value: "FORM",
        about: "table (default), json, ndjson, csv or arrow",
      },
      out: { type: "string", value: "FILE", about: "write to a file, whole or not at all" },
      limit: { type: "string", value: "N", about: "most rows; default 1000" },
    },
    examples: [
      'deno task sql "select endpoint, status_code, count(*) from requests group by all"',
      'deno task sql "from models" --json',
      'deno task sql "from inferences" --format arrow --limit 100000 --out inferences.arrows',
    ],
    positionals: [1, 1],
    load: () => import("./commands/sql.ts"),
  },
  labels: {
    usage: 'deno task labels FILE | --sql "select …" [options]',
    summary: "stores the truth about predictions from a table of request_id, row and label",
    options: {
      ...configOptions,
      sql: { type: "string", value: "SELECT", about: "the labels, from the store itself" },
      source: { type: "string", value: "NAME", about: "who or what knows, such as a lab" },
      check: { type: "boolean", about: "say what would be stored, change nothing" },
      "allow-missing": { type: "boolean", about: "leave out labels of what was never predicted" },
      "allow-new-classes": { type: "boolean", about: "take classes that the model does not know" },
    },
    examples: [
      "deno task labels cores.csv --source lab --check",
      `deno task labels --sql "select request_id, row, 'shale' as label from inferences where slice = 'P-130'"`,
    ],
    positionals: [0, 1],
    load: () => import("./commands/labels.ts"),
  },
  alerts: {
    usage: "deno task alerts [NAME…|silence MATCHER…|snooze NAME|ack NAME|unsilence ID|silences|" +
      "report|explain NAME|backtest NAME|deliveries|deliver|replay ID|test [FILE]|new NAME] [options]",
    summary: "evaluates the SQL alerts and shows what fires; silences, tests and backtests them",
    options: {
      ...configOptions,
      model: { type: "string", value: "REF", about: "alias or version; default production" },
      for: { type: "string", value: "TIME", about: "how long a silence holds; default 2h" },
      note: { type: "string", value: "TEXT", about: "why it is silenced, or who does what" },
      from: { type: "string", value: "TIME", about: "begin, such as 2026-01-31 or 7d (default)" },
      to: { type: "string", value: "TIME", about: "end; default now" },
      step: { type: "string", value: "TIME", about: "between evaluations of a backtest" },
      state: { type: "string", value: "STATE", about: "with deliveries: pending, delivered, dead" },
    },
    examples: [
      "deno task alerts",
      "deno task alerts data_drift",
      "deno task alerts silence 'severity=\"warning\"' 'subject=~\"P-13.*\"' --for 4h --note drill",
      "deno task alerts backtest low_confidence --from 30d --step 1h",
      "deno task alerts report",
    ],
    positionals: [0, 100],
    load: () => import("./commands/alerts.ts"),
  },
  monitor: {
    usage: "deno task monitor [profile] [--once|--daemon] [options]",
    summary: "computes closed windows and evaluates the alerts; profile shows the latest window",
    options: {
      ...configOptions,
      model: { type: "string", value: "REF", about: "not with --daemon; default production" },
      once: { type: "boolean", about: "every alert now, then end (the default)" },
      daemon: { type: "boolean", about: "by schedule, until a signal; beside a server, too" },
    },
    examples: [
      "deno task monitor --once",
      "deno task monitor profile",
      "deno task monitor --daemon --env production",
    ],
    positionals: [0, 1],
    load: () => import("./commands/monitor.ts"),
  },
  why: {
    usage: "deno task why ALERT [options]",
    summary: "ranks what explains the change that an alert reports: features, sources, versions",
    options: {
      ...configOptions,
      model: { type: "string", value: "REF", about: "alias or version; default production" },
      at: { type: "string", value: "TIME", about: "end of the window; default when it fired" },
      window: { type: "string", value: "TIME", about: "its length; default as the alert's" },
    },
    examples: ["deno task why low_confidence", "deno task why error_rate --window 6h --json"],
    positionals: [1, 1],
    load: () => import("./commands/why.ts"),
  },
  judge: {
    usage: "deno task judge [JUDGE…] [options]",
    summary: "judges a sample of the predictions, or calls of models, that were not judged yet",
    options: {
      ...configOptions,
      model: { type: "string", value: "REF", about: "alias or version; default production" },
      rate: { type: "string", value: "P", about: "sampling rate in [0, 1]" },
      traces: { type: "boolean", about: "judge calls of language models in traces" },
    },
    examples: [
      "deno task judge",
      "deno task judge rule --rate 0.1",
      "deno task judge --traces safety relevance",
    ],
    positionals: [0, 100],
    load: () => import("./commands/judge.ts"),
  },
  judges: {
    usage: "deno task judges [list|report [JUDGE…]|card NAME|compare NAME NAME|doctor NAME|" +
      "label [FILE]|new NAME] [options]",
    summary: "shows what judges are worth, takes people's labels, examines and compares judges",
    options: {
      ...configOptions,
      model: { type: "string", value: "REF", about: "alias or version; default production" },
      rows: { type: "string", value: "N", about: "held-out rows to ask about at most" },
      cases: { type: "string", value: "KIND", about: "of a card: labels, mistakes or swapped" },
      judge: { type: "string", value: "NAME", about: "with label: the judge whose question it is" },
      by: { type: "string", value: "NAME", about: "with label: who says so; default the user" },
    },
    examples: [
      "deno task judges",
      "deno task judges report",
      "deno task judges card combined",
      "deno task judges compare combined rule",
      "deno task judges doctor llm",
      "deno task judges label",
      "deno task judges label checked.csv --by lab",
      "deno task judges new polite",
    ],
    positionals: [0, 100],
    load: () => import("./commands/judges.ts"),
  },
  traces: {
    usage: "deno task traces [list|show ID|export --otlp URL|archive DIR] [options]",
    summary: "shows what language models were asked, sends it to a collector, archives it",
    options: {
      ...configOptions,
      from: { type: "string", value: "TIME", about: "begin, such as 2026-01-31 or 7d" },
      to: { type: "string", value: "TIME", about: "end" },
      judge: { type: "string", value: "NAME", about: "traces with a call of this judge" },
      llm: { type: "string", value: "NAME", about: "traces with a call of this language model" },
      status: { type: "string", value: "STATUS", about: "ok or error" },
      "min-ms": { type: "string", value: "N", about: "traces that took so many milliseconds" },
      limit: { type: "string", value: "N", about: "most traces, the newest; default 50" },
      otlp: { type: "string", value: "URL", about: "collector that spans are sent to" },
      before: { type: "string", value: "TIME", about: "archive what began before; default today" },
    },
    examples: [
      "deno task traces --judge llm --status error",
      "deno task traces show 0af76519",
      "deno task traces export --otlp http://127.0.0.1:4318 --from 1d",
      "deno task traces archive archive --before 30d",
    ],
    positionals: [0, 2],
    load: () => import("./commands/traces.ts"),
  },
  summarize: {
    usage: "deno task summarize alerts|model [REF] [options]",
    summary: "lists facts of alerts or a model, with a text a language model wrote of them",
    options: {
      ...configOptions,
      days: { type: "string", value: "N", about: "with alerts: so many days; default 7" },
      model: { type: "string", value: "REF", about: "with alerts: of this version; default all" },
    },
    examples: [
      "deno task summarize alerts --days 1",
      "deno task summarize model production",
    ],
    positionals: [1, 2],
    load: () => import("./commands/summarize.ts"),
  },
  replay: {
    usage: "deno task replay REQUEST_ID [options]",
    summary: "repeats a logged request on the model bytes that answered it",
    options: { ...configOptions },
    examples: [
      "deno task replay \"$(deno task -q sql --csv 'select request_id from requests limit 1' | tail -1)\"",
    ],
    positionals: [1, 1],
    load: () => import("./commands/replay.ts"),
  },
  models: {
    usage: "deno task models [list|show [REF]|card [REF]|compare CHAMPION CHALLENGER|history|" +
      "at ALIAS TIME|approve REF|reject REF|promote REF ALIAS|rollback [ALIAS]|" +
      "push REF --to ENV] [options]",
    summary: "shows, compares, approves and promotes versions",
    options: {
      ...configOptions,
      reason: { type: "string", value: "TEXT", about: "why; kept in the history" },
      force: { type: "boolean", about: "promote against the gates; needs --reason" },
      to: { type: "string", value: "NAME", about: "environment to push to" },
      alias: { type: "string", value: "NAME", about: "alias to promote to after the push" },
      out: { type: "string", value: "FILE", about: "write the card to a file" },
    },
    examples: [
      "deno task models",
      "deno task models show production",
      "deno task models promote challenger production",
      "deno task models push 3 --to staging --alias production",
      "deno task models at production 2026-03-31T12:00",
      "deno task models compare production challenger",
      'deno task models rollback production --reason "worse on P-135"',
    ],
    positionals: [0, 3],
    load: () => import("./commands/models.ts"),
  },
  keys: {
    usage: "deno task keys [list|create NAME|rotate NAME|revoke NAME|ID|history] [options]",
    summary: "makes, rotates and revokes the API keys of a server",
    options: {
      ...configOptions,
      role: { type: "string", value: "ROLE", about: "viewer, predictor, operator or admin" },
      expires: {
        type: "string",
        value: "TIME",
        about: "works so long, such as 90d; default always",
      },
      "requests-per-minute": { type: "string", value: "N", about: "most requests; default any" },
      "rows-per-minute": { type: "string", value: "N", about: "most rows; default any" },
      "requests-per-day": { type: "string", value: "N", about: "most requests; default any" },
      "rows-per-day": { type: "string", value: "N", about: "most rows; default any" },
      grace: { type: "string", value: "TIME", about: "the old secret works on; default 24h" },
      reason: { type: "string", value: "TEXT", about: "why; kept in the history" },
    },
    examples: [
      "deno task keys create ci --role predictor --expires 90d --rows-per-minute 100000",
      "deno task keys rotate ci --grace 1h",
      'deno task keys revoke ci --reason "in a public log"',
    ],
    positionals: [0, 2],
    load: () => import("./commands/keys.ts"),
  },
  audit: {
    usage: "deno task audit [list|verify] [options]",
    summary: "shows who changed what, and checks that nobody changed the log",
    options: {
      ...configOptions,
      limit: { type: "string", value: "N", about: "most entries, the newest; default 50" },
      head: { type: "string", value: "HASH", about: "a head printed before; must be on the chain" },
    },
    examples: ["deno task audit", "deno task audit verify --head HASH"],
    positionals: [0, 2],
    load: () => import("./commands/audit.ts"),
  },
  retention: {
    usage: "deno task retention [options]",
    summary: "takes away what section retention of the config no longer keeps",
    options: {
      ...configOptions,
      check: { type: "boolean", about: "say what would go, change nothing" },
    },
    examples: [
      "deno task retention --check --set retention.maxAgeDays=90",
      "deno task retention --env production",
    ],
    positionals: [0, 0],
    load: () => import("./commands/retention.ts"),
  },
  forecast: {
    usage: "deno task forecast [options]",
    summary: "forecasts the requests of the next hours, and the replicas they take",
    options: {
      ...configOptions,
      hours: { type: "string", value: "N", about: "hours to come, at most 672; default 24" },
      format: { type: "string", value: "FORM", about: "table (default), json, csv or svg" },
      out: { type: "string", value: "FILE", about: "write to a file, whole or not at all" },
    },
    examples: [
      "deno task forecast --hours 48",
      "deno task forecast --format svg --out demand.svg",
    ],
    positionals: [0, 0],
    load: () => import("./commands/forecast.ts"),
  },
  webhooks: {
    usage: "deno task webhooks [list|create NAME|update NAME|delete NAME|deliver|deliveries|" +
      "replay ID|test NAME] [options]",
    summary: "tells others what changes in the registry, and shows what they were told",
    options: {
      ...configOptions,
      url: { type: "string", value: "URL", about: "where to POST, http or https" },
      event: {
        type: "string",
        value: "EVENT",
        multiple: true,
        about: "what to tell, such as model_version.created; may stand more than once",
      },
      description: { type: "string", value: "TEXT", about: "what it is for" },
      "secret-env": {
        type: "string",
        value: "NAME",
        about: "variable GEOPHONE_… with the secret; default a new one, printed once",
      },
      unsigned: { type: "boolean", about: "without a secret and signature" },
      "allow-local": { type: "boolean", about: "may lead to private and loopback addresses" },
      status: { type: "string", value: "STATUS", about: "active or disabled" },
      state: { type: "string", value: "STATE", about: "pending, delivered, dead or dropped" },
      limit: { type: "string", value: "N", about: "most deliveries, the newest; default 50" },
    },
    examples: [
      "deno task webhooks create chat --url https://example.com/hook --event model_version.created",
      "deno task webhooks deliveries --state dead",
      "deno task webhooks deliver",
    ],
    positionals: [0, 2],
    load: () => import("./commands/webhooks.ts"),
  },
  prompts: {
    usage: "deno task prompts [list|register FILE|show NAME|alias NAME ALIAS] [options]",
    summary: "keeps the texts that judges ask, as versions under aliases",
    options: {
      ...configOptions,
      message: { type: "string", value: "TEXT", about: "with register: why it is changed" },
    },
    examples: [
      'deno task prompts register config/judges/polite.md --message "names the audience"',
      "deno task prompts show polite@production",
      "deno task prompts alias polite/2 production",
    ],
    positionals: [0, 3],
    load: () => import("./commands/prompts.ts"),
  },
  plugins: {
    usage: "deno task plugins [KIND] [options]",
    summary: "lists what can be swapped",
    options: { ...configOptions },
    examples: ["deno task plugins", "deno task plugins trainer"],
    positionals: [0, 1],
    load: () => import("./commands/plugins.ts"),
  },
  doctor: {
    usage: "deno task doctor [options]",
    summary: "checks this machine, the config, the store and the model",
    options: { ...configOptions },
    examples: ["deno task doctor"],
    positionals: [0, 0],
    load: () => import("./commands/doctor.ts"),
  },
  notebook: {
    usage: "deno task notebook FILE.ipynb [OUT.ipynb]",
    summary: "runs a notebook without Python and type-checks its cells",
    options: {
      set: {
        type: "string",
        value: "name=value",
        multiple: true,
        about: 'changes a value of the cells tagged "parameters"',
      },
      json: { type: "boolean", about: "print JSON" },
      "no-check": { type: "boolean", about: "skip the type check" },
    },
    examples: [
      "deno task notebook notebooks/01_quickstart.ipynb",
      "deno task notebook notebooks/01_quickstart.ipynb out.ipynb --set seed=7",
    ],
    positionals: [1, 2],
    load: () => import("./commands/notebook.ts"),
  },
};

const common: Readonly<Record<string, Option>> = {
  help: { type: "boolean", about: "show this help" },
  debug: { type: "boolean", about: "show stack traces" },
};

/** Runs the command line and gives its exit code: 0 done, 1 failed, 2 asked for wrongly. */
export async function main(args: readonly string[]): Promise<number> {
  const isDebug = args.includes("--debug");
  try {
    return await dispatch(args);
  } catch (error) {
    const isUsage = error instanceof UsageError;
    const text = isDebug && error instanceof Error ? describeStack(error) : describeError(error);
    await write(Deno.stderr, `${text}\n`);
    return isUsage || hasUsageCause(error) ? 2 : 1;
  }
}

async function dispatch(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args[0] === "help" && args.length > 1 ? [args[1], "--help"] : args;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    await write(Deno.stdout, describeCommands());
    return 0;
  }
  const command = commands[name];
  if (!command) {
    const near = suggest(name, Object.keys(commands));
    throw new UsageError(
      `Cannot find command "${name}"${near ? `; did you mean "${near}"? There` : ": there"} are ${
        Object.keys(commands).join(", ")
      }`,
    );
  }
  const { options, positionals } = parseOptions(name, command, rest);
  if (options.help && !(name === "stage" && positionals.length === 1)) {
    await write(Deno.stdout, describeCommand(command));
    return 0;
  }
  const [least, most] = command.positionals;
  if (positionals.length < least || positionals.length > most) {
    throw new UsageError(
      `Cannot run "${name}" with ${positionals.length} arguments; usage: ${command.usage}`,
    );
  }
  const { run } = await command.load();
  const abort = new AbortController();
  const stop = () => abort.abort(new Error("Stopped by a signal"));
  Deno.addSignalListener("SIGINT", stop);
  Deno.addSignalListener("SIGTERM", stop);
  try {
    return await run({ positionals, options, signal: abort.signal }) ?? 0;
  } finally {
    Deno.removeSignalListener("SIGINT", stop);
    Deno.removeSignalListener("SIGTERM", stop);
  }
}

function parseOptions(name: string, command: Command, args: string[]) {
  const known = { ...command.options, ...common };
  const config = Object.fromEntries(
    Object.entries(known).map(([key, { type, multiple }]) => [key, {
      type,
      multiple: multiple ?? false,
      ...(key === "help" ? { short: "h" } : {}),
    }]),
  );
  try {
    const { values, positionals } = parseArgs({
      args,
      options: config,
      allowPositionals: true,
      strict: true,
    });
    return { options: values as Arguments["options"], positionals };
  } catch (error) {
    const flag = /'(?:-\w, )?--?([\w-]+)/.exec((error as Error).message)?.[1];
    if (flag !== undefined && !(flag in known)) {
      const near = suggest(flag, Object.keys(known));
      throw new UsageError(
        `Cannot use option "--${flag}" of "${name}": unknown${
          near ? `; did you mean "--${near}"?` : ""
        }; see "deno task ${name} --help"`,
        { cause: undefined },
      );
    }
    throw new UsageError(
      `Cannot read the options of "${name}": ${
        (error as Error).message.split(".")[0]
      }; see "deno task ${name} --help"`,
    );
  }
}

function describeCommands(): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length));
  const lines = Object.entries(commands).map(([name, { summary }]) =>
    `  deno task ${name.padEnd(width)}  ${summary}`
  );
  return `Geophone: from raw files to a served, logged, judged, alerted model\n\n${
    lines.join("\n")
  }\n\nEvery command has --help. Exit codes: 0 done, 1 failed, 2 asked for wrongly.\n`;
}

function describeCommand({ usage, summary, options, examples }: Command): string {
  const rows = Object.entries({ ...options, ...common }).map(([name, { value, about }]) =>
    [`--${name}${value ? ` ${value}` : ""}`, about] as const
  );
  const width = Math.max(...rows.map(([flag]) => flag.length));
  return `${usage}\n\n${summary}\n\nOptions:\n${
    rows.map(([flag, about]) => `  ${flag.padEnd(width)}  ${about}`).join("\n")
  }\n\nExamples:\n${examples.map((example) => `  ${example}`).join("\n")}\n`;
}

function describeStack(error: Error): string {
  const cause = error.cause instanceof Error ? `\nCaused by: ${describeStack(error.cause)}` : "";
  return `${error.stack ?? error.message}${cause}`;
}

function hasUsageCause(error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause) if (e instanceof UsageError) return true;
  return false;
}

async function write(stream: typeof Deno.stdout, text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  for (let offset = 0; offset < bytes.length;) {
    offset += await stream.write(bytes.subarray(offset));
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
