/** Reads the body of an inference: JSON, with the bytes of binary tensors behind it. */
import { z } from "zod";
import { matrix } from "../../numeric/matrix.ts";
import { suggest } from "../../runtime/errors.ts";
import type { Signature } from "../../runtime/registry/signature.ts";
import { HttpError } from "../http_error.ts";
import { parseJson } from "../json.ts";
import { bodyOptions, type RecordLayout, type Records } from "../records.ts";
import { INPUT, orderTensorName, type OutputName, outputNames } from "./contract.ts";
import { badTensor, decodeNumbers, isNumeric, type Numbers, readNumbers } from "./tensors.ts";

const Parameters = z.record(z.string(), z.unknown()).nullish();

const Head = z.looseObject({
  id: z.string().nullish(),
  parameters: Parameters,
  inputs: z.array(z.looseObject({
    name: z.string(),
    shape: z.array(z.int().nonnegative()),
    datatype: z.string(),
    parameters: Parameters,
    data: z.unknown().optional(),
  })).min(1),
  outputs: z.array(z.looseObject({ name: z.string(), parameters: Parameters })).nullish(),
});

type Head = z.infer<typeof Head>;

/** One tensor as it was sent. */
interface SentTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly datatype: string;
  /** The JSON values, or else the bytes. */
  readonly data: unknown;
  readonly bytes: Uint8Array<ArrayBuffer> | null;
}

/** One tensor of the answer. */
export interface RequestedOutput {
  readonly name: OutputName;
  readonly isBinary: boolean;
}

/** An inference that was asked for. */
export interface InferRequest {
  /** As the caller gave it. */
  readonly id: string | undefined;
  readonly slice: string | undefined;
  /** As the caller gave them. */
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly tensors: readonly SentTensor[];
  readonly outputs: readonly RequestedOutput[];
}

/**
 * Reads a body; `headerLength` is the header `Inference-Header-Content-Length`, the bytes of JSON
 * in a body with binary tensors.
 *
 * @throws {HttpError} 400 or 422 that says what is wrong.
 * @see https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_binary_data.html
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseInfer } from "./infer_request.ts";
 *
 * const body = new TextEncoder().encode(JSON.stringify({
 *   id: "42",
 *   inputs: [{ name: "input", shape: [1, 2], datatype: "FP32", data: [1, 2] }],
 *   outputs: [{ name: "label" }],
 * }));
 * const { id, outputs } = parseInfer(body, null);
 * assertEquals([id, outputs], ["42", [{ name: "label", isBinary: false }]]);
 * ```
 */
export function parseInfer(
  body: Uint8Array<ArrayBuffer>,
  headerLength: string | null,
): InferRequest {
  const length = headerLength === null ? body.length : readLength(headerLength, body.length);
  const parsed = Head.safeParse(parseJson(new TextDecoder().decode(body.subarray(0, length))));
  if (!parsed.success) {
    const [{ path, message }] = parsed.error.issues;
    throw invalid(path.length ? `"${path.join(".")}": ${message}` : message);
  }
  const head = parsed.data;
  const slice = bodyOptions.predict.safeParse({ slice: head.parameters?.slice });
  if (!slice.success) throw invalid(`"parameters.slice": ${slice.error.issues[0].message}`);
  return {
    id: head.id ?? undefined,
    slice: slice.data.slice,
    parameters: head.parameters ?? {},
    tensors: readTensors(head, body.subarray(length)),
    outputs: readOutputs(head),
  };
}

/**
 * Gives the records of an inference for one model.
 * @throws {HttpError} 422 when the tensors are not those of the model, 413 when there are too many rows.
 */
