"""Settings of a worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.worker.breaker import WAITS
from holdfast.worker.hand import BOUND

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.archive import Archive
    from holdfast.schedule import Schedule


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """
    Settings of a worker, in seconds; None keeps events for ever. ``breaker_waits``: see `Breaker`. ``bound``: deliveries
    of a subscription in hand above which no more are read for it. ``retention_warning``: before retention.
    ``keeps_time``: whether it looks for what is due; a simulation in which nothing is spares its seeds the looks.
    """

    lease_ttl: float = 30.0
    poll_interval: float = 0.04
    retention: float | None = 30 * 86400.0
    breaker_waits: tuple[float, float] = WAITS
    bound: int = BOUND
    retention_warning: float = 3 * 86400.0
    archive: Archive | None = None
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    keeps_time: bool = True
