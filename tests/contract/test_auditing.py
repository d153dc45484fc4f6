"""The audit, filtered and page by page, the same on both stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.errors import InvalidInput, NotFound
from holdfast.stores.filters import AuditFilter, DeadFilter

if TYPE_CHECKING:
    from tests.contract.desk import Desk

NOW = datetime.now(UTC)
A_DAY = timedelta(days=1)


async def busy(desk: Desk) -> None:
    """Two subscriptions, two operators, one refusal, one action for a tenant."""
    for name in ("billing", "mail"):
        await desk.subscribe(name)
    await desk.operator.pause("billing", actor="ann")
    await desk.operator.pause("mail", actor="bob")
    await desk.operator.resume("billing", actor="bob")
    await desk.operator.refused("skip", "mail", actor="ann", reason=r"she only looks at \u0000 and \ud800")
    await desk.operator.retry_dead(DeadFilter(subscription="mail", tenant_id="acme"), actor="ann")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["dead retry mail", "skip mail", "resume billing", "pause mail", "pause billing"]),
        ({"actor": "bob"}, ["resume billing", "pause mail"]),
        ({"action": "pause"}, ["pause mail", "pause billing"]),
        ({"target": "billing"}, ["resume billing", "pause billing"]),
        ({"tenant_id": "acme"}, ["dead retry mail"]),
        ({"tenant_id": "other"}, []),
        ({"allowed": False}, ["skip mail"]),
        ({"allowed": True, "target": "mail"}, ["dead retry mail", "pause mail"]),
        ({"since": NOW - A_DAY, "actor": "bob", "action": "pause"}, ["pause mail"]),
        ({"until": NOW - A_DAY}, []),
        ({"since": NOW + A_DAY}, []),
    ],
)  # fmt: skip
async def test_what_is_asked_for_is_found(desk: Desk, asked: dict[str, Any], expected: list[str]) -> None:
    await busy(desk)
    found = await desk.inspector.audit(AuditFilter(**asked))
    assert [f"{row.action} {row.target}" for row in found] == expected


async def test_pages_follow_each_other(desk: Desk) -> None:
    await busy(desk)
    everything = await desk.inspector.audit(AuditFilter(target="mail"))
    found, before = [], None
    while page := await desk.inspector.audit(AuditFilter(target="mail"), limit=2, before=before):
        found += page
        before = page[-1].id
    assert found == everything
    assert len(found) == 3


async def test_what_no_store_holds_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidInput, match="actor"):
        AuditFilter(actor="\0")
    with pytest.raises(InvalidInput, match="since"):
        AuditFilter(since=NOW, until=NOW)
    with pytest.raises(NotFound):
        await desk.operator.pause("nobody", actor="ann")
    assert [row.allowed for row in await desk.inspector.audit(AuditFilter(target="nobody"))] == [False]
