"""Looking for what catches a mutant. Whatever does must be silent without the mutant, or it has caught nothing."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from tests.mutations.mutant import Mutant
    from tests.mutations.scratch import Scratch

_TOO_LONG = 900.0
_SMALL_IN_A_LARGE = 5
_FAILED = re.compile(r"^FAILED (.+?)(?: - (.*))?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Catch:
    """Who caught a mutant: a seed or a test, what it complained of, and after how many seconds."""

    by: str
    complaint: str
    seconds: float

    @property
    def is_seed(self) -> bool:
        return " seed " in self.by


def hunt(mutant: Mutant, mutated: Scratch, pristine: Scratch) -> list[Catch]:
    """
    Everybody who has to catch *mutant* and does: its seeds, and its tests where no seed does or only its twin was met.

    Raises:
        ValueError: The mutant does not fit any more.
    """
    found: list[Catch] = []
    with mutated.changed(mutant.all_changes()):
        if mutant.rules and (catch := by_seeds(mutant, mutated, pristine)) is not None:
            found.append(catch)
        if (
            mutant.tests
            and (mutant.twin or not found)
            and (catch := by_tests(mutant.tests, mutated, pristine)) is not None
        ):
            found.append(catch)
    return found


def is_caught(mutant: Mutant, found: Sequence[Catch]) -> bool:
    """A twin that a seed has caught is only the twin: the mutant itself must have failed a test."""
    return not all(catch.is_seed for catch in found) if mutant.twin else bool(found)


def by_seeds(mutant: Mutant, mutated: Scratch, pristine: Scratch) -> Catch | None:
    """The first seed that breaks one of the mutant's rules with it, and not without it: of small runs, then of large."""
    begun = time.monotonic()
    for size, seeds in (("small", mutant.seeds), ("large", mutant.seeds // _SMALL_IN_A_LARGE)):
        first = 0
        while first < seeds:
            result = _seeds(size, first, seeds - first, mutant.rules, mutated)
            if result.returncode == 0:
                break
            seed, _, complaint = result.stdout.strip().partition(": ")
            if not seed.isdigit():
                raise RuntimeError(result.stderr)
            seconds = time.monotonic() - begun
            if _seeds(size, int(seed), 1, mutant.rules, pristine).returncode == 0:
                return Catch(f"{size} seed {seed}", complaint, seconds)
            first = int(seed) + 1
    return None


def _seeds(size: str, first: int, count: int, rules: Sequence[str], where: Scratch) -> subprocess.CompletedProcess[str]:
    return where.run(["-m", "tests.mutations.seeds", size, str(first), str(count), *rules], timeout=_TOO_LONG)


def by_tests(tests: Sequence[str], mutated: Scratch, pristine: Scratch) -> Catch | None:
    """The first of *tests* that fails with the mutant and not without it."""
    begun = time.monotonic()
    result = _pytest(tests, mutated)
    seconds = time.monotonic() - begun
    failed = _FAILED.search(result.stdout)
    if failed is None:
        if result.returncode != 0:  # an error on the way to the test says nothing about the mutant
            raise RuntimeError(f"{result.stdout}\n{result.stderr}")
        return None
    name, complaint = failed.groups()
    control = _pytest([name], pristine)
    if control.returncode != 0:
        raise RuntimeError(f"{name} fails without any mutant:\n{control.stdout}")
    return Catch(name, (complaint or "").strip(), seconds)


def _pytest(tests: Sequence[str], where: Scratch) -> subprocess.CompletedProcess[str]:
    options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=short"]
    return where.run(["-m", "pytest", *options, *tests], timeout=_TOO_LONG)
