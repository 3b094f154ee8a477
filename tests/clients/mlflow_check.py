"""Drives this server by the unchanged mlflow client; prints one line per step, exits 1 on the first
that is wrong. Usage: MLFLOW_TRACKING_URI=http://127.0.0.1:PORT python mlflow_check.py ONNX_FILE"""

import importlib.util
import json
import math
import os
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.entities.logged_model_output import LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.tracking import MlflowClient
from mlflow.webhooks.delivery import _generate_hmac_signature

ONNX = sys.argv[1]
client = MlflowClient()
steps = 0


def done(what):
    global steps
    steps += 1
    print(f"ok {steps:2d} {what}", flush=True)


def refused(code, action):
    try:
        action()
    except MlflowException as error:
        assert error.error_code == code, (error.error_code, code, str(error))
        return str(error)
    raise AssertionError(f"was not refused with {code}")


# Experiments
experiment = mlflow.set_experiment("drill cores")
assert mlflow.set_experiment("drill cores").experiment_id == experiment.experiment_id
client.set_experiment_tag(experiment.experiment_id, "team", "geo")
assert client.get_experiment(experiment.experiment_id).tags == {"team": "geo"}
assert client.get_experiment("0").name == "Default"
found = client.search_experiments(filter_string="name LIKE 'drill%' AND tags.team = 'geo'")
assert [e.name for e in found] == ["drill cores"], found
other = client.create_experiment("to go")
client.delete_experiment(other)
assert client.get_experiment(other).lifecycle_stage == "deleted"
client.restore_experiment(other)
client.rename_experiment(other, "stays")
assert client.get_experiment_by_name("stays").experiment_id == other
assert client.get_experiment_by_name("no such") is None
refused("RESOURCE_ALREADY_EXISTS", lambda: client.create_experiment("stays"))
done("experiments: set, create, get, search, tag, rename, delete, restore")

# One run with everything
with mlflow.start_run(run_name="first", tags={"rock": "sandstone"}) as run:
    run_id = run.info.run_id
    mlflow.log_param("depth", 4)
    mlflow.log_params({"learning rate": 0.1, "note": "it's \"quoted\" `so`"})
    mlflow.log_param("depth", 4)
    text = refused("INVALID_PARAMETER_VALUE", lambda: mlflow.log_param("depth", 5))
    assert "never changes" in text, text
    for step, value in enumerate([1.0, 0.5, 0.25]):
        mlflow.log_metric("loss", value, step=step)
    mlflow.log_metrics({"accuracy": 0.9, "worst": float("nan"), "best": float("inf")}, step=2)
    mlflow.log_metric("loss", 9.0, step=1)
    mlflow.set_tag("stage", "draft")
    mlflow.set_tags({"a.b": "c", "stage": "final"})
    mlflow.log_text("hello", "notes/hello.txt")
    mlflow.log_dict({"a": [1, 2]}, "notes/values.json")
    mlflow.log_artifact(ONNX, "model")
    mlflow.log_text("flavors: {}", "model/MLmodel")
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(f"{folder}/deep")
        for name in ["one.bin", "deep/two ü.bin"]:
            with open(f"{folder}/{name}", "wb") as file:
                file.write(bytes(range(256)) * 40)
        mlflow.log_artifacts(folder, "many")
done("run: params (immutable), metrics (NaN, inf), tags, text, dict, artifacts")

got = client.get_run(run_id)
assert got.info.status == "FINISHED" and got.info.run_name == "first", got.info
assert got.data.params == {"depth": "4", "learning rate": "0.1", "note": "it's \"quoted\" `so`"}
assert got.data.metrics["loss"] == 0.25, "the latest value is of the highest step"
assert math.isnan(got.data.metrics["worst"]) and got.data.metrics["best"] == float("inf")
assert got.data.tags["stage"] == "final" and got.data.tags["rock"] == "sandstone"
client.delete_tag(run_id, "rock")
assert "rock" not in client.get_run(run_id).data.tags
history = client.get_metric_history(run_id, "loss")
assert sorted((m.step, m.value) for m in history) == [(0, 1.0), (1, 0.5), (1, 9.0), (2, 0.25)]
done("get_run: latest metric by step, NaN and inf, get_metric_history, delete_tag")

