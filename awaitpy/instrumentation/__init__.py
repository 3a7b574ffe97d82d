"""Observers for `Runner(on_event=...)`: a log, several observers together, and traces.

`awaitpy.instrumentation.otel` is imported by its own name, since it needs the OpenTelemetry API.
"""

from awaitpy.instrumentation._fan_out import fan_out
from awaitpy.instrumentation._logging import log_events

__all__ = ["fan_out", "log_events"]
