/**
 * Predicts a whole table: any file a source can read, any file DuckDB can write, of any length.
 * Memory holds one chunk of rows; what DuckDB cannot hold waits in a folder beside the output.
 *
 * @module
 */
import type { Finding, Plugins } from "../../plugins/plugin.ts";
import type { Prediction } from "../onnx_session.ts";
import { expandBlocks, type FileChunk } from "./chunks.ts";
import { chooseColumns, type ChosenColumns } from "./columns.ts";
import { findUnusable, OutlierCounts } from "./findings.ts";
import { checkOutput, findFormat, nameSpillFolder, writeOutput } from "./output.ts";
import { keepAnswers, loadInput, readBlocks, selectAnswers, withMemory } from "./tables.ts";
import type { Predictor } from "./predictor.ts";
import { quoteLiteral } from "../store/sql.ts";
import type { Signature } from "../registry/signature.ts";
import { openStore, type Store } from "../store/store.ts";
import { openRelation, resolvePath } from "../store/table.ts";

export type { FileChunk } from "./chunks.ts";

/** Rows per block, unless the caller says otherwise. */
const CHUNK_ROWS = 10_000;

/** How far a file is. */
export interface FileProgress {
  /** Rows of the file. */
  readonly rows: number;
  /** Rows that have an answer; all of them are written at the end. */
  readonly predicted: number;
}

/** Options of {@linkcode predictFile}. */
export interface PredictFileOptions {
  readonly plugins: Plugins;
  readonly signal: AbortSignal;
  /** Column whose values keep windows apart, such as the well. */
  readonly group?: string;
  /** Other names of an input column, by input column; each fills what those before leave missing. */
  readonly aliases?: Readonly<Record<string, readonly string[]>>;
  readonly baseDir?: string;
  /** Rows per block, of which about one is answered at a time; default 10,000. No answer depends on it. */
  readonly chunkRows?: number;
  /** Whether an output that is there is replaced; default true. */
  readonly overwrites?: boolean;
  /** Hears of the file's length and then of every chunk. */
  readonly onProgress?: (progress: FileProgress) => void;
}

/** What answers the rows of a file: a {@linkcode Predictor}, or a server that has one. */
export interface FilePredictor {
  readonly signature: Signature;
  /** Gives the answers to the rows of a chunk, one each. */
  answer(chunk: FileChunk): Promise<Prediction>;
}

/** What was done. */
export interface PredictFileSummary {
  readonly rows: number;
  /** Input columns the file lacks: their values counted as missing. */
  readonly missing: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
  /** What is wrong with the file, such as cells that are no number or values outside their range. */
  readonly findings: readonly Finding[];
}

/**
 * Writes the table at `input` to `output` with the columns `prediction`, `confidence` and one
 * `probability_<class>` per class added. The output appears whole or not at all.
 *
 * The file's own columns come out as they went in. From a text file that means the text of each cell,
 * an empty one for a missing value; in Parquet and JSON its numbers are numbers.
 *
 * @throws {UsageError} when the file has none of the model's inputs, lacks the order or group column,
 * has a column of an added name, when the output is the input or its ending is unknown, there is no
 * folder for it, or it is there and must not be replaced.
 */
export async function predictFile(
  predictor: Predictor | FilePredictor,
  input: string,
  output: string,
  options: PredictFileOptions,
): Promise<PredictFileSummary> {
  const { signature } = predictor;
  const format = findFormat(output);
  const baseDir = options.baseDir ?? Deno.cwd();
  await checkOutput(resolvePath(input, baseDir), output);
  const spill = nameSpillFolder(output);
  const store = await openStore(":memory:");
  try {
    await store.query(`set global temp_directory = ${quoteLiteral(spill)}`);
    const relation = await withMemory(store, 0, () =>
      openRelation(store, options.plugins, {
        uri: input,
        baseDir,
        staging: "predict_input",
        hasCells: true,
        signal: options.signal,
      }));
    const { group, aliases } = options;
    const chosen = chooseColumns(relation, signature, { uri: input, group, aliases });
    const width = relation.columns.length;
    const rows = await withMemory(
      store,
      width,
      () => loadInput(store, relation, chosen, format),
    );
    const unusable = await findUnusable(store, signature.inputs.map(({ name }) => name));
    const outliers = new OutlierCounts(signature);
    const counts = await answerAll(store, predictor, { chosen, rows, outliers, options });
    const select = selectAnswers(signature.classes, relation, chosen);
    const { signal, overwrites = true } = options;
    await withMemory(
      store,
      width,
      () => writeOutput(store, select, output, { format, overwrites, signal }),
    );
    return {
      rows,
      missing: chosen.missing,
      counts,
      findings: [...relation.findings, ...unusable, ...outliers.toFindings()],
    };
  } finally {
    await store.close();
    await Deno.remove(spill, { recursive: true }).catch(() => {});
  }
}

/** What {@linkcode answerAll} works on. */
interface AnswerTask {
  readonly chosen: ChosenColumns;
  readonly rows: number;
  readonly outliers: OutlierCounts;
  readonly options: PredictFileOptions;
}

/** Fills the table `answers` chunk by chunk and counts the classes. */
async function answerAll(
  store: Store,
  predictor: Predictor | FilePredictor,
  { chosen, rows, outliers, options }: AnswerTask,
): Promise<Record<string, number>> {
  const { signature } = predictor;
  const { classes } = signature;
  const { signal, onProgress } = options;
  const counts = new Float64Array(classes.length);
  await store.query(
    `create table answers (answer_row bigint, label integer, ${
      classes.map((_, c) => `p${c} float`).join(", ")
    })`,
  );
  let predicted = 0;
  onProgress?.({ rows, predicted });
  const blocks = readBlocks(store, chosen, { rows, chunkRows: options.chunkRows ?? CHUNK_ROWS });
  for await (const chunk of expandBlocks(blocks, signature)) {
    signal.throwIfAborted();
    outliers.add(chunk.values);
    const prediction = "answer" in predictor
      ? await predictor.answer(chunk)
      : await predictor.classify(chunk.features);
    for (const label of prediction.labels) counts[label]++;
    await keepAnswers(store, chunk.ordinals, prediction);
    predicted += chunk.ordinals.length;
    onProgress?.({ rows, predicted });
  }
  signal.throwIfAborted();
  return Object.fromEntries(classes.map((name, c) => [name, counts[c]]));
}
