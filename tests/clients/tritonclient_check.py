"""Checks a Geophone server with the unchanged `tritonclient[http]`.

    python tritonclient_check.py HOST:PORT MODEL

Needs `tritonclient[http]` and `numpy`. Prints one line per check; ends with 1 at the first failure.
"""

import json
import sys
import urllib.error
import urllib.request

import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

ROWS = 200


def main(address, model):
    client = http.InferenceServerClient(address, concurrency=4)
    columns, classes, order = check_description(client, model)
    X, positions = make_rows(len(columns))
    expected = predict(address, columns, X, order, positions)
    inputs = lambda is_binary=True: make_inputs(X, order, positions, is_binary)
    check_forms(client, model, inputs, expected, classes)
    check_compression(client, model, inputs, expected, classes)
    check_outputs(client, model, inputs, expected)
    check_datatypes(client, model, X, order, positions, expected)
    check_missing(client, address, model, columns, order)
    check_concurrency(client, model, X, order, positions, expected)
    check_versions(client, model, inputs, expected, classes)
    check_errors(client, model, X, order, positions)
    check_repository(client, model)
    check_statistics(client, model)
    check_unsupported(client, model)
    client.close()


def done(text):
    print(f"ok: {text}", flush=True)


def make_rows(width):
    random = np.random.default_rng(1)
    scale = np.array([300, 2.5, 0.6])[np.arange(width) % 3]
    X = (random.random((ROWS, width)) * scale + [0, 1, 0]).astype(np.float32)
    return X, 1000 + np.arange(ROWS) * 0.5


def make_inputs(X, order, positions, is_binary=True, datatype="FP32"):
    tensors = [http.InferInput("input", list(X.shape), datatype)]
    tensors[0].set_data_from_numpy(X, binary_data=is_binary)
    if order:
        tensors.append(http.InferInput(order, [len(positions)], "FP64"))
        tensors[1].set_data_from_numpy(positions, binary_data=is_binary)
    return tensors


def predict(address, columns, X, order, positions):
    """Answers of `/predict`: labels and probabilities `[n, k]`."""
    body = {name: X[:, j].tolist() for j, name in enumerate(columns)}
    body = {name: [None if v != v else v for v in values] for name, values in body.items()}
    if order:
        body[order] = positions.tolist()
    request = urllib.request.Request(
        f"http://{address}/predict",
        json.dumps({"columns": body}).encode(),
        {"content-type": "application/json"},
    )
    predictions = json.load(urllib.request.urlopen(request, timeout=30))["predictions"]
    labels = [p["label"] for p in predictions]
    return labels, np.array([list(p["probabilities"].values()) for p in predictions])


def check_description(client, model):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(model) and client.is_model_ready(model, "1")
    assert not client.is_model_ready("nothing")
    server = client.get_server_metadata()
    assert server["name"] == "geophone" and "binary_tensor_data" in server["extensions"], server
    metadata = client.get_model_metadata(model)
    assert metadata["name"] == model and "1" in metadata["versions"], metadata
    assert metadata["platform"] == "onnx_onnxv1", metadata
    first, *rest = metadata["inputs"]
    columns = json.loads(first["parameters"]["columns"])
    assert (first["name"], first["datatype"]) == ("input", "FP32"), first
    assert first["shape"] == [-1, len(columns)], first
    outputs = {o["name"]: (o["datatype"], len(o["shape"])) for o in metadata["outputs"]}
    assert outputs == {"label": ("BYTES", 1), "class_id": ("INT64", 1), "probabilities": ("FP32", 2)}
    classes = json.loads(metadata["outputs"][2]["parameters"]["classes"])
    config = client.get_model_config(model)
    assert config["name"] == model, config
    assert [i["data_type"] for i in config["input"]][0] == "TYPE_FP32", config
    assert config["output"][0]["data_type"] == "TYPE_STRING", config
    assert (config["max_batch_size"] == 0) == bool(rest), config
    done(f"health, metadata and configuration; {len(columns)} columns, {len(classes)} classes")
    return columns, classes, rest[0]["name"] if rest else None


