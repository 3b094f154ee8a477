/** `deno task labels FILE` and `deno task labels --sql "select …"`. */
import type { Arguments } from "./arguments.ts";
import { UsageError } from "../runtime/errors.ts";
import {
  importLabels,
  type ImportReport,
  type LabelTable,
  openLabelFile,
  openLabelQuery,
} from "../runtime/inference/label_import.ts";
import { LabelsRefusedError } from "../runtime/inference/labels.ts";
import { openStore, type Store } from "../runtime/store/store.ts";
import { formatCount, print } from "../runtime/terminal.ts";
import { readText } from "./options.ts";
import { loadStorePath } from "./store_path.ts";

/** Stores the labels of a file or of a query, or says what they are. */
export async function run(args: Arguments): Promise<void> {
  const { options, positionals: [file] } = args;
  const sql = readText(options.sql);
  if ((file === undefined) === (sql === undefined)) {
    throw new UsageError(
      file === undefined
        ? "Cannot store labels of nothing: name a file, or give --sql"
        : `Cannot store labels of "${file}" and of --sql at once: choose one`,
    );
  }
  await using store = await openStore(await loadStorePath(args), { create: false, publish: false });
  const isCheck = options.check === true;
  const table = sql === undefined
    ? await openFile(store, file, args)
    : await openLabelQuery(store, sql);
  const report = await importLabels(store, table, {
    source: readText(options.source) ?? null,
    isCheck,
    allowMissing: options["allow-missing"] === true,
    allowNewClasses: options["allow-new-classes"] === true,
  }).catch(nameOption);
  if (options.json === true) {
    return print(JSON.stringify({ is_stored: !isCheck, ...toJson(report) }));
  }
  print(describeReport(report, isCheck));
}

function nameOption(error: unknown): never {
  if (!(error instanceof LabelsRefusedError)) throw error;
  throw new UsageError(
    error.allowedBy === "allowNewClasses"
      ? `${error.message} by --allow-new-classes`
      : `${error.message}; correct them, or leave them out by --allow-missing`,
  );
}

async function openFile(store: Store, file: string, { signal }: Arguments): Promise<LabelTable> {
  const [{ Plugins }, { loadPlugins }] = await Promise.all([
    import("../plugins/plugin.ts"),
    import("../plugins/mod.ts"),
  ]);
  return await openLabelFile(store, file, { plugins: new Plugins(await loadPlugins()), signal });
}

function toJson(report: ImportReport) {
  const { total, created, corrected, same, missing, firstMissing, newClasses, ignored } = report;
  return {
    total,
    new: created,
    corrected,
    same,
    missing,
    first_missing: firstMissing.map(({ requestId, row }) => ({ request_id: requestId, row })),
    new_classes: newClasses,
    ignored_columns: ignored,
  };
}

function describeReport(report: ImportReport, isCheck: boolean): string {
  const { total, created, corrected, same, missing, firstMissing, newClasses, ignored } = report;
  const lines = [
    `${formatCount(total)} labels: ${formatCount(created)} new, ${
      formatCount(corrected)
    } corrected, ${formatCount(same)} same, ${formatCount(missing)} of records never predicted`,
    ...firstMissing.map(({ requestId, row }) =>
      `  nothing was predicted for "${requestId}" row ${row}`
    ),
    ...newClasses.map(({ label, labels, model, version, nearest }) =>
      `  "${label}" (${formatCount(labels)}) is no class of ${model} version ${version}${
        nearest === null ? "" : `; did you mean "${nearest}"?`
      }`
    ),
    ...(ignored.length > 0 ? [`note: columns left aside: ${ignored.join(", ")}`] : []),
    isCheck
      ? "nothing was stored: leave --check away"
      : `stored ${formatCount(created + corrected)}`,
  ];
  return lines.join("\n");
}
