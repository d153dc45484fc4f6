"""The documentation is true: its snippets run, its commands print what it shows, its links lead somewhere."""

from __future__ import annotations

import inspect
import os
import re
import sys
from pathlib import Path

import pytest

from holdfast import EventBus, errors
from holdfast.cli.commands import main

from .following import POSTGRES, Follower, blocks_of

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*PAGES, *(ROOT / name for name in ("ARCHITECTURE.md", "decisions.md", "CONTRIBUTING.md", "CHANGELOG.md"))]

_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_ANCHOR = re.compile(r'<a id="([^"]+)">')
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def text_without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors_of(page: Path) -> set[str]:
    """Anchors as code forges make them of headings, and those that stand in the text."""
    plain = (re.sub(r"[^\w\- ]", "", heading).strip().lower() for heading in _HEADING.findall(text_without_code(page)))
    return {heading.replace(" ", "-") for heading in plain} | set(_ANCHOR.findall(page.read_text("utf-8")))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the current one, of somebody who has Holdfast installed and has set nothing else."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, arguments in (("python", ""), ("holdfast", "-m holdfast")):
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W error {arguments} "$@"\n', "utf-8")
        script.chmod(0o755)
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    here = tmp_path / "project"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_reader_who_follows_the_page_meets_no_error(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    blocks = list(blocks_of(page))
    needs_postgres = any(block.kind == "sql" or "//localhost/shop" in block.text for block in blocks)
    dsn = request.getfixturevalue("postgres_dsn") if needs_postgres else None
    Follower(name_of(page), folder, monkeypatch.setenv, dsn).follow(blocks)


def test_the_first_block_of_the_readme_is_a_whole_program_of_ten_lines_at_most() -> None:
    first = next(block for block in blocks_of(ROOT / "README.md") if block.kind == "python")
    assert len([line for line in first.text.splitlines() if line]) <= 10
    assert POSTGRES not in first.text


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(text_without_code(page)):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_found_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    assert [page.name for page in PAGES if page.parent.name == "docs" and page.name not in index + "index.md"] == []


def test_every_error_is_explained() -> None:
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    classes = [
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    ]
    assert [name for name in classes if f"`{name}`" not in page] == []


def test_every_option_is_explained() -> None:
    def missing(page: str, options: list[str]) -> list[str]:
        text = (ROOT / "docs" / page).read_text("utf-8")
        return [option for option in options if f"`{option}" not in text]

    assert missing("subscribing.md", [*inspect.signature(EventBus.subscribe).parameters][1:]) == []
    assert missing("publishing.md", [*inspect.signature(EventBus.publish).parameters][1:]) == []
    assert missing("operations.md", [*inspect.signature(EventBus.__init__).parameters][1:]) == []


def test_every_command_is_explained() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    commands = main.list_commands(None)  # type: ignore[arg-type]
    assert [command for command in commands if f"holdfast {command}" not in page] == []


def test_the_module_map_knows_every_module() -> None:
    source = ROOT / "src" / "holdfast"
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    names = [path.name for path in source.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    assert [name for name in names if name not in text] == []


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "docs/guarantees.md", "docs/engine.md"])
def test_the_tests_that_a_page_names_exist(page: str) -> None:
    named = set(re.findall(r"`(tests/\w+)`", (ROOT / page).read_text("utf-8")))
    assert named
    assert [folder for folder in sorted(named) if not list((ROOT / folder).glob("test_*.py"))] == []
