"""All mutants, by name."""

from __future__ import annotations

from tests.mutations import (
    deferring,
    embedded,
    handling,
    letting_go,
    letting_in,
    limiting,
    owning,
    reading,
    timing,
    transporting,
    typed,
)

_ALL = (
    *reading.MUTANTS,
    *owning.MUTANTS,
    *handling.MUTANTS,
    *deferring.MUTANTS,
    *limiting.MUTANTS,
    *letting_go.MUTANTS,
    *letting_in.MUTANTS,
    *timing.MUTANTS,
    *transporting.MUTANTS,
    *embedded.MUTANTS,
    *typed.MUTANTS,
)
MUTANTS = {mutant.name: mutant for mutant in _ALL}
