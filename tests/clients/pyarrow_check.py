"""Reads /sql of a server as an Arrow stream and checks types and values: URL of the server."""
import sys
import urllib.request
import json
import datetime

import pyarrow as pa
import pyarrow.ipc


def ask(sql, **more):
    request = urllib.request.Request(
        f"{sys.argv[1]}/sql",
        json.dumps({"sql": sql, **more}).encode(),
        {"Accept": "application/vnd.apache.arrow.stream", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        with pa.ipc.open_stream(response) as reader:
            return reader.read_all(), response.headers


def check(name, condition):
    if not condition:
        raise SystemExit(f"failed: {name}")
    print(f"ok: {name}")


table, headers = ask(
    """select * from (values
      (1, 0.5::double, true, 'a "b" é', [1.5, null]::double[], 9007199254740993),
      (null, null, null, null, null, null),
      (-3, 'nan'::double, false, '', [], -9223372036854775808)) t(n, x, ok, s, list, big)"""
)
table.validate(full=True)
check("int64", table.schema.field("n").type == pa.int64())
check("integers", table["n"].to_pylist() == [1, None, -3])
check("64 bits", table["big"].to_pylist() == [9007199254740993, None, -9223372036854775808])
check("float64", table.schema.field("x").type == pa.float64())
check("null is not NaN", table["x"].null_count == 1 and str(table["x"].to_pylist()) == "[0.5, None, nan]")
check("bool", table["ok"].to_pylist() == [True, None, False])
check("utf8", table["s"].to_pylist() == ['a "b" é', None, ""])
check("list", table.schema.field("list").type.value_type == pa.float64())
check("lists", table["list"].to_pylist() == [[1.5, None], None, []])
check("metadata", table.schema.metadata == {b"is_truncated": b"false"})

table, headers = ask("select i, 'row ' || i as s from range(20000) t(i)", max_rows=15000)
table.validate(full=True)
check("many rows", table.num_rows == 15000 and table["s"][14999].as_py() == "row 14999")
check("truncated", headers["x-truncated"] == "true" and table.schema.metadata[b"is_truncated"] == b"true")

table, _ = ask("select 1 as a where false")
check("no rows", table.num_rows == 0 and table.column_names == ["a"])

with open(sys.argv[2], "rb") as file, pa.ipc.open_stream(file) as reader:
    table = reader.read_all()
table.validate(full=True)
utc = datetime.timezone.utc
check("timestamp", table.schema.field("at").type == pa.timestamp("us", tz="UTC"))
check(
    "times",
    table["at"].to_pylist()
    == [
        datetime.datetime(2024, 2, 29, 10, 0, 0, 123000, tzinfo=utc),
        None,
        datetime.datetime(9999, 12, 31, tzinfo=utc),
    ],
)
check("date32", table["day"].to_pylist() == [datetime.date(1969, 12, 31), None, datetime.date(2024, 2, 29)])
check("binary", table["raw"].to_pylist() == [b"\x00\xff", None, b""])
check("uint64", table["big"].to_pylist() == [2**64 - 1, None, 0])
check("list of timestamps", table.schema.field("times").type.value_type == pa.timestamp("us", tz="UTC"))
check("times in lists", [None if x is None else len(x) for x in table["times"].to_pylist()] == [2, None, 0])
check("struct as JSON", [x and json.loads(x) for x in table["m"].to_pylist()] == [{"a b": 1}, None, {}])