# Artifacts
assert sorted(f.path for f in client.list_artifacts(run_id)) == ["many", "model", "notes"]
files = {f.path: (f.is_dir, f.file_size) for f in client.list_artifacts(run_id, "many")}
assert files == {"many/deep": (True, None), "many/one.bin": (False, 10240)}, files
assert mlflow.artifacts.load_text(f"runs:/{run_id}/notes/hello.txt") == "hello"
assert mlflow.artifacts.load_dict(f"runs:/{run_id}/notes/values.json") == {"a": [1, 2]}
with tempfile.TemporaryDirectory() as folder:
    path = client.download_artifacts(run_id, "many", folder)
    assert open(f"{path}/deep/two ü.bin", "rb").read() == bytes(range(256)) * 40
done("artifacts: list, download, binary and non-ASCII names")

# Search
with mlflow.start_run(run_name="second") as second:
    client.log_batch(
        second.info.run_id,
        metrics=[Metric("loss", 0.1, 1, 0)],
        params=[Param("depth", "8")],
        tags=[RunTag("stage", "draft")],
    )
ids = [experiment.experiment_id]


def names(filter_string, order_by=None):
    runs = client.search_runs(ids, filter_string, order_by=order_by)
    return [r.info.run_name for r in runs]


assert names("metrics.loss < 0.2") == ["second"]
assert names("metrics.loss >= 0.1 and params.depth = '4'") == ["first"]
assert names("params.`learning rate` LIKE '0.%'") == ["first"]
assert names("tags.stage ILIKE 'FIN%'") == ["first"] and names('tags."a.b" = "c"') == ["first"]
assert names("attributes.run_name != 'first' and status = 'FINISHED'") == ["second"]
assert names(f"run_id IN ('{run_id}')") == ["first"]
assert names("tags.stage IS NOT NULL", ["metrics.loss ASC"]) == ["second", "first"]
assert names("", ["params.depth DESC"]) == ["second", "first"]
assert names("", ["start_time ASC"]) == ["first", "second"]
refused("INVALID_PARAMETER_VALUE", lambda: names("metrics.loss <"))
refused("INVALID_PARAMETER_VALUE", lambda: names("params.depth > '3'"))
pages, token = [], None
while True:
    page = client.search_runs(ids, max_results=1, page_token=token)
    pages += [r.info.run_name for r in page]
    token = page.token
    if not token:
        break
assert pages == ["second", "first"], pages
client.delete_run(second.info.run_id)
assert names("") == ["first"]
client.restore_run(second.info.run_id)
assert len(names("")) == 2
done("search_runs: filters, LIKE, IN, NULL, order_by, pages, deleted runs; bad filters refused")

# Atomic batch: one bad param and nothing is logged
refused(
    "INVALID_PARAMETER_VALUE",
    lambda: client.log_batch(
        run_id, metrics=[Metric("never", 1.0, 1, 0)], params=[Param("depth", "77")]
    ),
)
assert "never" not in client.get_run(run_id).data.metrics
done("log_batch: all or nothing")

# Datasets
dataset = Dataset("wells", "abc123", "http", '{"url": "http://127.0.0.1/wells.csv"}')
with mlflow.start_run(run_name="with data") as third:
    tags = [InputTag("mlflow.data.context", "training")]
    client.log_inputs(third.info.run_id, [DatasetInput(dataset, tags)])
[inputs] = client.get_run(third.info.run_id).inputs.dataset_inputs
assert inputs.dataset.name == "wells" and inputs.tags[0].value == "training"
assert names("datasets.name = 'wells' and datasets.context = 'training'") == ["with data"]
done("log_inputs: dataset with its context, and search by it")

