"""Every fault that strikes from outside of the programs, by group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.faults import (
    answers,
    bloat,
    clock,
    commits,
    database,
    disk,
    migrations,
    network,
    spool,
    standing_in,
    workers,
)

if TYPE_CHECKING:
    from tests.chaos.fault import Fault

_MODULES = (answers, bloat, clock, commits, database, disk, migrations, network, spool, standing_in, workers)

FAULTS: tuple[Fault, ...] = tuple(fault for module in _MODULES for fault in module.FAULTS)
