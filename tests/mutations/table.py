"""All mutants, by name."""

from __future__ import annotations

from tests.mutations import handling, owning, reading

MUTANTS = {mutant.name: mutant for mutant in (*reading.MUTANTS, *owning.MUTANTS, *handling.MUTANTS)}