# Registry
client.create_registered_model("cores", tags={"owner": "ada"}, description="what a core shows")
refused("RESOURCE_ALREADY_EXISTS", lambda: client.create_registered_model("cores"))
version = mlflow.register_model(f"runs:/{run_id}/model", "cores")
assert version.version in ("1", 1) and version.status == "READY", version
listed = client.create_model_version("cores", f"runs:/{run_id}/notes", run_id, tags={"kind": "notes"})
assert str(listed.version) == "2" and listed.tags["kind"] == "notes"
assert client.get_model_version("cores", 1).tags["geophone.servable"] == "true"
assert client.get_model_version("cores", 2).tags["geophone.servable"] == "false"
client.set_model_version_tag("cores", "1", "checked", "yes")
client.set_registered_model_tag("cores", "area", "north")
client.delete_registered_model_tag("cores", "owner")
client.delete_model_version_tag("cores", "2", "kind")
client.update_model_version("cores", "1", description="from the first run")
client.update_registered_model("cores", description="changed")
model = client.get_registered_model("cores")
assert model.tags == {"area": "north"} and model.description == "changed"
assert client.get_model_version("cores", "1").description == "from the first run"
assert [m.name for m in client.search_registered_models("name LIKE 'core%'")] == ["cores"]
assert len(client.search_model_versions("name='cores'")) == 2
assert [str(v.version) for v in client.search_model_versions("tags.checked = 'yes'")] == ["1"]
found = client.search_model_versions(f"run_id = '{run_id}'", order_by=["version_number ASC"])
assert [str(v.version) for v in found] == ["1", "2"]
done("registry: create, register, tags, descriptions, search")

client.set_registered_model_alias("cores", "champion", "2")
client.set_registered_model_alias("cores", "champion", "1")
assert str(client.get_model_version_by_alias("cores", "champion").version) == "1"
refused("INVALID_PARAMETER_VALUE", lambda: client.set_registered_model_alias("cores", "latest", "1"))
with tempfile.TemporaryDirectory() as folder:
    path = mlflow.artifacts.download_artifacts("models:/cores@champion", dst_path=folder)
    [name] = [n for n in os.listdir(path) if n.endswith(".onnx")]
    assert open(f"{path}/{name}", "rb").read() == open(ONNX, "rb").read()
aliases = client.get_registered_model("cores").aliases
assert {alias: str(number) for alias, number in aliases.items()} == {"champion": "1"}, aliases
client.delete_registered_model_alias("cores", "champion")
refused("INVALID_PARAMETER_VALUE", lambda: client.get_model_version_by_alias("cores", "champion"))
done("aliases: set, move, get, download by models:/cores@champion, delete; latest is reserved")

client.transition_model_version_stage("cores", "1", "Staging")
assert [v.current_stage for v in client.get_latest_versions("cores", ["Staging"])] == ["Staging"]
client.transition_model_version_stage("cores", "1", "Production")
client.transition_model_version_stage("cores", "2", "Production", archive_existing_versions=True)
stages = {str(v.version): v.current_stage for v in client.search_model_versions("name='cores'")}
assert stages == {"1": "Archived", "2": "Production"}, stages
assert str(client.get_model_version_by_alias("cores", "production").version) == "2"
done("stages: transition, archive, get_latest_versions; Production is the alias production")

client.delete_model_version("cores", "2")
refused("RESOURCE_DOES_NOT_EXIST", lambda: client.get_model_version("cores", "2"))
assert str(mlflow.register_model(f"runs:/{run_id}/model", "cores").version) == "3"
done("a number is never used again")

# Logged models
with mlflow.start_run(run_name="maker") as maker:
    logged = mlflow.initialize_logged_model(name="facies", params={"k": "3"}, tags={"t": "1"})
    mlflow.log_metric("f1", 0.8, model_id=logged.model_id)
    mlflow.finalize_logged_model(logged.model_id, "READY")
logged = mlflow.get_logged_model(logged.model_id)
assert logged.status == "READY" and logged.params == {"k": "3"}, logged
assert [(m.key, m.value) for m in logged.metrics] == [("f1", 0.8)]
mlflow.set_logged_model_tags(logged.model_id, {"u": "2"})
mlflow.delete_logged_model_tag(logged.model_id, "t")
found = client.search_logged_models(ids, "metrics.f1 > 0.5 AND name = 'facies'")
assert [m.tags["u"] for m in found] == ["2"], found
client.log_model_artifact(logged.model_id, ONNX)
from_logged = mlflow.register_model(f"models:/{logged.model_id}", "facies")
assert client.get_model_version("facies", "1").tags["geophone.servable"] == "true"
assert client.get_model_version("facies", "1").source == f"models:/{logged.model_id}"
done("logged models: create, metric, finalize, tags, search, artifacts, register")


