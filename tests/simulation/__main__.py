"""Run many seeds: ``python -m tests.simulation 1000`` or ``python -m tests.simulation 200..300 --size large``.

With ``--hash`` it prints what the trace of each seed comes to instead: it must be the same in every process.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.paths import PATHS
from tests.simulation.run import STORES, run
from tests.simulation.size import SIZES, Size


def seeds_of(text: str) -> range:
    """``"N"``: the first N; ``"from..to"``: these, the last one included."""
    first, _, last = text.rpartition("..")
    return range(int(first), int(last) + 1) if first else range(int(last))


def main(text: str, size: Size, store: str) -> int:
    """Returns the number of seeds that failed."""
    seeds, paths, failed, begun = seeds_of(text), Counter[str](), list[int](), time.perf_counter()
    for seed in seeds:
        result = run(seed, size, store=store)
        paths += result.paths
        if result.problems:
            failed.append(seed)
            print(result.report(), end="\n\n")
    seconds = time.perf_counter() - begun
    print(f"{len(seeds)} seeds in {seconds:.1f} s ({len(seeds) / seconds:.0f} a second), failed: {failed or 'none'}")
    for path in sorted(PATHS):
        print(f"  {path:34}{paths[path]}")
    return len(failed)


def print_hashes(text: str, size: Size, store: str) -> None:
    for seed in seeds_of(text):
        print(seed, run(seed, size, store=store).trace_hash())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seeds", help="how many, or from..to")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--store", choices=STORES, default="simulated")
    parser.add_argument("--hash", action="store_true")
    asked = parser.parse_args()
    if asked.hash:
        print_hashes(asked.seeds, SIZES[asked.size], asked.store)
    else:
        sys.exit(min(main(asked.seeds, SIZES[asked.size], asked.store), 1))
