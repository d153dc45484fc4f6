"""Metrics as Prometheus reads them, by its own client library: extra ``holdfast[metrics]``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.counts import Histogram
from holdfast.errors import MissingExtra
from holdfast.telemetry.metrics import METRICS, OF_PROCESS, cumulative, of_process, of_store

try:
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.registry import Collector
except ImportError as error:
    raise MissingExtra("prometheus-client", "metrics", "telling metrics to Prometheus") from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from holdfast.bus import EventBus
    from holdfast.stores.inspector import Inspector
    from holdfast.sync import SyncEventBus
    from holdfast.telemetry.metrics import Figure, Metric

    Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""Of what `exposition` returns."""


class BusCollector(Collector):
    """
    What these buses have counted in this process, for a registry of your own.

    ``prometheus_client.REGISTRY.register(BusCollector([bus]))`` is all it takes.
    Lag, dead letters and the like are the store's and not among it: workers tell them at their health port.
    """

    def __init__(self, buses: Sequence[EventBus | SyncEventBus]) -> None:
        self._buses = buses

    def describe(self) -> Iterable[Family]:
        """The names alone, by which a registry finds others that have the same."""
        return [_empty(metric) for metric in OF_PROCESS]

    def collect(self) -> Iterator[Family]:
        return families(of_process(found for bus in self._buses if (found := bus.counts) is not None))


class _Figures(Collector):
    def __init__(self, figures: Iterable[Figure]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Family]:
        return families(self._figures)


async def exposition(
    buses: Sequence[EventBus | SyncEventBus] = (), inspectors: Mapping[str, Inspector] | None = None
) -> bytes:
    """
    All metrics in the text format, to be answered with `CONTENT_TYPE`.

    Args:
        buses: Of this process; what they have counted.
        inspectors: By address of the store: asked how their subscriptions are doing.

    Cost: as `Inspector.status` for each of *inspectors*. One call at a time; keep the answer for a few seconds where
    many may ask.
    """
    figures = of_process(found for bus in buses if (found := bus.counts) is not None)
    for address, inspector in (inspectors or {}).items():
        figures += await of_store(address, inspector)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(figures))
    return generate_latest(registry)


def families(figures: Iterable[Figure]) -> Iterator[Family]:
    """Figures by their metric, as the library wants them."""
    found: dict[Metric, Family] = {}
    for metric, labels, value in figures:
        family = found.get(metric) or found.setdefault(metric, _empty(metric))
        if isinstance(family, HistogramMetricFamily):
            assert isinstance(value, Histogram)
            family.add_metric(labels, buckets=cumulative(value), sum_value=value.total)
        else:
            assert not isinstance(value, Histogram)
            family.add_metric(labels, value)
    return (found[metric] for metric in METRICS if metric in found)


_KINDS: dict[str, Callable[..., Family]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def _empty(metric: Metric) -> Family:
    return _KINDS[metric.kind](metric.name, metric.help, labels=metric.labels)