export function readTensorRecords(
  request: InferRequest,
  { signature, layout }: { readonly signature: Signature; readonly layout: RecordLayout },
  maxRows: number,
): Records {
  const orderName = orderTensorName(signature);
  const names = orderName === null ? [INPUT] : [INPUT, orderName];
  const seen = new Map<string, SentTensor>();
  for (const tensor of request.tensors) {
    if (!names.includes(tensor.name)) {
      const nearest = suggest(tensor.name, names);
      throw badTensor(
        tensor.name,
        "the model has no such input; " +
          (nearest ? `did you mean "${nearest}"?` : `it takes ${names.join(" and ")}`),
      );
    }
    if (seen.has(tensor.name)) throw badTensor(tensor.name, "it is given twice; give it once");
    seen.set(tensor.name, tensor);
  }
  const input = seen.get(INPUT);
  if (!input) throw badTensor(INPUT, `it is missing; send [-1, ${layout.inputs}] raw columns`);
  const rowCount = checkShape(input, layout.inputs, maxRows);
  const numbers = toNumbers(input);
  const order = orderName === null
    ? pickOrder(numbers, rowCount, layout)
    : readOrder(seen.get(orderName), rowCount);
  if (layout.isOrdered && rowCount > 1) checkOrder(order, layout.order!);
  const X = numbers instanceof Float32Array ? numbers : new Float32Array(numbers);
  checkFinite(X, signature);
  return {
    rows: {
      X: matrix(rowCount, layout.inputs, X),
      // One record without a position is a sequence of length one, wherever it lies.
      ...(layout.isOrdered ? { order: order ?? new Float64Array(1) } : {}),
    },
    rowCount,
    values: numbers instanceof Float64Array ? numbers : new Float64Array(numbers),
    ...(order ? { order } : {}),
    ...(request.slice === undefined ? {} : { slice: request.slice }),
    hasProbabilities: true,
  };
}

function readLength(header: string, bodyLength: number): number {
  const length = /^\d{1,15}$/.test(header) ? Number(header) : NaN;
  if (length <= bodyLength) return length;
  throw invalid(
    `Inference-Header-Content-Length is "${
      header.slice(0, 40)
    }" of a body of ${bodyLength} bytes; ` +
      "give the bytes of its JSON",
  );
}

function readTensors(head: Head, binary: Uint8Array<ArrayBuffer>): SentTensor[] {
  let at = 0;
  const tensors = head.inputs.map(({ name, shape, datatype, parameters, data }): SentTensor => {
    if (parameters?.shared_memory_region !== undefined) {
      throw badTensor(name, "shared memory is not supported; send its data");
    }
    const size = parameters?.binary_data_size;
    if (size === undefined) {
      if (data === undefined) throw badTensor(name, 'it has neither "data" nor "binary_data_size"');
      return { name, shape, datatype, data, bytes: null };
    }
    if (typeof size !== "number" || !Number.isInteger(size) || size < 0) {
      throw badTensor(name, '"binary_data_size" is no number of bytes');
    }
    if (data !== undefined) throw badTensor(name, 'it has both "data" and "binary_data_size"');
    if (at + size > binary.length) {
      throw badTensor(
        name,
        `"binary_data_size" is ${size} and ${binary.length - at} bytes are left`,
      );
    }
    const bytes = binary.subarray(at, at += size);
    return { name, shape, datatype, data, bytes };
  });
  if (at < binary.length) throw invalid(`${binary.length - at} bytes belong to no input`);
  return tensors;
}

function readOutputs(head: Head): RequestedOutput[] {
  const isBinary = readFlag(head.parameters?.binary_data_output, "binary_data_output") ?? false;
  if (!head.outputs?.length) return outputNames.map((name) => ({ name, isBinary }));
  const seen = new Set<string>();
  return head.outputs.map(({ name, parameters }) => {
    const known = outputNames.find((output) => output === name);
    if (!known) {
      const nearest = suggest(name, outputNames);
      throw badOutput(
        name,
        nearest ? `did you mean "${nearest}"?` : `there are ${outputNames.join(", ")}`,
      );
    }
    if (seen.has(name)) throw badOutput(name, "it is asked for twice; ask once");
    seen.add(name);
    if (parameters?.classification !== undefined) {
      throw badOutput(name, 'classification is not supported; ask for "label"');
    }
    if (parameters?.shared_memory_region !== undefined) {
      throw badOutput(name, "shared memory is not supported; take its data");
    }
    return {
      name: known,
      isBinary: readFlag(parameters?.binary_data, "binary_data") ?? isBinary,
    };
  });
}

