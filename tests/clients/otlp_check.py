"""Sends spans by the stock OTLP exporter for HTTP: URL of the server, and the compression to use."""
import sys

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult


class Watched(SpanExporter):
    """Says what the exporter it wraps says."""

    def __init__(self, inner):
        self.inner = inner

    def export(self, spans):
        result = self.inner.export(spans)
        print(f"{'ok' if result is SpanExportResult.SUCCESS else 'failed'}: {len(spans)} spans")
        return result

    def shutdown(self):
        self.inner.shutdown()


compression = Compression.Gzip if sys.argv[2] == "gzip" else Compression.NoCompression
exporter = OTLPSpanExporter(endpoint=f"{sys.argv[1]}/v1/traces", compression=compression)
provider = TracerProvider(resource=Resource.create({"service.name": f"python-{sys.argv[2]}"}))
provider.add_span_processor(BatchSpanProcessor(Watched(exporter)))
tracer = provider.get_tracer("check", "1.0")

with tracer.start_as_current_span("answer", kind=trace.SpanKind.SERVER) as root:
    root.set_attribute("numbers", [1, 2, 3])
    root.set_attribute("share", 0.25)
    with tracer.start_as_current_span("chat tiny", kind=trace.SpanKind.CLIENT) as chat:
        chat.set_attributes({
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "tiny",
            "gen_ai.usage.input_tokens": 12,
            "gen_ai.usage.output_tokens": 3,
        })
    try:
        with tracer.start_as_current_span("tool"):
            raise ValueError("no such tool")
    except ValueError:
        pass
    print(f"trace: {trace.format_trace_id(root.get_span_context().trace_id)}")
provider.shutdown()
