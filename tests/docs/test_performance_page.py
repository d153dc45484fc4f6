"""The performance page shows the latest results of the benchmark, and nothing that somebody typed."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_has_the_figures_of_the_latest_results():
    tool = runpy.run_path(str(ROOT / "bench" / "page.py"))
    page = tool["PAGE"].read_text("utf-8")
    assert page == tool["filled"](page, tool["RESULTS"].read_text("utf-8")), "run: make figures"


def test_what_stands_between_the_marks_is_replaced():
    fill = runpy.run_path(str(ROOT / "bench" / "page.py"))["filled"]
    results = "# Title\n\n## Store\n\n![a.svg](a.svg)\n"
    page = fill("before\n<!-- figures -->\nold 12\n<!-- /figures -->\nafter\n", results)
    assert page == (
        "before\n<!-- figures -->\n\n### Title\n\n#### Store\n\n![a.svg](../bench/results/a.svg)\n\n<!-- /figures -->\nafter\n"
    )
