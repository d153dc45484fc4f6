"""What a campaign runs, in which order: each group of faults alone, in pairs, and all together. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from tests.chaos.fault import Fault

HANDLERS = "handlers"
PROGRAMS = "commits and cursors"
LEAST_S = 60.0
_SHORT_S = 10 * 60.0


@dataclass(frozen=True)
class Phase:
    """Some groups of faults for some time, on a store of its own. The last quarter is quiet."""

    name: str
    groups: frozenset[str]
    seconds: float

    @property
    def is_full(self) -> bool:
        return self.name.startswith("all")


def plan(groups: Sequence[str], seconds: float, random: Random) -> list[Phase]:
    """
    Phases that take *seconds* together. A short campaign is one mix of all; in a long one a third of the time is for
    groups alone, a third for pairs, drawn by chance if there are more than fit, and a third for all together.
    """
    everything = frozenset(groups)
    if seconds < _SHORT_S:
        return [Phase("all together", everything, seconds)]
    share = seconds / 3
    each = max(LEAST_S, share / len(groups))
    alone = [Phase(f"{group} alone", frozenset({group}), each) for group in groups]
    pairs = list(combinations(groups, 2))
    random.shuffle(pairs)
    both = [Phase(f"{one} and {other}", frozenset({one, other}), each) for one, other in pairs[: int(share // each)]]
    count = max(1, int(share // (4 * each)))
    mixes = [Phase(f"all together, {n + 1} of {count}", everything, share / count) for n in range(count)]
    return alone + both + mixes


def can_run(faults: Sequence[Fault], store: str) -> tuple[list[Fault], list[Fault]]:
    """(those that can run here, those that cannot for want of a program)."""
    fitting = [fault for fault in faults if store in fault.stores]
    return [fault for fault in fitting if not fault.missing], [fault for fault in fitting if fault.missing]


def groups_of(faults: Sequence[Fault]) -> list[str]:
    """In the order of their first fault; those that live in the programs come last."""
    found = dict.fromkeys(fault.group for fault in faults)
    return list(found | dict.fromkeys((PROGRAMS, HANDLERS)))
