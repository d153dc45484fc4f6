"""The rules that a file can answer."""

from tests.simulation import checker

FILE_RULES = (
    checker.lost_publishes, checker.unhandled, checker.unexpected, checker.phantoms, checker.effects,
    checker.completions, checker.stale_starts, checker.leftovers,
)  # fmt: skip
"""Left out, as a file does not tell when something committed between other things: the order of a key (overtakings,
overlaps), receipts before handling, resurrections, old epochs, suspects together. Dead letters and poisonings want the
table of attempts, which `tests.simulation.embedded.server` does not read yet.
"""
