"""``holdfast schemas``: as a person, a script or a check in CI meets it."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import textwrap
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner, Result

from holdfast import EventBus
from holdfast.cli import main

from .shop import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROGRAM = """
    from dataclasses import dataclass

    from holdfast import EventBus
    from holdfast.typed import event, upcast

    bus = EventBus({dsn!r}, auto_migrate=True, spool="off")


    @event("order.placed", version={version})
    @dataclass
    class OrderPlaced:
        order_id: int
        {field}


    if {version} == 2:

        @upcast(OrderPlaced, from_version=1)
        def with_total(payload):
            return payload | {{"total": 0}}


    @bus.subscribe(OrderPlaced, name="bill")
    async def bill(order: OrderPlaced) -> None: ...
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_declared: None) -> Callable[..., str]:
    """``program(field="total: int", version=1)``: MODULE:BUS of a program in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(field: str = "total: int", version: int = 1, dsn: str = "sqlite:///shop.db") -> str:
        monkeypatch.delitem(sys.modules, "typed_shop", raising=False)
        source = textwrap.dedent(PROGRAM).format(field=field, version=version, dsn=dsn)
        (tmp_path / "typed_shop.py").write_text(source, "utf-8")
        importlib.invalidate_caches()
        return "typed_shop:bus"

    yield write
    sys.modules.pop("typed_shop", None)


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["schemas", *arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_a_program_is_checked_against_its_kept_schemas(program: Callable[..., str], tmp_path: Path) -> None:
    place = program()
    assert run("export", place).output == "1 event in schemas.json\n"
    kept = (tmp_path / "schemas.json").read_text("utf-8")
    assert run("check", place).output == "the schemas are as they are kept\n"
    assert run("check", program("total: float")).output == (
        "changed order.placed: is another, to which all old payloads fit\n"
        "nothing breaks; export the schemas anew, and commit them\n"
    )
    broken = run("check", program("sum: int"), code=1).output
    assert broken.splitlines()[:3] == [
        "BREAKS  order.placed: payload.total is gone",
        "BREAKS  order.placed: payload.sum is required, and was not",
        "2 changes break what is stored: raise the version and write an upcaster, or take it back; export where it is meant",
    ]
    found = json.loads(run("check", program("sum: int"), "--json", code=1).output)
    assert found["changes"][0] == {"name": "order.placed", "what": "payload.total is gone", "breaking": True}
    assert "has version 2, and had 1" in run("check", program("sum: int = 0", version=2)).output
    assert "no upcaster leads from version 2 to 3" in run("check", program("sum: int", version=3), code=1).output
    assert (tmp_path / "schemas.json").read_text("utf-8") == kept


def test_types_are_tried_on_stored_events(program: Callable[..., str], dsn: str) -> None:
    good, bad, newer = uuid4(), uuid4(), uuid4()

    async def publish() -> None:
        bus = EventBus(dsn, auto_migrate=True, spool="off")
        await bus.publish("order.placed", {"order_id": 1, "total": 1}, event_id=good)
        await bus.publish("order.placed", {"order_id": SECRET, "total": 1}, event_id=bad)
        await bus.publish("order.placed", {}, event_id=newer, headers={"event_version": "2"})
        await bus.publish("order.placed", b'{"holdfast.erased":true}')
        await bus.publish("order.lost", {})
        await bus.close()

    asyncio.run(publish())
    place = program(dsn=dsn)
    run("export", place)
    before = rows(dsn)
    output = run("check", place, "--against-store", code=1).output
    assert rows(dsn) == before
    assert "order.placed: 3 stored events tried, 2 unreadable" in output
    assert f"{bad} payload.order_id is not as its type says: expected `int`, got `str`" in output
    assert f"{newer} headers.event_version is 2, and versions 1 to 1 are known here" in output
    assert str(good) not in output
    assert SECRET not in output
    (tried,) = json.loads(run("check", place, "--against-store", "--json", code=1).output)["tried"]
    assert {one["event_id"] for one in tried["refused"]} == {str(bad), str(newer)}
    assert "1 stored event tried" in run("check", place, "--against-store", "--sample", "2", code=1).output


def rows(dsn: str) -> Any:
    """What a command that only reads leaves as it is, where somebody else can look."""
    if dsn.startswith("sqlite"):
        return None
    with psycopg.connect(dsn) as connection:
        counts = "select (select count(*) from holdfast.audit), (select count(*) from holdfast.subscriptions)"
        return connection.execute(counts).fetchone()


def test_documents_are_printed_or_written(program: Callable[..., str], tmp_path: Path) -> None:
    place = program()
    document = json.loads(run("asyncapi", place, "--title", "Shop", "--api-version", "2.1.0").output)
    assert document["info"] == {"title": "Shop", "version": "2.1.0"}
    assert run("catalogue", place, "-o", "events.html").output == "wrote events.html\n"
    page = (tmp_path / "events.html").read_text("utf-8")
    assert "<title>typed_shop: events</title>" in page
    assert '<code class="chip">bill</code>' in page


def test_bad_input_is_one_clear_line(program: Callable[..., str], tmp_path: Path) -> None:
    place = program()
    missing = run("check", place, code=1).output
    assert "there is no schemas.json: holdfast schemas export typed_shop:bus writes it" in missing
    (tmp_path / "schemas.json").write_text("{}", "utf-8")
    assert "these are no schemas of events" in run("check", place, code=1).output
    (tmp_path / "schemas.json").write_bytes(b"\xff")
    assert "schemas.json cannot be read" in run("check", place, code=1).output
    assert (
        "cannot be written: No such file or directory" in run("export", place, "--file", "no/where.json", code=1).output
    )
    assert "cannot be written" in run("catalogue", place, "-o", "no/where.html", code=1).output
    run("check", place, "--sample", "0", code=2)
    run("export", "nowhere:bus", code=2)
    run("export", place)
    assert "there is no store" in run("check", place, "--against-store", code=1).output


def test_a_program_without_types_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_declared: None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "typed_nothing.py").write_text(
        "from holdfast import EventBus\nbus = EventBus('sqlite:///shop.db')\n", "utf-8"
    )
    output = run("export", "typed_nothing:bus", code=1).output
    assert "no event is declared in what typed_nothing:bus imports: write @event of holdfast.typed" in output
    sys.modules.pop("typed_nothing", None)
