"""The table of who caught what, as Markdown."""

from __future__ import annotations

import platform
import subprocess
from typing import TYPE_CHECKING

from holdfast.testing.postgres import find_binaries
from tests.mutations.hunt import is_caught

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from tests.mutations.hunt import Catch
    from tests.mutations.mutant import Mutant

_LONGEST = 160


def table(found: Mapping[str, Sequence[Catch]], mutants: Mapping[str, Mutant]) -> str:
    """One line for each catch; what nobody caught stands out."""
    lines = ["| mutant | what it breaks | caught by | with the words | seconds |", "| --- | --- | --- | --- | ---: |"]
    for name, catches in found.items():
        what = f"| {name} | {mutants[name].breaks} "
        for catch in catches:
            lines.append(f"{what}| {_catcher(catch, mutants[name])} | {_cell(catch.complaint)} | {catch.seconds:.1f} |")
            what = "| | "
        if not is_caught(mutants[name], catches):
            lines.append(f"{what}| **not caught** | | |")
    return "\n".join(lines)


def _catcher(catch: Catch, mutant: Mutant) -> str:
    return (
        f"{catch.by} (its twin)" if mutant.twin and catch.is_seed else catch.by.replace("tests/", "").replace("::", " ")
    )


def _cell(text: str) -> str:
    shortened = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return f"`{shortened.replace('|', '/').replace('`', ' ')}`" if shortened else ""


def page(found: Mapping[str, Sequence[Catch]], mutants: Mapping[str, Mutant], day: date) -> str:
    """The whole page."""
    caught = sum(is_caught(mutants[name], catches) for name, catches in found.items())
    return f"""# Mutations of {day.isoformat()}

{caught} of {len(found)} mutants caught. Python {platform.python_version()}, {_postgres()}.

Each mutant is applied alone to a copy of the tree. A seed is the first run of the simulation, small ones before large
ones, that breaks a rule which the mutant is about; a test is the first one that fails. Both pass without the mutant.
Where a mutant is in SQL, or in what talks to PostgreSQL, the seed has met its twin in the simulated store, and the test
the mutant itself. Seconds are of this machine and whatever else it did.

{table(found, mutants)}

Made by `make mutants`.
"""


def _postgres() -> str:
    folder = find_binaries()
    assert folder is not None, "there is no PostgreSQL"
    version = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return version.strip().removeprefix("postgres (PostgreSQL) ").join(["PostgreSQL ", ""])
