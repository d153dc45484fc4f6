"""Puts the latest results of the benchmark, and of `costs.py`, into the documentation's performance page, between marks."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs" / "performance.md", ROOT / "bench" / "results"
SOURCES = {"figures": "latest.md", "costs": "costs.md"}


def filled(page: str, mark: str, results: str) -> str:
    """*page* with *results* between the marks of that name: headings two levels down, plots where they lie."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->\n"
    lower = re.sub(r"^#", "###", results, flags=re.MULTILINE)
    shown = re.sub(r"!\[([^\]]*)\]\(", r"![\1](../bench/results/", lower)
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{shown.strip()}\n\n{end}{after}"


def made() -> str:
    """The page with all that there is to be put into it."""
    page = PAGE.read_text("utf-8")
    for mark, name in SOURCES.items():
        page = filled(page, mark, (RESULTS / name).read_text("utf-8"))
    return page


if __name__ == "__main__":
    PAGE.write_text(made(), "utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} has the figures of {', '.join(SOURCES.values())}\n")
