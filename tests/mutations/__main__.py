"""Let mutants of the engine loose, and see who catches them: ``python -m tests.mutations [NAME ...]``.

With all of them, which takes some minutes, the table is kept in ``tests/mutations/results``. Ends with 1 if one
was not caught.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.mutations.hunt import Catch, hunt, is_caught
from tests.mutations.report import page, table
from tests.mutations.scratch import scratch
from tests.mutations.table import MUTANTS

RESULTS = Path(__file__).parent / "results"


def main(names: list[str]) -> int:
    """Returns the number of mutants that were not caught."""
    if unknown := [name for name in names if name not in MUTANTS]:
        sys.exit(f"no such mutant: {', '.join(unknown)}; there are: {', '.join(MUTANTS)}")
    found: dict[str, list[Catch]] = {}
    with scratch() as mutated, scratch() as pristine:
        for name in names or MUTANTS:
            found[name] = hunt(MUTANTS[name], mutated, pristine)
            catchers = ", ".join(f"{catch.by} ({catch.seconds:.1f} s)" for catch in found[name])
            print(
                f"{name}: {catchers if is_caught(MUTANTS[name], found[name]) else 'NOT CAUGHT ' + catchers}", flush=True
            )
    if names:
        print(table(found, MUTANTS))
    else:
        today = datetime.now(UTC).date()
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{today.isoformat()}.md").write_text(page(found, MUTANTS, today), encoding="utf-8")
    return sum(not is_caught(MUTANTS[name], catches) for name, catches in found.items())


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
