"""Seeds until one breaks a rule: ``python -m tests.mutations.seeds SIZE FROM COUNT RULE...``, in the copy with the mutant.

Prints "SEED: PROBLEM" for the first one that does and ends with 1; ends with 0 if none does.
"""

from __future__ import annotations

import sys

from tests.simulation.run import run
from tests.simulation.size import SIZES, Size


def main(size: Size, first: int, count: int, rules: tuple[str, ...]) -> int:
    for seed in range(first, first + count):
        broken = [problem for problem in run(seed, size).problems if problem.startswith(rules)]
        if broken:
            print(f"{seed}: {broken[0]}")
            return 1
    return 0


if __name__ == "__main__":
    size, first, count, *rules = sys.argv[1:]
    sys.exit(main(SIZES[size], int(first), int(count), tuple(f"{rule}: " for rule in rules)))