function readFlag(value: unknown, name: string): boolean | undefined {
  if (value === undefined || typeof value === "boolean") return value;
  throw invalid(`"${name}" is ${JSON.stringify(value)?.slice(0, 40)}; give true or false`);
}

/** Checks the shape of the raw columns; gives the number of rows. */
function checkShape({ name, shape }: SentTensor, columns: number, maxRows: number): number {
  if (shape.length !== 2 || shape[1] !== columns) {
    throw badTensor(name, `its shape is [${shape.slice(0, 8).join(", ")}]; send [-1, ${columns}]`);
  }
  const [rows] = shape;
  if (rows === 0) throw badTensor(name, "it has no rows; send at least one");
  if (rows > maxRows) {
    throw new HttpError(
      `Cannot take ${rows} rows in one request: the limit is ${maxRows}; send them in parts`,
      "too_large",
    );
  }
  return rows;
}

function toNumbers({ name, shape, datatype, data, bytes }: SentTensor): Numbers {
  if (!isNumeric(datatype)) {
    throw badTensor(name, `its datatype ${datatype.slice(0, 16)} is not numeric; send FP32`);
  }
  if (bytes === null) return readNumbers(name, datatype, data, shape);
  return decodeNumbers(name, datatype, bytes, shape.reduce((a, b) => a * b, 1));
}

function readOrder(tensor: SentTensor | undefined, rowCount: number): Float64Array | undefined {
  if (!tensor) return undefined;
  const { name, shape } = tensor;
  if (shape[0] !== rowCount || !(shape.length === 1 || (shape.length === 2 && shape[1] === 1))) {
    throw badTensor(
      name,
      `its shape is [${shape.slice(0, 8).join(", ")}]; send one value for each of ${rowCount} rows`,
    );
  }
  const numbers = toNumbers(tensor);
  if (numbers.some((value) => Math.abs(value) === Infinity)) {
    throw badTensor(name, "it is infinite");
  }
  return numbers instanceof Float64Array ? numbers : new Float64Array(numbers);
}

/** The order column when it is one of the raw columns. */
function pickOrder(
  numbers: Numbers,
  rowCount: number,
  layout: RecordLayout,
): Float64Array | undefined {
  const field = layout.fields.find(({ isOrder, input }) => isOrder && input >= 0);
  if (!field) return undefined;
  return Float64Array.from(
    { length: rowCount },
    (_, i) => numbers[i * layout.inputs + field.input],
  );
}

function checkOrder(order: Float64Array | undefined, column: string): void {
  if (!order) {
    throw badTensor(
      column,
      "it is missing; the model looks along it, so more than one row needs it",
    );
  }
  const row = order.findIndex(Number.isNaN);
  if (row >= 0) {
    throw badTensor(column, `it has NaN in row ${row}; a sequence needs every position`);
  }
}

/** Refuses infinity, as `/predict` does; also what no float32 can hold. */
function checkFinite(X: Float32Array, { inputs }: Signature): void {
  for (let i = 0; i < X.length; i++) {
    const value = X[i];
    if (value - value !== 0 && value === value) {
      throw badTensor(
        INPUT,
        `row ${Math.floor(i / inputs.length)}, column "${inputs[i % inputs.length].name}" is ` +
          "infinite or too large for float32; send NaN when the value is unknown",
      );
    }
  }
}

function invalid(state: string): HttpError {
  return new HttpError(`Cannot read the inference request: ${state}`, "invalid_input");
}

function badOutput(name: string, state: string): HttpError {
  return invalid(`output "${name.slice(0, 64)}": ${state}`);
}
