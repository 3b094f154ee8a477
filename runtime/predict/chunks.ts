/**
 * A table of any length as chunks that a model can answer one by one: a window that reaches over the
 * end of a block waits for the next one, so that every row gets the features it would get in one go.
 *
 * @module
 */
import { type Matrix, matrix } from "../../numeric/matrix.ts";
import { expandRows } from "./predictor.ts";
import type { Signature } from "../registry/signature.ts";

/** Rows that follow those of the block before: by group, then by ascending order, unknown last. */
export interface RowBlock {
  /** 0-based ordinal of each row in the table `[n]`. */
  readonly ordinals: Float64Array;
  /** Input values in signature order `[n, d]`, row-major; `NaN` is missing. */
  readonly values: Float64Array;
  /** Value of the order column `[n]`; `NaN` is unknown. Left out when the model has no windows. */
  readonly order?: Float64Array;
  /** Group of each row `[n]`; left out: all rows are one group. */
  readonly groups?: Float64Array;
}

/** Rows that can be answered. */
export interface FileChunk extends RowBlock {
  /** Graph input `[n, f]`; windows saw the neighbors in other chunks, too. */
  readonly features: Matrix;
}

type WindowedSignature = Pick<Signature, "inputs" | "outliers" | "windows">;

/** Share of the rows in hand that must be answerable, so that few are expanded again and again. */
const MIN_SHARE = 0.25;

/** Rounding of `order ± radius` in float64, well above what a subtraction can be off. */
const ROUNDING = 1e-12;

/**
 * Gives the rows of `blocks` in the same sequence, with the features that all rows at once would
 * have: bit for bit, whatever the length of a block. In memory are one block and the rows within
 * twice the largest radius.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { expandBlocks } from "./chunks.ts";
 *
 * async function* blocks() {
 *   yield { ordinals: Float64Array.of(0), values: Float64Array.of(10), order: Float64Array.of(1) };
 *   yield { ordinals: Float64Array.of(1), values: Float64Array.of(20), order: Float64Array.of(2) };
 * }
 * const signature = {
 *   inputs: [{ name: "gr" }],
 *   outliers: "keep",
 *   windows: { radii: [1], statistics: ["mean"] },
 * } as const;
 * const features = [];
 * for await (const chunk of expandBlocks(blocks(), signature)) features.push(...chunk.features.data);
 * assertEquals(features, [10, 15, 20, 15]);
 * ```
 */
export async function* expandBlocks(
  blocks: AsyncIterable<RowBlock>,
  signature: WindowedSignature,
): AsyncGenerator<FileChunk> {
  const { radii, statistics } = signature.windows;
  if (radii.length === 0 || statistics.length === 0) {
    for await (const block of blocks) {
      if (block.ordinals.length > 0) yield expand(block, signature, [0, block.ordinals.length]);
    }
    return;
  }
  const radius = Math.max(...radii);
  /** Rows in hand: first those that only windows still need, then, from `done` on, those to answer. */
  let held: RowBlock | undefined;
  let done = 0;
  for await (const block of blocks) {
    if (block.ordinals.length === 0) continue;
    held = held ? concatenate(held, block) : block;
    const end = findReady(held, done, radius);
    if (end - done < MIN_SHARE * held.ordinals.length) continue;
    yield expand(held, signature, [done, end]);
    const from = findNeeded(held, end, radius);
    held = slice(held, from, held.ordinals.length, signature.inputs.length);
    done = end - from;
  }
  if (held && done < held.ordinals.length) {
    yield expand(held, signature, [done, held.ordinals.length]);
  }
}

/** End of the rows whose windows are complete, whatever follows. */
function findReady(block: RowBlock, done: number, radius: number): number {
  const last = block.ordinals.length - 1;
  // Of a group, rows of unknown order come last and look at none.
  if (Number.isNaN(block.order![last])) return last + 1;
  let end = last + 1;
  while (end > done && isWithin(block, [end - 1, last], radius)) end--;
  return end;
}

/** First row that a window of row `end`, or of the rows that follow, may look at. */
function findNeeded(block: RowBlock, end: number, radius: number): number {
  const anchor = Math.min(end, block.ordinals.length - 1);
  let from = end;
  while (from > 0 && isWithin(block, [from - 1, anchor], radius)) from--;
  return from;
}

/** Whether two rows share a group and lie no further apart than `radius`, rounding included. */
function isWithin(
  { order, groups }: RowBlock,
  [a, b]: readonly [number, number],
  radius: number,
): boolean {
  if (groups && groups[a] !== groups[b]) return false;
  return order![b] - order![a] <= radius + ROUNDING * (radius + Math.abs(order![b]));
}

/** The features of the rows `from … to-1`, computed among all rows in hand. */
function expand(
  block: RowBlock,
  signature: WindowedSignature,
  [from, to]: readonly [number, number],
): FileChunk {
  const d = signature.inputs.length;
  const { ordinals, values, order, groups } = block;
  const all = expandRows({
    X: matrix(ordinals.length, d, Float32Array.from(values)),
    ...(order ? { order } : {}),
    ...(groups ? { groups: Int32Array.from(groups) } : {}),
  }, signature);
  const data = all.data.subarray(from * all.cols, to * all.cols);
  return { ...slice(block, from, to, d), features: matrix(to - from, all.cols, data) };
}

function slice(
  { ordinals, values, order, groups }: RowBlock,
  from: number,
  to: number,
  d: number,
): RowBlock {
  return {
    ordinals: ordinals.slice(from, to),
    values: values.slice(from * d, to * d),
    ...(order ? { order: order.slice(from, to) } : {}),
    ...(groups ? { groups: groups.slice(from, to) } : {}),
  };
}

function concatenate(a: RowBlock, b: RowBlock): RowBlock {
  return {
    ordinals: join(a.ordinals, b.ordinals),
    values: join(a.values, b.values),
    ...(a.order && b.order ? { order: join(a.order, b.order) } : {}),
    ...(a.groups && b.groups ? { groups: join(a.groups, b.groups) } : {}),
  };
}

function join(a: Float64Array, b: Float64Array): Float64Array {
  const both = new Float64Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
