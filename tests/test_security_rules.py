"""What SECURITY.md claims of the source and the set-up, and that its claims name tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import ConfigurationError
from holdfast.spool import Spool
from holdfast.stores.sql import check_schema_name
from tests.unit.spool_harness import event

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "holdfast"

# Each makes objects or code of what it reads.
NEVER = {"pickle", "marshal", "shelve", "dill", "yaml", "eval", "exec", "compile", "__import__"}
# What may import by a name: our own modules, chosen from tables in the source, the argument of "holdfast worker", and
# what the settings of pytest name as the bus under test.
IMPORTS_BY_NAME = {
    "__init__.py",
    "transactions/__init__.py",
    "cli/commands.py",
    "cli/load.py",
    "bench/places.py",
    "relay/declaring.py",
    "testing/__init__.py",
    "testing/staging.py",
}


def names_used(path: Path) -> Iterator[str]:
    """Modules imported, functions called by their bare name, and what is reached through a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                yield from (alias.name.partition(".")[0] for alias in node.names)
            case ast.ImportFrom():
                yield (node.module or "").partition(".")[0]
                yield from (alias.name for alias in node.names)
            case ast.Call(func=ast.Name(id=name)):
                yield name
            case ast.Attribute(attr=name):
                yield name


def test_nothing_makes_objects_or_code_of_what_it_reads() -> None:
    found = {path.relative_to(SOURCE).as_posix(): set(names_used(path)) for path in SOURCE.rglob("*.py")}
    # "re.compile" is an attribute too, and the only one of these names.
    assert {name: used & (NEVER - {"compile"}) for name, used in found.items() if used & (NEVER - {"compile"})} == {}
    assert {name for name, used in found.items() if "import_module" in used} == IMPORTS_BY_NAME
    compiles = [
        call for path in SOURCE.rglob("*.py") for call in re.findall(r"(?<!re\.)\bcompile\(", path.read_text("utf-8"))
    ]
    assert compiles == []


@pytest.mark.parametrize(
    "schema", ['a"b', "a;b", "a b", "A", "1a", "", "a" * 49, "a\n", "é", "pg$", "a.b", "a'b", ':"schema"']
)
def test_the_only_identifier_that_is_put_into_sql_is_checked(schema: str) -> None:
    with pytest.raises(ConfigurationError):
        check_schema_name(schema)


def test_every_dependency_is_locked_with_its_hashes() -> None:
    text = (ROOT / "requirements.lock").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(lines) > 30
    for line in lines:
        assert re.match(r"[a-z0-9][a-z0-9._-]*==[^\s;]+\s", line), f"no exact version: {line[:80]}"
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", line), f"no hash: {line[:80]}"
    assert "--require-hashes -r requirements.lock" in (ROOT / "Makefile").read_text("utf-8")


def test_what_the_spool_writes_is_for_its_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir(mode=0o700)
    (folder / "00000009.spool").write_bytes(b"\xf5\xffHR" * 50)
    spool = Spool(folder)
    spool.open()
    spool.append([event(1), event(2)])
    spool.quarantine(spool.peek(1)[0], "refused")
    spool.close()
    written = {path.name: path.stat().st_mode & 0o077 for path in folder.iterdir() if path.name != "00000009.spool"}
    assert {Path(name).suffix for name in written} >= {".spool", ".jsonl", ".bin"}
    assert {name: mode for name, mode in written.items() if mode} == {}


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/dashboard.md", "docs/guarantees.md", "docs/webhooks.md"])
def test_the_tests_that_a_page_names_are_there(page: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?(?:::(\w+))?`", (ROOT / page).read_text("utf-8"))
    assert len(named) > 20
    for file, *parts in named:
        text = (ROOT / file).read_text("utf-8")
        for part in filter(None, parts):
            assert re.search(rf"^\s*(?:async )?(?:def|class) {part}\b", text, re.MULTILINE), f"{file}::{part}"
