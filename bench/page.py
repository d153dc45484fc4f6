"""Puts the latest results of the benchmark into the documentation's performance page, between two marks."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs" / "performance.md", ROOT / "bench" / "results" / "latest.md"
_BEGIN, _END = "<!-- figures -->\n", "<!-- /figures -->\n"


def filled(page: str, results: str) -> str:
    """*page* with *results* between its marks: headings two levels down, plots where they lie."""
    lower = re.sub(r"^#", "###", results, flags=re.MULTILINE)
    shown = re.sub(r"!\[([^\]]*)\]\(", r"![\1](../bench/results/", lower)
    before, rest = page.split(_BEGIN)
    _, after = rest.split(_END)
    return f"{before}{_BEGIN}\n{shown.strip()}\n\n{_END}{after}"


if __name__ == "__main__":
    page = filled(PAGE.read_text("utf-8"), RESULTS.read_text("utf-8"))
    PAGE.write_text(page, "utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} has the figures of {RESULTS.relative_to(ROOT)}\n")
