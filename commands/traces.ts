/** `deno task traces …`. */
import { resolve } from "node:path";
import { UsageError } from "../runtime/errors.ts";
import type { Store } from "../runtime/store/store.ts";
import { formatTable, print } from "../runtime/terminal.ts";
import { archiveTraces } from "../runtime/traces/archive.ts";
import { exportSpans } from "../runtime/traces/otlp/export.ts";
import { listTraces, readTrace, type TraceFilter, writeTrace } from "../runtime/traces/read.ts";
import { type Action, readLimit, runAction } from "./actions.ts";
import { readTime } from "./alerts/action.ts";
import type { Arguments } from "./arguments.ts";
import { checkName, readNumber, readText } from "./options.ts";
import { describeTrace, toLine } from "./traces_text.ts";

/** Runs one action on the traces of the store. */
export function run(args: Arguments): Promise<number | void> {
  return runAction("traces", actions, args);
}

const range = ["from", "to"];

const actions: Readonly<Record<string, Action>> = {
  list: {
    positionals: [],
    options: [...range, "judge", "llm", "status", "min-ms", "limit"],
    async handle(store, args) {
      const traces = await listTraces(store, readFilter(args));
      if (args.options.json === true) return print(JSON.stringify(traces));
      if (traces.length === 0) return print("no trace is like that");
      print(formatTable(
        [
          "started",
          "trace",
          "name",
          "ms",
          "spans",
          "errors",
          "judge",
          "model",
          "in",
          "out",
          "cost",
        ],
        traces.map((trace) => [
          trace.started_at.slice(0, 19).replace("T", " "),
          trace.trace_id,
          toLine(trace.name),
          trace.duration_ms,
          trace.spans,
          trace.errors,
          trace.judge && toLine(trace.judge),
          trace.model && toLine(trace.model),
          trace.tokens_in,
          trace.tokens_out,
          trace.cost,
        ]),
      ));
    },
  },
  show: {
    positionals: ["ID"],
    options: [],
    async handle(store, { options }, id) {
      const trace = await readTrace(store, await findId(store, id));
      if (trace === null) throw missing(id);
      print(options.json === true ? writeTrace(trace) : describeTrace(trace));
    },
  },
  export: {
    positionals: [],
    options: [...range, "otlp"],
    async handle(store, args) {
      const url = readText(args.options.otlp);
      if (url === undefined) {
        throw new UsageError(
          "Cannot export traces without --otlp: name a collector, such as http://127.0.0.1:4318",
        );
      }
      const sent = await exportSpans(store, { url, ...readRange(args), signal: args.signal });
      if (args.options.json === true) print(JSON.stringify(sent));
      else {print(
          `${sent.spans} spans sent${sent.rejected > 0 ? `, ${sent.rejected} not taken` : ""}`,
        );}
      return sent.rejected > 0 ? 1 : 0;
    },
  },
  archive: {
    positionals: ["DIR"],
    options: ["before"],
    async handle(store, { options, signal }, folder) {
      const now = Date.now();
      const before = new Date(readTime("before", options.before, now) ?? startOfDay(now));
      const done = await archiveTraces(store, { folder, before, signal });
      if (options.json === true) return print(JSON.stringify(done));
      if (done.finished > 0) print(`finished ${done.finished} archives that had been begun`);
      print(
        `${done.spans} spans and ${done.calls} calls from before ${before.toISOString()} are in ${
          resolve(folder)
        }, and no longer in the store`,
      );
    },
  },
};

/** Today's traces still grow. */
function startOfDay(now: number): number {
  return Date.parse(new Date(now).toISOString().slice(0, 10));
}

function readRange({ options }: Arguments): { from?: Date; to?: Date } {
  const now = Date.now();
  const from = readTime("from", options.from, now);
  const to = readTime("to", options.to, now);
  return {
    ...(from === undefined ? {} : { from: new Date(from) }),
    ...(to === undefined ? {} : { to: new Date(to) }),
  };
}

function readFilter(args: Arguments): TraceFilter {
  const { options } = args;
  const judge = readText(options.judge);
  const model = readText(options.llm);
  const status = readText(options.status);
  return {
    ...readRange(args),
    ...(judge === undefined ? {} : { judge }),
    ...(model === undefined ? {} : { model }),
    ...(status === undefined ? {} : { status: checkName("status", status, ["ok", "error"]) }),
    ...(options["min-ms"] === undefined ? {} : { minMs: readNumber("min-ms", options["min-ms"]) }),
    limit: readLimit(args),
  };
}

/** The whole id of a trace of which the beginning was given. */
async function findId(store: Store, begin: string): Promise<string> {
  const text = begin.toLowerCase();
  if (!/^[0-9a-f]{4,32}$/.test(text)) throw missing(begin);
  const found = await store.query<{ trace_id: string }>(
    "select distinct trace_id from core.spans where starts_with(trace_id, ?) order by 1 limit 2",
    [text],
  );
  if (found.length === 0) throw missing(begin);
  if (found.length === 1) return found[0].trace_id;
  throw new UsageError(`Cannot choose trace "${begin}": more than one begins so; write more of it`);
}

function missing(id: string): UsageError {
  return new UsageError(
    `Cannot find trace "${id}": there is none; "deno task traces" lists the newest, and four digits ` +
      "of an id are enough",
  );
}
