/**
 * The tensors of a model, as the Open Inference Protocol sees them.
 *
 * | tensor         | datatype | shape     | holds                                                       |
 * | -------------- | -------- | --------- | ----------------------------------------------------------- |
 * | `input`        | FP32     | `[-1, d]` | The raw columns of the signature, in its order               |
 * | order column   | FP64     | `[-1]`    | Position of each row, when the signature has one beside them |
 * | `label`        | BYTES    | `[-1]`    | Names of the predicted classes                               |
 * | `class_id`     | INT64    | `[-1]`    | Their indices in the signature                               |
 * | `probabilities`| FP32     | `[-1, k]` | Probability of each class, in the order of the signature     |
 *
 * An input may come in any numeric datatype; the order column in shape `[-1, 1]`, too. A missing
 * value is `NaN`, which only binary tensors can hold: JSON has none, and the protocol no null. The
 * rows of one request are one sequence, as in `/predict`.
 *
 * @module
 */
import type { Signature } from "../../runtime/registry/signature.ts";

/** One tensor in a model's metadata. */
export interface TensorMetadata {
  readonly name: string;
  readonly datatype: string;
  /** `-1` is an axis of any length. */
  readonly shape: readonly number[];
  /** Names along the last axis, as JSON text. */
  readonly parameters?: Readonly<Record<string, string>>;
}

/** Version of the server, as in `deno.json`. */
export const SERVER_VERSION = "0.1.0";

/** Name of the tensor of raw columns. */
export const INPUT = "input";

/** Names of the outputs, in the order in which they are given. */
export const outputNames = ["label", "class_id", "probabilities"] as const;

/** One of {@linkcode outputNames}. */
export type OutputName = (typeof outputNames)[number];

type Shape = Pick<Signature, "inputs" | "order" | "windows" | "classes">;

/** Gives the name of the tensor of positions, `null` when there is none beside the raw columns. */
export function orderTensorName({ inputs, order }: Pick<Shape, "inputs" | "order">): string | null {
  if (order === null || inputs.some(({ name }) => name === order.column)) return null;
  return order.column === INPUT ? `${INPUT}_order` : order.column;
}

/** Gives the inputs of a model; all but the first may be left out by a request of one row. */
export function inputTensors(signature: Shape): TensorMetadata[] {
  const columns = signature.inputs.map(({ name }) => name);
  const order = orderTensorName(signature);
  return [
    {
      name: INPUT,
      datatype: "FP32",
      shape: [-1, columns.length],
      parameters: { columns: JSON.stringify(columns) },
    },
    ...(order === null ? [] : [{ name: order, datatype: "FP64", shape: [-1] }]),
  ];
}

/** Gives the outputs of a model. */
export function outputTensors({ classes }: Pick<Shape, "classes">): TensorMetadata[] {
  const parameters = { classes: JSON.stringify(classes) };
  return [
    { name: "label", datatype: "BYTES", shape: [-1] },
    { name: "class_id", datatype: "INT64", shape: [-1], parameters },
    { name: "probabilities", datatype: "FP32", shape: [-1, classes.length], parameters },
  ];
}

/** Triton's names of datatypes, where they are not `TYPE_` and the protocol's. */
const configTypes: Readonly<Record<string, string>> = { BYTES: "TYPE_STRING" };

/** Gives the configuration of a model in Triton's form, with `maxRows` of one request. */
export function modelConfig(name: string, signature: Shape, maxRows: number): object {
  // Rows that windows look across are one sequence; elsewhere rows of many callers may be batched.
  const isSequence = signature.windows.radii.length > 0;
  const describe = ({ name, datatype, shape }: TensorMetadata) => ({
    name,
    data_type: configTypes[datatype] ?? `TYPE_${datatype}`,
    ...(isSequence
      ? { dims: shape }
      : shape.length > 1
      ? { dims: shape.slice(1) }
      : { dims: [1], reshape: { shape: [] } }),
  });
  return {
    name,
    platform: "onnxruntime_onnx",
    backend: "onnxruntime",
    version_policy: { all: {} },
    max_batch_size: isSequence ? 0 : maxRows,
    input: inputTensors(signature).map((tensor, i) => ({
      ...describe(tensor),
      format: "FORMAT_NONE",
      optional: i > 0,
    })),
    output: outputTensors(signature).map((tensor) => ({ ...describe(tensor), label_filename: "" })),
    parameters: {
      columns: { string_value: JSON.stringify(signature.inputs.map((input) => input.name)) },
      classes: { string_value: JSON.stringify(signature.classes) },
    },
  };
}
