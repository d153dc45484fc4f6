"""Seeds until one breaks a rule: ``python -m tests.mutations.seeds FROM COUNT RULE...``, in the copy with the mutant.

Prints "SEED: PROBLEM" for the first one that does and ends with 1; ends with 0 if none does.
"""

from __future__ import annotations

import sys

from tests.simulation.run import run


def main(first: int, count: int, rules: tuple[str, ...]) -> int:
    for seed in range(first, first + count):
        broken = [problem for problem in run(seed).problems if problem.startswith(rules)]
        if broken:
            print(f"{seed}: {broken[0]}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), tuple(f"{rule}: " for rule in sys.argv[3:])))