class Plain:
    """A flavor of its own, so that logging a model needs no numpy."""

    @staticmethod
    def save_model(path, mlflow_model, **_):
        os.makedirs(path)
        with open(f"{path}/weights.bin", "wb") as file:
            file.write(b"0123")
        mlflow_model.add_flavor("plain", data="weights.bin")
        mlflow_model.save(f"{path}/MLmodel")


def log_plain_model():
    """What Model.log calls of the server, for the skinny client without numpy."""
    logged = mlflow.initialize_logged_model(name="plain")
    with tempfile.TemporaryDirectory() as folder:
        Plain.save_model(f"{folder}/model", Model())
        client.log_model_artifacts(logged.model_id, f"{folder}/model")
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(mlflow.active_run().info.run_id, [LoggedModelOutput(logged.model_id, 0)])
    mlflow.register_model(f"models:/{logged.model_id}", "plain")
    return logged


with mlflow.start_run(run_name="plain") as plain:
    if importlib.util.find_spec("numpy"):
        info = Model.log(None, flavor=Plain, name="plain", registered_model_name="plain")
    else:
        info = log_plain_model()
plain_version = client.get_model_version("plain", "1")
assert plain_version.source == f"models:/{info.model_id}", plain_version
assert plain_version.tags["geophone.servable"] == "false", plain_version
made = client.get_run(plain.info.run_id).outputs.model_outputs
assert [m.model_id for m in made] == [info.model_id], made
client.set_registered_model_alias("plain", "Team-A", "1")
with tempfile.TemporaryDirectory() as folder:
    path = mlflow.artifacts.download_artifacts("models:/plain@Team-A", dst_path=folder)
    assert open(f"{path}/weights.bin", "rb").read() == b"0123", os.listdir(path)
done("a model of another flavor: logged, registered, listed, downloaded by alias; not servable")

# Sixteen threads at once
with mlflow.start_run(run_name="crowd") as crowd:
    crowd_id = crowd.info.run_id
failures = []


def work(number):
    try:
        mine = MlflowClient()
        for step in range(25):
            mine.log_metric(crowd_id, f"m{number}", step * 1.0, step=step)
        mine.log_batch(
            crowd_id,
            metrics=[Metric("shared", number, int(time.time() * 1000), s) for s in range(100)],
            params=[Param(f"p{number}", str(number))],
            tags=[RunTag(f"t{number}", str(number))],
        )
        mine.create_model_version("cores", f"runs:/{run_id}/notes", run_id)
    except Exception as error:
        failures.append(f"{number}: {error}")


threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
started = time.time()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failures, failures
crowd = client.get_run(crowd_id)
for number in range(16):
    assert len(client.get_metric_history(crowd_id, f"m{number}")) == 25
    assert crowd.data.params[f"p{number}"] == str(number)
    assert crowd.data.tags[f"t{number}"] == str(number)
assert len(client.get_metric_history(crowd_id, "shared")) == 1600
numbers = sorted(int(v.version) for v in client.search_model_versions("name='cores'"))
assert numbers == [1, 3] + list(range(4, 20)), numbers
done(f"16 threads: 2000 metrics, 16 params, 16 tags, 16 versions, none lost ({time.time() - started:.1f} s)")

# Webhooks
received = []


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        payload = self.rfile.read(int(self.headers["content-length"])).decode()
        received.append((dict(self.headers), payload))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"thanks")

    def log_message(self, *_):
        pass


listener = HTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=listener.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{listener.server_port}/hook"
for inside, state in [(url, "write https"), ("https://127.0.0.1/", "is not a public one")]:
    text = refused(
        "INVALID_PARAMETER_VALUE",
        lambda: client.create_webhook("in", inside, ["model_version.created"]),
    )
    assert state in text, text
