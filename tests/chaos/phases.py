"""What a campaign runs, in which order: each group of faults alone, in pairs, and all together. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    is_full: bool = False
    """Whether no group is left out: then every path must be reached."""


def plan(groups: Sequence[str], seconds: float, seed: int) -> list[Phase]:
    """
    Phases that take *seconds* together. A short campaign is one mix of all; in a long one a third of the time is for
    groups alone, a third for pairs, as many as fit, and a third for all together.
    """
    if seconds < _SHORT_S:
        return [mix(groups, groups, seconds)]
    share = seconds / 3
    each = max(LEAST_S, share / len(groups))
    alone = [Phase(f"{group} alone", frozenset({group}), each) for group in groups]
    pairs = pairs_of(groups, int(share // each), seed)
    both = [Phase(f"{one} and {other}", frozenset({one, other}), each) for one, other in pairs]
    count = max(1, int(share // (4 * each)))
    mixed = mix(groups, groups, share / count)
    return alone + both + [replace(mixed, name=f"{mixed.name}, {n + 1} of {count}") for n in range(count)]


def mix(chosen: Sequence[str], groups: Sequence[str], seconds: float) -> Phase:
    """One phase of the *chosen* groups, which may be all that there are."""
    is_full = set(chosen) >= set(groups)
    return Phase("all together" if is_full else " and ".join(chosen), frozenset(chosen), seconds, is_full)


def pairs_of(groups: Sequence[str], count: int, seed: int) -> list[tuple[str, str]]:
    """*count* pairs of groups. Seeds that follow each other take those that follow, in one order of all pairs."""
    pairs = list(combinations(groups, 2))
    Random(0).shuffle(pairs)
    return [pairs[(seed * count + n) % len(pairs)] for n in range(min(count, len(pairs)))]


def can_run(faults: Sequence[Fault], store: str) -> tuple[list[Fault], list[Fault]]:
    """(those that can run here, those that cannot for want of a program)."""
    fitting = [fault for fault in faults if store in fault.stores]
    return [fault for fault in fitting if not fault.missing], [fault for fault in fitting if fault.missing]


def groups_of(faults: Sequence[Fault]) -> list[str]:
    """In the order of their first fault; those that live in the programs come last."""
    found = dict.fromkeys(fault.group for fault in faults)
    return list(found | dict.fromkeys((PROGRAMS, HANDLERS)))
