/** Rows as an Arrow IPC stream. The only module that imports apache-arrow; load it late. */
import {
  Binary,
  Bool,
  type Data,
  type DataType,
  DateDay,
  Field,
  Float64,
  Int64,
  List,
  makeBuilder,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table,
  tableToIPC,
  TimestampMicrosecond,
  Uint64,
  Utf8,
} from "apache-arrow";
import type { ReadResult } from "../store/database_contract.ts";
import { writeJsonValue } from "./json.ts";
import { type ColumnKind, findKinds } from "./types.ts";

/**
 * Gives one record batch of typed columns, all of them nullable: bool, int64, uint64, float64, utf8,
 * binary, `timestamp[us, UTC]`, `date32` and lists of these; other values are utf8, structures as
 * JSON. Times have milliseconds. The schema's metadata has `is_truncated`.
 *
 * @see https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format
 */
export function writeArrow(result: ReadResult): Uint8Array<ArrayBuffer> {
  const kinds = findKinds(result);
  const fields = result.columns.map((name, j) => new Field(name, toType(kinds[j]), true));
  const metadata = new Map([["is_truncated", String(result.isTruncated)]]);
  const schema = new Schema(fields, metadata);
  const children = fields.map(({ type }, j) => {
    const builder = makeBuilder({ type: toType(kinds[j], true), nullValues: [null] });
    for (const row of result.rows) builder.append(toValue(row[j], kinds[j]));
    return retype(builder.finish().flush(), type);
  });
  const data = makeData({ type: new Struct(fields), length: result.rows.length, children });
  const table = new Table(schema, [new RecordBatch(schema, data)]);
  return new Uint8Array(tableToIPC(table, "stream"));
}

/** The type of a column, or the one its values are built in. */
function toType(kind: ColumnKind, isBuilt = false): DataType {
  if (kind.kind === "list") return new List(new Field("item", toType(kind.of, isBuilt), true));
  return isBuilt && kind.kind === "timestamp" ? new Int64() : types[kind.kind]();
}

/** Makes timestamps of integers: the package's own builder multiplies in float64 and loses digits. */
function retype(data: Data, type: DataType): Data {
  const { length, nullCount, nullBitmap } = data;
  const base = { length, nullCount, ...(nullBitmap ? { nullBitmap } : {}) };
  if (type instanceof TimestampMicrosecond) return makeData({ ...base, type, data: data.values });
  if (!(type instanceof List)) return data;
  const child = retype(data.children[0], type.children[0].type);
  return makeData({ ...base, type, valueOffsets: data.valueOffsets, child });
}

const types: Readonly<Record<Exclude<ColumnKind["kind"], "list">, () => DataType>> = {
  bool: () => new Bool(),
  int64: () => new Int64(),
  uint64: () => new Uint64(),
  float64: () => new Float64(),
  text: () => new Utf8(),
  bytes: () => new Binary(),
  timestamp: () => new TimestampMicrosecond("UTC"),
  date: () => new DateDay(),
};

function toValue(value: unknown, kind: ColumnKind): unknown {
  if (value === null || value === undefined) return null;
  switch (kind.kind) {
    case "list":
      return (value as readonly unknown[]).map((item) => toValue(item, kind.of));
    case "int64":
    case "uint64":
      return BigInt(value as number | string);
    case "float64":
      return Number(value);
    case "timestamp":
      return BigInt(Date.parse(value as string)) * 1000n;
    case "date":
      return new Date(value as string);
    case "text":
      return typeof value === "string"
        ? value
        : typeof value === "object"
        ? writeJsonValue(value)
        : String(value);
    default:
      return value;
  }
}
