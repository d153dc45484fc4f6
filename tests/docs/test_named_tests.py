"""Who reads that a test shows something finds it: each test and each folder of tests that a page names is there, and runs."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("spec/*.md"), *ROOT.glob("ops/*.md")])
_NAMED = re.compile(r"`(tests/[\w./:-]*\w)`")  # what ends with a slash is made by a run

NAMED = [
    (page.relative_to(ROOT).as_posix(), name)
    for page in PAGES
    for name in dict.fromkeys(_NAMED.findall(page.read_text("utf-8")))
]


@cache
def classes(file: Path) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in ast.parse(file.read_text("utf-8")).body if isinstance(node, ast.ClassDef)}


def functions(body: list[ast.stmt]) -> set[str]:
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@cache
def inherited() -> set[str]:
    """Names of the classes that collected classes stand on."""
    return {
        base.id
        for file in ROOT.glob("tests/**/test_*.py")
        for one in classes(file).values()
        for base in one.bases
        if isinstance(base, ast.Name)
    }


def fault(name: str) -> str | None:
    """What is wrong with a name as pages have it: a folder, a file, or a file with its class, its test, or both."""
    path, *inside = name.split("::")
    place = ROOT / path
    if not inside:
        return None if place.exists() else "there is no such file"
    if not place.is_file():
        return "there is no such file"
    tree = ast.parse(place.read_text("utf-8"))
    first = classes(place).get(inside[0])
    if first is None:
        runs, there = place.name.startswith("test_"), inside[0] in functions(tree.body) and len(inside) == 1
    else:
        runs = place.name.startswith("test_") or first.name in inherited()
        there = len(inside) == 1 or (len(inside) == 2 and inside[1] in functions(first.body))
    if not there:
        return "there is no such test"
    return None if runs else "nothing runs it"


@pytest.mark.parametrize(("page", "name"), NAMED)
def test_a_test_that_a_page_names_is_there(page: str, name: str) -> None:
    assert fault(name) is None, f"{page} names {name}: {fault(name)}"


def test_pages_name_tests() -> None:
    assert len(NAMED) > 100


@pytest.mark.parametrize(
    "name",
    [
        "tests/relay/test_nowhere.py", "tests/nowhere::test_nothing", "tests/relay/test_inbox.py::test_nothing",
        "tests/relay/test_inbox.py::TestNothing::test_only_posts_are_taken", "tests/relay/contract.py::rows",
        "tests/relay/contract.py::Broker", "tests/relay/test_kafka.py::TestOut::test_nothing",
    ],
)  # fmt: skip
def test_what_is_not_there_or_does_not_run_is_found(name: str) -> None:
    assert fault(name) is not None
