"""Puts the latest results of the benchmark, and of scripts beside it, into pages of the documentation, between marks."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS, RESULTS = ROOT / "docs", ROOT / "bench" / "results"
SOURCES = {
    "performance.md": {"figures": "latest.md", "large": "*-large.md", "costs": "costs.md"},
    "metrics.md": {"counting": "counting.md"},
    "dashboard.md": {"searching": "searching.md"},
    "quickstart.md": {"first event": "first_event.md"},
    "transport.md": {"transporting": "transporting.md"},
}


def filled(page: str, mark: str, results: str) -> str:
    """*page* with *results* between the marks of that name: headings two levels down, plots where they lie."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->\n"
    lower = re.sub(r"^#", "###", results, flags=re.MULTILINE)
    shown = re.sub(r"!\[([^\]]*)\]\(", r"![\1](../bench/results/", lower)
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{shown.strip()}\n\n{end}{after}"


def made(name: str) -> str:
    """The page of that name with all that there is to be put into it."""
    page = (DOCS / name).read_text("utf-8")
    for mark, source in SOURCES[name].items():
        page = filled(page, mark, max(RESULTS.glob(source)).read_text("utf-8"))
    return page


if __name__ == "__main__":
    for name, sources in SOURCES.items():
        (DOCS / name).write_text(made(name), "utf-8")
        sys.stdout.write(f"docs/{name} has the figures of {', '.join(sources.values())}\n")
