"""The example shop behind Litestar, served as its first lines say, from an empty folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bus.waiting import sql, stored, until_sync

from .serving import served

if TYPE_CHECKING:
    from pathlib import Path

SHOP = "examples.litestar_shop:app"


@pytest.fixture(params=["sqlite", "postgresql"])
def dsn(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue("sqlite_dsn" if request.param == "sqlite" else "postgres_dsn")
    return found


def test_orders_commit_with_the_events_they_record_and_receipts_are_sent(tmp_path: Path, dsn: str) -> None:
    with served(SHOP, tmp_path, dsn) as client:
        number = client.post("/orders", json={"customer": "ann", "item": "anchor"}).json()["id"]
        assert client.post("/orders", json={"customer": "ann", "item": "albatross"}).status_code == 409
        until_sync(lambda: client.get(f"/orders/{number}").json()["receipt_sent"])
        assert client.post(f"/orders/{number}/payments").status_code == 201
        assert client.post("/orders/9/payments").status_code == 404
    assert stored(dsn) == ["order.placed", "order.paid"]
    assert sql(dsn, "select item from orders") == [("anchor",)]
    with served(SHOP, tmp_path, dsn) as client:  # what was there is there, and nothing is sent again
        assert client.get(f"/orders/{number}").json() == {"id": number, "item": "anchor", "receipt_sent": True}


def test_the_dashboard_is_behind_the_login_of_the_application(tmp_path: Path, sqlite_dsn: str) -> None:
    with served(SHOP, tmp_path, sqlite_dsn) as client:
        client.post("/orders", json={"customer": "ann", "item": "anchor"})
        assert client.get("/operations/").status_code == 401
        assert client.post("/login", json={"password": "let me in"}).status_code == 401
        assert client.post("/login", json={"password": "please"}).status_code == 204
        page = client.get("/operations/events")
        assert page.status_code == 200
        assert "order.placed" in page.text
