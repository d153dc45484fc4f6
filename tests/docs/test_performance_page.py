"""Pages with figures show the latest results of what measures them, and nothing that somebody typed."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "bench" / "page.py"))


@pytest.mark.parametrize("name", TOOL["SOURCES"])
def test_the_page_has_the_figures_of_the_latest_results(name):
    assert (TOOL["DOCS"] / name).read_text("utf-8") == TOOL["made"](name), "run: make figures"


def test_what_stands_between_the_marks_is_replaced():
    results = "# Title\n\n## Store\n\n![a.svg](a.svg)\n"
    page = TOOL["filled"]("before\n<!-- here -->\nold 12\n<!-- /here -->\nafter\n", "here", results)
    assert page == (
        "before\n<!-- here -->\n\n### Title\n\n#### Store\n\n![a.svg](../bench/results/a.svg)\n\n<!-- /here -->\nafter\n"
    )
