"""All mutants, by name."""

from __future__ import annotations

from tests.mutations import embedded, handling, owning, reading

_ALL = (*reading.MUTANTS, *owning.MUTANTS, *handling.MUTANTS, *embedded.MUTANTS)
MUTANTS = {mutant.name: mutant for mutant in _ALL}
