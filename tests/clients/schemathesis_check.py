"""Runs Schemathesis on a server: schemathesis_check.py URL SECONDS SEED [KEY]."""

import os
import pathlib
import sys
import tempfile

import schemathesis
from schemathesis.cli import schemathesis as command

url, seconds, seed, *key = sys.argv[1:]


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


checks = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    *(["ignored_auth"] if key else []),
]
arguments = [
    "--config-file",
    str(pathlib.Path(__file__).resolve().with_name("schemathesis.toml")),
    "run",
    f"{url}/openapi.json",
    "--checks",
    ",".join(checks),
    "--phases",
    "examples,coverage,fuzzing",
    "--max-time",
    seconds,
    "--seed",
    seed,
    "--request-timeout",
    "20",
    "--continue-on-failure",
    "--no-shrink",
    "--warnings",
    "off",
    # What it does is to take the model out of use: then there is nothing to try any more.
    "--exclude-operation-id-regex",
    "^oipUnload",
]
if key:
    arguments += ["--header", f"X-API-Key:{key[0]}"]
# It leaves files where it runs.
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    try:
        command(arguments)
    finally:
        os.chdir(pathlib.Path(__file__).resolve().parent)