def compare(result, expected, classes=None):
    labels, probabilities = expected
    given = result.as_numpy("probabilities")
    assert given.dtype == np.float32 and given.shape == probabilities.shape, given.shape
    assert np.abs(given - probabilities).max() < 1e-6
    names = [n.decode() if isinstance(n, bytes) else n for n in result.as_numpy("label").tolist()]
    assert names == labels
    if classes:
        ids = result.as_numpy("class_id")
        assert ids.dtype == np.int64 and [classes[i] for i in ids] == labels


def requested(is_binary):
    names = ["label", "class_id", "probabilities"]
    return [http.InferRequestedOutput(name, binary_data=is_binary) for name in names]


def check_forms(client, model, inputs, expected, classes):
    compare(client.infer(model, inputs()), expected, classes)
    for i, (sent, taken) in enumerate([(True, True), (True, False), (False, True), (False, False)]):
        result = client.infer(
            model, inputs(sent), outputs=requested(taken), request_id=f"form-{i}"
        )
        compare(result, expected, classes)
        response = result.get_response()
        assert response["id"] == f"form-{i}" and response["model_name"] == model, response
        assert ("data" in response["outputs"][0]) != taken, response
    done(f"binary and JSON, both ways, {ROWS} rows equal to /predict within 1e-6, ids echoed")


def check_compression(client, model, inputs, expected, classes):
    for sent in (None, "gzip", "deflate"):
        for taken in (None, "gzip", "deflate"):
            for is_binary in (True, False):
                result = client.infer(
                    model,
                    inputs(is_binary),
                    outputs=requested(is_binary),
                    request_compression_algorithm=sent,
                    response_compression_algorithm=taken,
                )
                compare(result, expected, classes)
    done("gzip and deflate, of requests and answers")


def check_outputs(client, model, inputs, expected):
    result = client.infer(model, inputs(), outputs=[http.InferRequestedOutput("probabilities")])
    assert [o["name"] for o in result.get_response()["outputs"]] == ["probabilities"]
    assert result.as_numpy("label") is None
    result = client.infer(
        model,
        inputs(),
        outputs=[
            http.InferRequestedOutput("class_id", binary_data=False),
            http.InferRequestedOutput("label", binary_data=True),
            http.InferRequestedOutput("probabilities", binary_data=False),
        ],
    )
    assert [o["name"] for o in result.get_response()["outputs"]] == [
        "class_id",
        "label",
        "probabilities",
    ]
    compare(result, expected)
    done("outputs as they are asked for, each in its own form")


def check_datatypes(client, model, X, order, positions, expected):
    tensors = make_inputs(X.astype(np.float64), order, positions, datatype="FP64")
    compare(client.infer(model, tensors), expected)
    whole = np.round(X).astype(np.int64)
    numbers = client.infer(model, make_inputs(whole.astype(np.float32), order, positions))
    for kind, dtype in [("INT64", np.int64), ("INT16", np.int16), ("UINT16", np.uint16)]:
        for is_binary in (True, False):
            tensors = make_inputs(whole.astype(dtype), order, positions, is_binary, kind)
            given = client.infer(model, tensors).as_numpy("probabilities")
            assert (given == numbers.as_numpy("probabilities")).all(), kind
    half = (X / 4).astype(np.float16)
    tensors = make_inputs(half, order, positions, datatype="FP16")
    given = client.infer(model, tensors).as_numpy("probabilities")
    numbers = client.infer(model, make_inputs(half.astype(np.float32), order, positions))
    assert (given == numbers.as_numpy("probabilities")).all()
    done("FP64, FP16, INT64, INT16 and UINT16 give what the same numbers as FP32 give")


def check_missing(client, address, model, columns, order):
    X, positions = make_rows(len(columns))
    X[::3, 1] = np.nan
    expected = predict(address, columns, X, order, positions)
    compare(client.infer(model, make_inputs(X, order, positions)), expected)
    done("NaN in a binary tensor is the null of /predict")


def check_concurrency(client, model, X, order, positions, expected):
    jobs = []
    for i in range(64):
        part = slice(i, i + 1) if order else slice(i, i + 1 + i % 3)
        tensors = make_inputs(X[part], order, positions[part])
        jobs.append((part, client.async_infer(model, tensors, request_id=f"async-{i}")))
    for i, (part, job) in enumerate(jobs):
        result = job.get_result(timeout=30)
        assert result.get_response()["id"] == f"async-{i}"
        if not order:
            compare(result, (expected[0][part], expected[1][part]))
    done(f"{len(jobs)} requests in flight at once, each with its own answer")


