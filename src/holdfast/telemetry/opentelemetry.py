"""Traces and metrics through OpenTelemetry: extra ``holdfast[otel]``, and an SDK of the program's own choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from holdfast import __version__
from holdfast.errors import ConfigurationError, MissingExtra

try:
    from opentelemetry.metrics import get_meter
    from opentelemetry.trace import get_tracer
except ImportError as error:
    raise MissingExtra("opentelemetry-api", "otel", "telling OpenTelemetry") from error

from holdfast.telemetry.instruments import Instruments
from holdfast.telemetry.spans import Spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from holdfast.bus import EventBus
    from holdfast.sync import SyncEventBus


def trace(
    bus: EventBus | SyncEventBus, *, handling: Literal["batch", "event"] = "batch",
    tracer_provider: TracerProvider | None = None,
) -> None:  # fmt: skip
    """
    Make spans of what *bus* publishes and handles. Call it before the bus is used.

    A publish is a span, and its events carry it in their header ``traceparent``. Their handling is, by choice:

    - ``"batch"``: one span for all events that a worker handed out together, with links to their publishes, made when
      they have been handled. Spans that a handler makes are not below it; what it publishes goes on from its event.
    - ``"event"``: one span for each call of a handler, which runs in it, below the event's publish.

    A batch handler has a span for each call, with links, in both cases.

    Args:
        tracer_provider: Default: the program's own.

    Raises:
        MissingExtra: At the import of this module: OpenTelemetry is not installed.
        ConfigurationError: *handling* is something else.

    Cost: "batch" some microseconds for an event that carries a trace, "event" as much as the SDK takes for a span.
    """
    if handling not in ("batch", "event"):
        raise ConfigurationError(f"handling={handling!r} is not known: give 'batch' or 'event'")
    bus.tracing = Spans(get_tracer("holdfast", __version__, tracer_provider), handling)


def measure(
    buses: Sequence[EventBus | SyncEventBus], *, ask_store: bool = True, meter_provider: MeterProvider | None = None
) -> Instruments:
    """
    Tell all metrics of *buses*, and of their stores, when the program's exporter asks for them.

    Histograms are told as the counters ``…_bucket`` (by attribute ``le``), ``…_count`` and ``…_sum``: they are counted
    already, and OpenTelemetry has no histogram that is asked for.

    Args:
        ask_store: Also what the stores say: lag, dead letters and so on. One process that tells it is enough.
        meter_provider: Default: the program's own.

    Returns:
        To be closed where the program goes on without it.

    Cost: with *ask_store* a connection to each store, and `Inspector.status` at most every 5 seconds.
    """
    return Instruments(get_meter("holdfast", __version__, meter_provider), buses, ask_store=ask_store)
