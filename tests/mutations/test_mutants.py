"""The table does not rot, and the hunt finds what is there and nothing else. All mutants together: ``make mutants``."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tests.mutations.hunt import hunt, is_caught
from tests.mutations.mutant import Change, Mutant
from tests.mutations.scratch import ROOT, Scratch, scratch
from tests.mutations.table import MUTANTS
from tests.simulation.checker import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = "src/holdfast/worker/hand.py"


@pytest.fixture(scope="module")
def copies() -> Iterator[tuple[Scratch, Scratch]]:
    """One to change, and one to stay as it is."""
    with scratch() as mutated, scratch() as pristine:
        yield mutated, pristine


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_every_mutant_still_fits(mutant):
    texts: dict[str, str] = {}
    for change in mutant.all_changes():
        texts[change.file] = change.apply(texts.get(change.file) or (ROOT / change.file).read_text(encoding="utf-8"))
    for file, text in texts.items():
        assert text != (ROOT / file).read_text(encoding="utf-8")
        if file.endswith(".py"):
            ast.parse(text)


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_whoever_shall_catch_a_mutant_exists(mutant):
    assert mutant.rules or mutant.tests
    assert mutant.tests or not mutant.twin, "a twin that is caught says nothing of the mutant itself"
    assert set(mutant.rules) <= {"Lagging", *(rule.__name__ for rule in RULES)}
    for test in mutant.tests:
        file, *names = test.partition("[")[0].split("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert all(re.search(rf"(class {name}[:(]|def {name}\()", text) for name in names)


@pytest.mark.parametrize("old", ["no such text", "self"])
def test_a_text_that_is_not_there_exactly_once_is_refused_and_nothing_is_changed(copies, old):
    mutated, _ = copies
    before = (mutated.folder / FILE).read_text(encoding="utf-8")
    fits = Change(FILE, "class Mark:", "class Markers:")
    with pytest.raises(ValueError, match=r"hand\.py"), mutated.changed([fits, Change(FILE, old, "")]):
        pass
    assert (mutated.folder / FILE).read_text(encoding="utf-8") == before


def test_a_change_that_breaks_nothing_is_caught_by_nobody(copies):
    harmless = Mutant(
        "harmless", "Nothing.", (Change(FILE, "class Mark:\n", "class Mark:  # a mark\n"),),
        rules=tuple(rule.__name__ for rule in RULES), seeds=3, tests=("tests/unit/test_ports.py",),
    )  # fmt: skip
    assert hunt(harmless, *copies) == []


@pytest.mark.parametrize("name", ["key not held behind its failure", "attempts counted for all that was in flight"])
def test_seeds_catch(copies, name):
    found = hunt(MUTANTS[name], *copies)
    assert is_caught(MUTANTS[name], found)
    assert all(catch.is_seed for catch in found)


def test_a_test_catches_what_no_seed_can(copies):
    stalls = "tests/unit/test_health.py"
    sleepy = Mutant(
        "sleepy", "A subscription that nobody runs is called well.",
        (Change("src/holdfast/health.py", "        if waiting <= abandoned_after:\n", "        if waiting:\n"),), tests=(stalls,),
    )  # fmt: skip
    (catch,) = hunt(sleepy, *copies)
    assert catch.by.startswith(stalls)
    assert catch.complaint
