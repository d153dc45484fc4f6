"""What a mutant is: a few changes that break one promise of the engine, and where somebody should notice."""

from __future__ import annotations

from dataclasses import dataclass

POSTGRES = "src/holdfast/stores/postgres"
SQLITE = "src/holdfast/stores/sqlite"
SIMULATION = "tests/simulation"
LET_GO = f"{POSTGRES}/schema/0013_pre_let_go.sql"
"""Has retention's functions as they are now."""


@dataclass(frozen=True, slots=True)
class Change:
    """The text *old*, which is in *file* exactly once, becomes *new*."""

    file: str
    old: str
    new: str

    def apply(self, text: str) -> str:
        """Raises: ValueError: The text has moved on, and the mutant with it: it has to be written anew."""
        if (times := text.count(self.old)) != 1:
            raise ValueError(f"{self.file} has the text to replace {times} times, not once: {self.old!r}")
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Mutant:
    """
    One defect that somebody could have built in.

    Attributes:
        name: What somebody might have done instead.
        breaks: What goes wrong then.
        changes: To the engine.
        twin: The same for the simulated store, where *changes* are in what it stands in for. Both are applied
            together; the seeds see the twin, so *tests* must catch the mutant as well.
        rules: The checker's rules that it breaks, any of them. A seed that fails otherwise has caught something else: a
            mutant changes what happens when, so each of its seeds is one that nobody has run before. None where the
            simulation has nothing that could show it.
        seeds: How many small runs are tried; then a fifth of that of large ones.
        tests: Which tests must fail, where no seed does or there is a twin; ids of pytest.
    """

    name: str
    breaks: str
    changes: tuple[Change, ...]
    twin: tuple[Change, ...] = ()
    rules: tuple[str, ...] = ()
    seeds: int = 1000
    tests: tuple[str, ...] = ()

    def all_changes(self) -> tuple[Change, ...]:
        return self.changes + self.twin
