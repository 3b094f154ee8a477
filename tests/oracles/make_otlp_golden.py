"""Writes otlp.json: one request of OTLP in protobuf and in JSON, by OpenTelemetry's own classes.

Made with opentelemetry-proto 1.45.2 and protobuf's json_format:
    python make_otlp_golden.py > otlp.json
"""

import base64
import json

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

START = 1_764_081_234_567_891_234

request = ExportTraceServiceRequest()
group = request.resource_spans.add()
group.resource.attributes.add(key="service.name").value.string_value = "wells-chat"
group.resource.attributes.add(key="process.pid").value.int_value = 4711
scope = group.scope_spans.add()
scope.scope.name = "my.instrumentation"
scope.scope.version = "1.2.3"

root = scope.spans.add()
root.trace_id = bytes(range(1, 17))
root.span_id = bytes(range(1, 9))
root.name = "answer a question"
root.kind = 2
root.start_time_unix_nano = START
root.end_time_unix_nano = START + 2_500_000_000
root.attributes.add(key="flag").value.bool_value = True
root.attributes.add(key="low").value.int_value = -(2**63)
root.attributes.add(key="high").value.int_value = 2**63 - 1
root.attributes.add(key="one").value.double_value = 1.0
root.attributes.add(key="tiny").value.double_value = 5e-324
root.attributes.add(key="nothing").value.SetInParent()
root.attributes.add(key="text").value.string_value = "Ü 𝄞 <b>"
values = root.attributes.add(key="list").value.array_value.values
values.add().string_value = "a"
values.add().int_value = 300
pairs = root.attributes.add(key="map").value.kvlist_value.values
pairs.add(key="inner").value.bool_value = False
root.attributes.add(key="raw").value.bytes_value = b"\x00\xff"
event = root.events.add(time_unix_nano=START + 1_000, name="cache miss")
event.attributes.add(key="shard").value.int_value = 3
link = root.links.add(trace_id=bytes([255] * 16), span_id=bytes([254] * 8))
link.attributes.add(key="why").value.string_value = "retry"
root.status.code = 1
root.flags = 257
root.trace_state = "vendor=1"

chat = scope.spans.add()
chat.trace_id = root.trace_id
chat.span_id = bytes(range(11, 19))
chat.parent_span_id = root.span_id
chat.name = "chat tiny"
chat.kind = 3
chat.start_time_unix_nano = START + 1_000_000
chat.end_time_unix_nano = START + 2_000_000_000
for key, value in {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "tiny",
    "gen_ai.response.model": "tiny-2026",
    "server.address": "192.0.2.7",
    "gen_ai.input.messages": json.dumps(
        [{"role": "user", "parts": [{"type": "text", "content": "Write to ada@example.com"}]}]
    ),
    "gen_ai.output.messages": json.dumps(
        [{"role": "assistant", "parts": [{"type": "text", "content": "Done."}], "finish_reason": "stop"}]
    ),
}.items():
    chat.attributes.add(key=key).value.string_value = value
chat.attributes.add(key="gen_ai.usage.input_tokens").value.int_value = 12
chat.attributes.add(key="gen_ai.usage.output_tokens").value.int_value = 3
chat.attributes.add(key="gen_ai.response.finish_reasons").value.array_value.values.add().string_value = "stop"
chat.status.code = 2
chat.status.message = "it went wrong"

# OTLP's JSON has hex ids and numbers for enumerations where protobuf's JSON has base64 and names.
document = json_format.MessageToDict(request, use_integers_for_enums=True)
for span in document["resourceSpans"][0]["scopeSpans"][0]["spans"]:
    for owner in [span, *span.get("links", [])]:
        for key in ["traceId", "spanId", "parentSpanId"]:
            if key in owner:
                owner[key] = base64.b64decode(owner[key]).hex()
print(json.dumps({"protobuf": base64.b64encode(request.SerializeToString()).decode(), "json": document}))
