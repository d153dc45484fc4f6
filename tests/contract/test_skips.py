"""The table of what the simulated store skips names tests that exist, so that it cannot hide more than it says."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.contract.skips import SKIPPED


def names_in(path: Path) -> set[str]:
    names = {path.name}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{path.name}::{node.name}"}
            names |= {f"{path.name}::{node.name}::{one.name}" for one in node.body if hasattr(one, "name")}
    return names


def test_every_skip_names_a_test() -> None:
    known = {name for path in Path(__file__).parent.glob("test_*.py") for name in names_in(path)}
    assert {test for tests in SKIPPED.values() for test in tests} - known == set()