made = client.create_webhook(
    "outside",
    "https://1.1.1.1/hook",
    ["registered_model.created", "model_version_tag.set"],
    description="what for",
    secret="s1",
    status="DISABLED",
)
got = client.get_webhook(made.webhook_id)
assert (got.name, got.description, str(got.status)) == ("outside", "what for", "DISABLED"), got
assert [str(e) for e in got.events] == ["registered_model.created", "model_version_tag.set"], got
refused(
    "INVALID_PARAMETER_VALUE",
    lambda: client.create_webhook("outside", "https://1.1.1.1/", ["model_version.created"]),
)
refused(
    "INVALID_PARAMETER_VALUE",
    lambda: client.create_webhook("prompts", "https://1.1.1.1/", ["prompt.created"]),
)
pages, token = [], None
while True:
    page = client.list_webhooks(max_results=1, page_token=token)
    pages += [w.name for w in page]
    token = page.token
    if not token:
        break
assert pages == ["loopback", "outside"], pages
client.update_webhook(made.webhook_id, name="renamed", description="", events=["model_version.created"])
got = client.get_webhook(made.webhook_id)
assert (got.name, got.description, [str(e) for e in got.events]) == (
    "renamed",
    None,
    ["model_version.created"],
), got
client.delete_webhook(made.webhook_id)
refused("RESOURCE_DOES_NOT_EXIST", lambda: client.get_webhook(made.webhook_id))
[local] = client.list_webhooks()
client.update_webhook(local.webhook_id, url=url, secret="s2")
result = client.test_webhook(local.webhook_id)
assert (result.success, result.response_status, result.response_body) == (True, 200, "thanks"), result
client.create_registered_model("told", tags={"k": "v"}, description="d")
for _ in range(200):
    if len(received) > 1:
        break
    time.sleep(0.05)
for headers, payload in received:
    expected = _generate_hmac_signature(
        "s2", headers["x-mlflow-delivery-id"], headers["x-mlflow-timestamp"], payload
    )
    assert headers["x-mlflow-signature"] == expected, headers
told = json.loads(received[1][1])
assert (told["entity"], told["action"]) == ("registered_model", "created"), told
assert told["data"] == {"name": "told", "tags": {"k": "v"}, "description": "d"}, told
client.delete_webhook(local.webhook_id)
listener.shutdown()
done("webhooks: create, get, list, pages, update, test, delete; an event comes, signed as MLflow signs")

# What the project's own pipeline made
[own] = client.search_runs([client.get_experiment_by_name("rocks").experiment_id], "status = 'FINISHED'")
assert own.data.params["training.trainer"] == "boosting", own.data.params
assert own.data.metrics["evaluation/accuracy"] == 0.9, own.data.metrics
refused("INVALID_PARAMETER_VALUE", lambda: client.log_metric(own.info.run_id, "x", 1.0))
served = client.get_model_version_by_alias("rocks", "production")
assert str(served.version) == "1" and served.run_id == own.info.run_id, served
with tempfile.TemporaryDirectory() as folder:
    path = mlflow.artifacts.download_artifacts("models:/rocks@production", dst_path=folder)
    # The client itself adds a file registered_model_meta.
    assert {"MLmodel", "model.onnx", "report.json"} <= set(os.listdir(path)), os.listdir(path)
    if importlib.util.find_spec("numpy"):
        assert Model.load(path).flavors["onnx"]["data"] == "model.onnx"
if all(importlib.util.find_spec(name) for name in ["numpy", "pandas", "onnx", "onnxruntime"]):
    import numpy

    answer = mlflow.pyfunc.load_model("models:/rocks@production").predict(
        numpy.array([[50, 2.3, 0.2]], dtype=numpy.float32)
    )
    assert answer["probabilities"].shape == (1, 3), answer
    done("mlflow.pyfunc.load_model of the pipeline's model by alias predicts")
done("the pipeline's own run, params, metrics, model and alias are there, and read only")
client.create_model_version("rocks", f"runs:/{run_id}/model", run_id)
client.set_registered_model_alias("rocks", "production", "2")
done("rocks@production now is the version that this client registered")
print(f"{steps} steps passed with mlflow {mlflow.__version__}", flush=True)
