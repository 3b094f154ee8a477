/** Predicted rows of a span of time, with where they came from and who answered. */
import { type Matrix, matrix } from "../../numeric/matrix.ts";
import { listColumns, readHeldOut, toMatrix } from "../estimates/held_out.ts";
import type { ColumnResult, Store } from "../store/store.ts";

/** Most rows of either side: every suspect runs the model on them. */
export const MOST_ROWS = 2_000;

/** Rows next to each other that are taken together, so that windows see their neighbors. */
const BLOCK = 64;

/** A sample of predicted rows; arrays have n entries. */
export interface Sample {
  /** Raw inputs `[n, d]`. */
  readonly X: Matrix;
  readonly order: Float64Array;
  /** Rows that were predicted together. */
  readonly groups: Int32Array;
  readonly slice: readonly string[];
  readonly requester: readonly string[];
  readonly version: Int32Array;
  /** True labels, `null` is not known. */
  readonly truth: readonly (string | null)[];
}

/** What to sample. */
export interface SampleOptions {
  readonly model: string;
  /** Span `[from, to)` in milliseconds since 1970. */
  readonly from: number;
  readonly to: number;
  /** Number of inputs. */
  readonly inputs: number;
  readonly isWindowed: boolean;
  /** Whether only rows with a label count. */
  readonly isLabeled: boolean;
}

/** What stands for a slice or requester that was not given. */
export const NOBODY = "(none)";

/** Draws rows of all versions of a model, the same ones each time. */
export async function readSample(store: Store, options: SampleOptions): Promise<Sample> {
  const { model, from, to, inputs, isWindowed, isLabeled } = options;
  const block = isWindowed ? BLOCK : 1;
  const { columns, rows } = await store.readColumns(
    `with drawn as (
       select i.request_id, i.row, i.version, i.slice, i.order_value, i.features, l.label as truth
       from core.inferences i ${isLabeled ? "" : "left"} join labels l using (request_id, row)
       where i.model = ? and i.request_time >= ? and i.request_time < ? and len(i.features) = ${inputs}
       order by hash(i.request_id || ':' || (i.row // ${block})), i.request_id, i.row
       limit ${MOST_ROWS})
     select dense_rank() over (order by d.request_id, d.row // ${block}) as part, d.version, d.truth,
       coalesce(d.slice, '${NOBODY}') as slice, coalesce(r.requester, '${NOBODY}') as requester,
       coalesce(d.order_value, 0) as place, ${
      listColumns("d.features", inputs)
        .replaceAll(" as d.features_", " as features_")
    }
     from drawn d left join (
       select request_id, any_value(requester) as requester from core.requests group by all) r
       using (request_id)
     order by d.request_id, d.row`,
    [model, new Date(from), new Date(to)],
  );
  return toSample(columns, { rows, inputs });
}

function toSample(
  columns: ColumnResult["columns"],
  { rows, inputs }: { readonly rows: number; readonly inputs: number },
): Sample {
  const texts = (name: string) => columns[name] as readonly string[];
  return {
    X: rows === 0 ? matrix(0, inputs) : toMatrix(columns, "features", inputs),
    order: columns.place as Float64Array,
    groups: Int32Array.from(columns.part as Float64Array),
    slice: texts("slice"),
    requester: texts("requester"),
    version: Int32Array.from(columns.version as Float64Array),
    truth: columns.truth as readonly (string | null)[],
  };
}

/** Draws training rows of a version as if it had been asked for them; `null` when none were kept. */
export async function readTrainingSample(
  store: Store,
  { model, version, classes }: {
    readonly model: string;
    readonly version: number;
    readonly classes: readonly string[];
  },
): Promise<Sample | null> {
  const kept = await readHeldOut(store, { model, version });
  if (kept === null) return null;
  const step = Math.max(1, kept.y.length / MOST_ROWS);
  const index = Array.from(
    { length: Math.min(MOST_ROWS, kept.y.length) },
    (_, at) => Math.floor(at * step),
  );
  const ids = new Map<string | null, number>();
  const idOf = (name: string | null) => {
    if (!ids.has(name)) ids.set(name, ids.size);
    return ids.get(name)!;
  };
  const X = matrix(index.length, kept.X.cols);
  index.forEach((row, i) =>
    X.data.set(kept.X.data.subarray(row * X.cols, (row + 1) * X.cols), i * X.cols)
  );
  return {
    X,
    order: Float64Array.from(index, (row) => kept.order[row]),
    groups: Int32Array.from(index, (row) => idOf(kept.groups[row])),
    slice: index.map((row) => kept.groups[row] ?? NOBODY),
    requester: index.map(() => NOBODY),
    version: new Int32Array(index.length).fill(version),
    truth: index.map((row) => classes[kept.y[row]]),
  };
}
