"""The dashboard of a store with encrypted payloads: shown where it has the keys, and said where it has not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from holdfast import EventBus, RetryPolicy
from holdfast.dashboard import app
from holdfast.encryption import MasterKeys

from .harness import by_header, client_of, visiting

if TYPE_CHECKING:
    from pathlib import Path

KEYS = MasterKeys({"m": b"m" * 32})
SECRET = "ann@example.org"


@pytest.fixture
async def sealed(tmp_path: Path) -> tuple[str, str]:
    """DSN of a store with one dead letter, whose payload is encrypted, and the id of its event."""
    dsn = f"sqlite:///{tmp_path / 'sealed.db'}"
    bus = EventBus(dsn, spool="off", encryption=KEYS)

    @bus.subscribe("order.placed", name="billing", retry=RetryPolicy(max_attempts=1))
    async def bill(event: object) -> None:
        raise ValueError("no")

    event_id = str((await bus.publish("order.placed", {"mail": SECRET, "n": 1})).event_id)
    await bus.drain(15)
    await bus.close()
    return dsn, event_id


async def test_with_the_keys_payloads_are_shown_and_corrected(sealed: tuple[str, str]) -> None:
    dsn, event_id = sealed
    async with visiting(dsn, keys=KEYS, may_edit=True) as client:
        page = await client.get(f"/events/{event_id}")
        assert SECRET in page.text
        assert "It is encrypted" not in page.text
        assert (await client.get(f"/events/{event_id}.json")).json()["event"]["payload"]["mail"] == SECRET
        question = f"/actions/correct?subscription=billing&event={event_id}"
        assert SECRET in (await client.get(question)).text
        done = await client.act(question, payload='{"mail": "ben@example.org"}')
        assert done.status_code < 400, done.text
    assert b"ben@example.org" not in _file(dsn)


async def test_without_them_it_says_so_and_shows_nothing(sealed: tuple[str, str]) -> None:
    dsn, event_id = sealed
    async with visiting(dsn, may_edit=True) as client:
        page = await client.get(f"/events/{event_id}")
        assert "It is encrypted, and this dashboard has no key for it" in page.text
        assert SECRET not in page.text
        refused = await client.act(f"/actions/correct?subscription=billing&event={event_id}", payload="1")
        assert "master keys" in refused.text


async def test_a_search_by_payload_says_that_it_cannot_look_inside(sealed: tuple[str, str]) -> None:
    dsn, _ = sealed
    async with visiting(dsn, keys=KEYS) as client:
        found = (await client.get("/events?path=n&value=1")).text
        assert "encrypted were not searched" in found
        assert "encrypted were not searched" not in (await client.get("/events")).text


async def test_rules_of_redaction_hold_for_what_was_decrypted(sealed: tuple[str, str]) -> None:
    dsn, event_id = sealed
    async with visiting(dsn, keys=KEYS, redact=["payload.mail"]) as client:
        assert SECRET not in (await client.get(f"/events/{event_id}")).text
        assert SECRET not in (await client.get(f"/events/{event_id}.json")).text


async def test_the_dashboard_of_a_bus_has_the_keys_of_the_bus(sealed: tuple[str, str]) -> None:
    dsn, event_id = sealed
    bus = EventBus(dsn, spool="off", encryption=KEYS)
    async with client_of(app(bus, authenticate=by_header), headers={"x-role": "viewer"}) as client:
        assert SECRET in (await client.get(f"/events/{event_id}")).text
    await bus.close()


def _file(dsn: str) -> bytes:
    from pathlib import Path

    path = Path(dsn.removeprefix("sqlite:///"))
    return b"".join(one.read_bytes() for one in path.parent.glob(f"{path.name}*"))
