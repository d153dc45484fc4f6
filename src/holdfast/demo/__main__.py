"""``python -m holdfast.demo [--jsonl PATH] [--only sqlite|postgres] [--quick] [--keep]``."""

from __future__ import annotations

import argparse
from pathlib import Path

from holdfast.demo import main


def _run() -> int:
    parser = argparse.ArgumentParser(prog="python -m holdfast.demo", description="Holdfast survives, watch it.")
    parser.add_argument("--jsonl", type=Path, help="publish these events too: name, payload, tenant_id, key, id a line")
    parser.add_argument("--only", choices=("sqlite", "postgres"), help="play on one store")
    parser.add_argument("--quick", action="store_true", help="fewer events")
    parser.add_argument("--keep", action="store_true", help="leave the files for a look")
    chosen = parser.parse_args()
    postgres = None if chosen.only is None else chosen.only == "postgres"
    return main(chosen.jsonl, sqlite=chosen.only != "postgres", postgres=postgres, quick=chosen.quick, keep=chosen.keep)


if __name__ == "__main__":
    raise SystemExit(_run())
