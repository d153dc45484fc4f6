"""The metrics of `holdfast.telemetry.metrics` as instruments of OpenTelemetry, read when an exporter asks for them."""

from __future__ import annotations

import time
from itertools import chain
from threading import Lock
from typing import TYPE_CHECKING

from opentelemetry.metrics import Observation

from holdfast.counts import Histogram
from holdfast.ports import BackgroundLoop
from holdfast.stores import make_store
from holdfast.stores.inspector import make_inspector
from holdfast.telemetry.metrics import METRICS, OF_PROCESS, cumulative, of_process, of_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from opentelemetry.metrics import CallbackOptions, Meter

    from holdfast.bus import EventBus
    from holdfast.stores.base import Store
    from holdfast.stores.inspector import Inspector
    from holdfast.sync import SyncEventBus
    from holdfast.telemetry.metrics import Figure, Metric

_FRESH_SECONDS = 5.0


class Instruments:
    """What is made of `holdfast.telemetry.opentelemetry.measure`; `close` it where the program goes on without it."""

    def __init__(self, meter: Meter, buses: Sequence[EventBus | SyncEventBus], *, ask_store: bool) -> None:
        self._buses = buses
        self._stores = _Stores(buses) if ask_store else None
        for metric in METRICS if ask_store else OF_PROCESS:
            _register(meter, metric, self._figures_of(metric))

    def close(self) -> None:
        """Close the connections by which stores are asked; their metrics are not told any more."""
        stores, self._stores = self._stores, None
        if stores is not None:
            stores.close()

    def _figures_of(self, metric: Metric) -> Callable[[], Iterable[Figure]]:
        def read() -> Iterable[Figure]:
            return [figure for figure in self._all(metric in OF_PROCESS) if figure.metric is metric]

        return read

    def _all(self, of_this_process: bool) -> list[Figure]:
        if of_this_process:
            return of_process(found for bus in self._buses if (found := bus.counts) is not None)
        return [] if self._stores is None else self._stores.figures()


class _Stores:
    """Asks the stores of buses, from a thread of its own: exporters wait for their answers."""

    def __init__(self, buses: Sequence[EventBus | SyncEventBus]) -> None:
        self._wanted = {(bus.dsn, bus.schema) for bus in buses}
        self._loop, self._asking = BackgroundLoop("holdfast-metrics"), Lock()
        self._opened: list[Store] = []
        self._inspectors: dict[str, Inspector] = {}
        self._found: list[Figure] = []
        self._fresh_until = 0.0

    def figures(self) -> list[Figure]:
        with self._asking:
            if time.monotonic() >= self._fresh_until:
                self._found = self._loop.run(self._ask())
                self._fresh_until = time.monotonic() + _FRESH_SECONDS
            return self._found

    async def _ask(self) -> list[Figure]:
        while self._wanted:
            dsn, schema = self._wanted.pop()
            store = make_store(dsn, schema=schema)
            if store.is_durable:  # one in memory is in the bus's own hands only
                self._opened.append(store)
                self._inspectors[store.address], _ = make_inspector(store)
        asked = [await of_store(address, inspector) for address, inspector in self._inspectors.items()]
        return list(chain.from_iterable(asked))

    def close(self) -> None:
        self._loop.run(self._close())
        self._loop.close()

    async def _close(self) -> None:
        for inspector in self._inspectors.values():
            await inspector.close()
        for store in self._opened:
            await store.close()


def _register(meter: Meter, metric: Metric, figures: Callable[[], Iterable[Figure]]) -> None:
    """An instrument for a metric. A histogram is three counters: what is asked for cannot be one in OpenTelemetry."""
    unit = "s" if "seconds" in metric.name else "1"
    if metric.kind == "histogram":
        for part, unit_of_part in (("bucket", "1"), ("count", "1"), ("sum", unit)):
            meter.create_observable_counter(
                f"{metric.name}_{part}", [_observing(figures, part)], unit_of_part, metric.help
            )
    elif metric.kind == "counter":
        meter.create_observable_counter(metric.name, [_observing(figures)], unit, metric.help)
    else:
        meter.create_observable_gauge(metric.name, [_observing(figures)], unit, metric.help)


def _observing(
    figures: Callable[[], Iterable[Figure]], part: str = ""
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        for metric, labels, value in figures():
            attributes = dict(zip(metric.labels, labels, strict=True))
            if isinstance(value, Histogram):
                yield from _parts(value, attributes, part)
            else:
                yield Observation(value, attributes)

    return observe


def _parts(histogram: Histogram, attributes: dict[str, str], part: str) -> Iterator[Observation]:
    if part == "bucket":
        for bound, count in cumulative(histogram):
            yield Observation(count, {**attributes, "le": bound})
    else:
        yield Observation(histogram.total if part == "sum" else sum(histogram.buckets), attributes)
