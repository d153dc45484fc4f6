"""No table is forgotten: the page on moving says of each what becomes of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("store", ["postgres", "sqlite"])
def test_of_every_table_it_is_said_what_becomes_of_it(store: str) -> None:
    steps = (ROOT / "src" / "holdfast" / "stores" / store / "schema").glob("*.sql")
    made = {
        name
        for step in steps
        for name in re.findall(
            r'^create (?:unlogged )?table (?::"schema"\.)?(\w+)', step.read_text("utf-8"), re.MULTILINE
        )
    }
    assert len(made) > 10
    page = (ROOT / "docs" / "moving.md").read_text("utf-8")
    assert {
        name for name in made if not name.startswith(("event_log_", "receipts_")) and f"`{name}`" not in page
    } == set()