def check_versions(client, model, inputs, expected, classes):
    for name, version in [(model, "1"), (model, "production"), (f"{model}@production", "")]:
        result = client.infer(name, inputs(), model_version=version)
        assert result.get_response()["model_version"] == "1"
        compare(result, expected, classes)
    done("versions by number and by alias")


def refused(text, action, *arguments, **options):
    try:
        action(*arguments, **options)
    except InferenceServerException as error:
        assert text in str(error.message()), error
        assert error.status() in ("400", "404", "413", "503", "504"), error
        return
    raise AssertionError(f"Expected a refusal with {text}")


def check_errors(client, model, X, order, positions):
    infer = lambda tensors, **options: client.infer(model, tensors, **options)
    for is_binary in (True, False):
        make = lambda x, datatype="FP32": make_inputs(x, order, positions, is_binary, datatype)
        refused("its shape is", infer, make(X[:, :-1].copy()))
        refused("its shape is", infer, make(X.reshape(-1)))
        refused("not numeric", infer, make(X > 1, "BOOL"))
        refused("not numeric", infer, make(X.astype(str).astype(object), "BYTES"))
    wrong = http.InferInput("inputs", list(X.shape), "FP32")
    wrong.set_data_from_numpy(X)
    refused('did you mean "input"', infer, [wrong])
    refused(
        "did you mean",
        infer,
        make_inputs(X, order, positions),
        outputs=[http.InferRequestedOutput("labels")],
    )
    refused("infinite", infer, make_inputs(np.full_like(X, np.inf), order, positions))
    refused("Cannot find model", client.infer, "nothing", make_inputs(X, order, positions))
    refused("there are versions", infer, make_inputs(X, order, positions), model_version="99")
    if order:
        refused("it is missing", infer, make_inputs(X, None, None))
        nowhere = positions.copy()
        nowhere[5] = np.nan
        refused("NaN in row 5", infer, make_inputs(X, order, nowhere))
    infer(make_inputs(X, order, positions), priority=1, timeout=60_000_000)
    refused("longer than it allows", infer, make_inputs(X, order, positions), timeout=1)
    done("wrong shapes, datatypes, names and versions are refused with a reason")


def check_repository(client, model):
    index = client.get_model_repository_index()
    assert {"name": model, "version": "1", "state": "READY", "reason": ""} in index, index
    client.load_model(model)
    client.load_model(f"{model}@production")
    refused("not supported", client.load_model, model, config="{}")
    refused("Cannot find model", client.load_model, "nothing")
    client.unload_model(model)
    assert not client.is_model_ready(model)
    refused("unloaded", client.get_model_metadata, model)
    client.load_model(model)
    assert client.is_model_ready(model)
    done(f"repository index of {len(index)} versions, load and unload")


def check_statistics(client, model):
    for version in ("", "1"):
        (stats,) = client.get_inference_statistics(model, version)["model_stats"]
        assert stats["name"] == model and stats["version"] == "1", stats
        rows = sum(b["batch_size"] * b["compute_infer"]["count"] for b in stats["batch_stats"])
        assert rows == stats["inference_count"] > ROWS, stats
        runs = sum(b["compute_infer"]["count"] for b in stats["batch_stats"])
        assert runs == stats["execution_count"], stats
        times = stats["inference_stats"]
        assert times["success"]["count"] == times["compute_infer"]["count"] > 64, times
        assert times["fail"]["count"] > 0 and times["success"]["ns"] > times["queue"]["ns"] > 0
    assert client.get_inference_statistics()["model_stats"]
    done(f"statistics: {stats['inference_count']} rows in {stats['execution_count']} runs")


def check_unsupported(client, model):
    refused("not supported", client.get_system_shared_memory_status)
    refused("not supported", client.register_system_shared_memory, "x", "/x", 8)
    refused("not supported", client.unregister_cuda_shared_memory)
    refused("not supported", client.get_trace_settings, model)
    refused("not supported", client.update_log_settings, {"log_info": True})
    done("shared memory, trace and log settings are refused with a reason")


if __name__ == "__main__":
    main(*sys.argv[1:])
