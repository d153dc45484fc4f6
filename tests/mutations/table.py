"""All mutants, by name."""

from __future__ import annotations

from tests.mutations import deferring, embedded, handling, letting_go, limiting, owning, reading

_ALL = (
    *reading.MUTANTS,
    *owning.MUTANTS,
    *handling.MUTANTS,
    *deferring.MUTANTS,
    *limiting.MUTANTS,
    *letting_go.MUTANTS,
    *embedded.MUTANTS,
)
MUTANTS = {mutant.name: mutant for mutant in _ALL}
