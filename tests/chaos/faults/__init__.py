"""Every fault that strikes from outside of the programs, by group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.faults import answers, database, workers

if TYPE_CHECKING:
    from tests.chaos.fault import Fault

FAULTS: tuple[Fault, ...] = (*database.FAULTS, *answers.FAULTS, *workers.FAULTS)
