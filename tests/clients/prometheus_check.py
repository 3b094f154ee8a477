"""Reads the OpenMetrics text of a server with the reference parser, and checks what it says."""
import sys
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families

url, trace_id = sys.argv[1:]
request = urllib.request.Request(url, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
with urllib.request.urlopen(request) as response:
    assert response.headers["content-type"].startswith("application/openmetrics-text"), response.headers
    text = response.read().decode()

families = {family.name: family for family in text_string_to_metric_families(text)}
print(f"ok: {len(families)} families parsed")

assert families["geophone_requests"].type == "counter"
assert families["geophone_request_duration_seconds"].type == "histogram"
print("ok: counters and histograms have their types")

exemplars = [
    sample.exemplar
    for sample in families["geophone_request_duration_seconds"].samples
    if sample.exemplar is not None
]
assert any(exemplar.labels.get("trace_id") == trace_id for exemplar in exemplars), exemplars
assert all("request_id" in exemplar.labels for exemplar in exemplars), exemplars
print("ok: buckets have exemplars with trace and request id")

value = lambda name, sample: next(s.value for s in families[name].samples if s.name == sample)
rows = value("nv_inference_count", "nv_inference_count")
requests = value("nv_inference_request_success", "nv_inference_request_success")
assert (rows, requests) == (4.0, 2.0), (rows, requests)
assert value("model_infer_request_success", "model_infer_request_success_total") == requests
assert sum(s.value for s in families["geophone_predictions"].samples) == rows
print("ok: names of Triton and MLServer count the same requests")
