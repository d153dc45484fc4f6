"""Every fault that strikes from outside of the programs, by group."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.fault import Fault

FAULTS: tuple[Fault, ...] = ()
