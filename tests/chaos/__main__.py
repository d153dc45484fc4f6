"""The fault campaign. ``python -m tests.chaos --minutes 3``; see CONTRIBUTING.md."""

from __future__ import annotations

import argparse
import asyncio
import random
import shlex
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.campaign import run_campaign
from tests.chaos.faults.network import own_network
from tests.chaos.report import About

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Exit code 0 if every promise held and every path was reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="how long, healing not counted (3)")
    parser.add_argument("--seed", type=int, default=None, help="of the plan and the faults' choices")
    parser.add_argument("--store", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--results", type=Path, default=None, metavar="DIR", help="for the report")
    parser.add_argument("--group", action="append", default=[], help="only these groups, in one phase; repeatable")
    parser.add_argument(
        "--per-second", type=float, default=10.0, help="calls that each of two publishers makes a second (10)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the histories of good phases too")
    parser.add_argument(
        "--own-network", action="store_true", help="as root, on a network of its own, whose packets the kernel may drop"
    )
    options = parser.parse_args()
    if options.own_network:
        own_network()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    began = datetime.now(UTC)
    results = options.results or RESULTS / f"{began:%Y-%m-%d-%H%M}-{options.store}"
    command = f"python -m tests.chaos --minutes {options.minutes:g} --seed {seed} --store {options.store}"
    command += f" --per-second {options.per_second:g}"
    command += "".join(f" --group {shlex.quote(group)}" for group in options.group)
    command += " --own-network" * options.own_network
    about = About(command, seed, options.store, f"{began:%Y-%m-%d %H:%M} UTC", options.minutes)
    return asyncio.run(_until_told(about, results, options))


async def _until_told(about: About, results: Path, options: argparse.Namespace) -> int:
    """The first SIGINT or SIGTERM ends the phase that runs and leaves the report of what ran."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    good = await run_campaign(
        about, results, stop, groups=options.group, per_second=options.per_second, keep=options.keep
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
