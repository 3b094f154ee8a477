/** Writes the answer to an inference: JSON, with the bytes of binary tensors behind it. */
import type { Matrix } from "../../numeric/matrix.ts";
import { writeFloat } from "../answers.ts";
import type { ServedModel } from "../served_model.ts";
import type { OutputName } from "./contract.ts";
import type { InferRequest, RequestedOutput } from "./infer_request.ts";

/** The predictions to write. */
export interface InferResult {
  readonly model: ServedModel;
  /** Class ids `[n]`. */
  readonly labels: Int32Array;
  /** `[n, k]`. */
  readonly probabilities: Matrix;
}

/** An answer in the form of the protocol. */
export interface InferAnswer {
  readonly status: number;
  readonly body: string | Uint8Array<ArrayBuffer>;
  readonly headers: Readonly<Record<string, string>>;
}

/** One tensor of an answer in one of two forms. */
type Content = { readonly data: string } | { readonly bytes: number };

/**
 * Gives the answer to `request`: text when all its tensors are JSON, else bytes.
 *
 * @see https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_binary_data.html
 */
export function writeInfer(request: InferRequest, result: InferResult): InferAnswer {
  const { version } = result.model.version;
  const contents = request.outputs.map(({ name, isBinary }): Content =>
    isBinary ? { bytes: countBytes(name, result) } : { data: writeData(name, result) }
  );
  const text = `{${request.id === undefined ? "" : `"id":${JSON.stringify(request.id)},`}` +
    `"model_name":${JSON.stringify(result.model.version.model)},"model_version":"${version}",` +
    `"outputs":[${request.outputs.map((o, i) => writeHead(o, contents[i], result)).join(",")}]}`;
  const bytes = contents.reduce((sum, c) => sum + ("bytes" in c ? c.bytes : 0), 0);
  if (!request.outputs.some(({ isBinary }) => isBinary)) {
    return { status: 200, body: text, headers: {} };
  }
  const head = new TextEncoder().encode(text);
  const body = new Uint8Array(head.length + bytes);
  body.set(head);
  let at = head.length;
  for (const { name, isBinary } of request.outputs) {
    if (isBinary) at = putBytes(body, at, { name, result });
  }
  return {
    status: 200,
    body,
    headers: {
      "content-type": "application/octet-stream",
      "inference-header-content-length": String(head.length),
    },
  };
}

const datatypes: Readonly<Record<OutputName, string>> = {
  label: "BYTES",
  class_id: "INT64",
  probabilities: "FP32",
};

function writeHead({ name }: RequestedOutput, content: Content, result: InferResult): string {
  const { rows, cols } = result.probabilities;
  const shape = name === "probabilities" ? `${rows},${cols}` : rows;
  const rest = "data" in content
    ? `"data":[${content.data}]`
    : `"parameters":{"binary_data_size":${content.bytes}}`;
  return `{"name":"${name}","datatype":"${datatypes[name]}","shape":[${shape}],${rest}}`;
}

function writeData(name: OutputName, { model, labels, probabilities }: InferResult): string {
  if (name === "class_id") return labels.join(",");
  let text = "";
  if (name === "label") {
    for (let i = 0; i < labels.length; i++) {
      text += (i === 0 ? "" : ",") + model.classTexts[labels[i]];
    }
    return text;
  }
  const { data } = probabilities;
  for (let i = 0; i < data.length; i++) text += (i === 0 ? "" : ",") + writeFloat(data[i]);
  return text;
}

function countBytes(name: OutputName, { model, labels, probabilities }: InferResult): number {
  if (name === "class_id") return 8 * labels.length;
  if (name === "probabilities") return probabilities.data.byteLength;
  const classes = classBytes(model);
  let bytes = 0;
  for (let i = 0; i < labels.length; i++) bytes += classes[labels[i]].length;
  return bytes;
}

/** Puts a tensor's bytes, little-endian, at an offset; gives the offset behind them. */
function putBytes(
  body: Uint8Array,
  start: number,
  { name, result: { model, labels, probabilities } }: { name: OutputName; result: InferResult },
): number {
  if (name === "probabilities") {
    const { buffer, byteOffset, byteLength } = probabilities.data;
    body.set(new Uint8Array(buffer, byteOffset, byteLength), start);
    return start + byteLength;
  }
  let at = start;
  if (name === "class_id") {
    const view = new DataView(body.buffer);
    // An id is not negative, so the upper half of its 8 bytes stays 0.
    for (let i = 0; i < labels.length; i++, at += 8) view.setInt32(at, labels[i], true);
    return at;
  }
  const classes = classBytes(model);
  for (let i = 0; i < labels.length; i++) {
    body.set(classes[labels[i]], at);
    at += classes[labels[i]].length;
  }
  return at;
}

const knownClassBytes = new WeakMap<ServedModel, readonly Uint8Array[]>();

/** Class names as elements of a BYTES tensor: length in 4 bytes, then UTF-8. */
function classBytes(model: ServedModel): readonly Uint8Array[] {
  let bytes = knownClassBytes.get(model);
  if (!bytes) {
    bytes = model.signature.classes.map((name) => {
      const text = new TextEncoder().encode(name);
      const element = new Uint8Array(4 + text.length);
      new DataView(element.buffer).setUint32(0, text.length, true);
      element.set(text, 4);
      return element;
    });
    knownClassBytes.set(model, bytes);
  }
  return bytes;
}
