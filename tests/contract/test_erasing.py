"""Erasing personal data: masked wherever the store keeps it, and nothing else is changed by it, the same on both stores."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from holdfast.erased import MASK
from holdfast.errors import HoldfastError, InvalidInput, SpoolError
from holdfast.event import NewEvent
from holdfast.ids import new_id
from holdfast.spool import Spool
from holdfast.stores import erasing
from holdfast.stores.filters import ReplayFilter
from holdfast.stores.values import Appended, Attempt, Receipt, Settlement
from tests.contract.harness import EVERYTHING_IS_OLD

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from tests.contract.desk import Desk

SECRET = "ann@example.org"
PERSONAL = msgspec.json.encode({"mail": SECRET})
HEADERS = msgspec.json.encode({"actor": SECRET, "correlation_id": "c-1", "causation_id": "c-0", "traceparent": "00-1"})
MASKED = {"holdfast.erased": True}


async def publish(desk: Desk, *, n: int = 1, **fields: Any) -> list[UUID]:
    return await desk.publish(n=n, **{"key": "ann", "payload": PERSONAL, "headers": HEADERS} | fields)


async def content(desk: Desk, event_id: UUID) -> Any:
    return (await desk.inspector.event(event_id)).payload


class TestWhatIsMasked:
    async def test_payload_and_headers_and_the_headers_say_who_erased_them_and_when(self, desk: Desk) -> None:
        (event_id,) = await publish(desk)
        outcome = await desk.operator.erase(tenant_id="acme", actor="bob")
        assert (outcome.events, outcome.deliveries, outcome.attempts) == (1, 0, 0)
        found = await desk.inspector.event(event_id)
        at = found.headers.pop("erased_at")
        assert at.endswith("Z")
        assert found.headers == {"erased_by": "bob", "correlation_id": "c-1", "causation_id": "c-0"}
        assert (found.payload, found.tenant_id, found.key) == (MASKED, "acme", "ann")

    @pytest.mark.parametrize(
        ("whose", "masked"),
        [
            ({"tenant_id": "acme"}, {"acme ann", "acme ben", "acme None"}),
            ({"key": "ann"}, {"acme ann", "other ann"}),
            ({"tenant_id": "acme", "key": "ann"}, {"acme ann"}),
            ({"tenant_id": "nobody"}, set()),
        ],
    )
    async def test_only_what_is_of_the_tenant_and_the_key(
        self, desk: Desk, whose: dict[str, str], masked: set[str]
    ) -> None:
        ids = {
            f"{tenant} {key}": (await publish(desk, tenant=tenant, key=key))[0]
            for tenant in ("acme", "other")
            for key in ("ann", "ben", None)
        }
        assert (await desk.operator.erase_count(**whose)).events == len(masked)
        assert (await desk.operator.erase(**whose, actor="bob")).events == len(masked)
        assert {name for name, one in ids.items() if await content(desk, one) == MASKED} == masked

    async def test_errors_tracebacks_and_reasons(self, desk: Desk) -> None:
        _, event_id = await desk.died()
        assert (await desk.operator.erase_count(key="k")).deliveries == 1
        outcome = await desk.operator.erase(key="k", actor="bob")
        assert (outcome.events, outcome.deliveries, outcome.attempts) == (1, 1, 1)
        (delivery,) = (await desk.inspector.event(event_id)).deliveries
        (attempt,) = delivery.history
        assert (attempt.error, attempt.message, attempt.traceback) == ("ValueError", "erased", None)
        assert (delivery.state, delivery.reason) == ("dead", "erased")

    async def test_dead_letters_whose_event_retention_has_dropped(self, desk: Desk) -> None:
        subscription = await desk.subscribe()
        (event_id,) = await publish(desk)
        (lease,) = await desk.lease(subscription)
        await desk.handle(lease, failing=frozenset([event_id]))
        await desk.operator.retention_run(EVERYTHING_IS_OLD, actor="me")
        assert not (await desk.inspector.event(event_id)).in_log
        outcome = await desk.operator.erase(key="ann", actor="bob")
        assert (outcome.events, outcome.deliveries) == (0, 1)
        found = await desk.inspector.event(event_id)
        assert (found.payload, found.headers["erased_by"]) == (MASKED, "bob")
        assert SECRET not in str(found)

    @pytest.mark.parametrize(
        "headers", [None, b"[1]", b'{"actor": 7}', b'{"erased_at": "x", "actor": "ann@example.org"}']
    )
    async def test_whatever_stood_in_the_headers(self, desk: Desk, headers: bytes | None) -> None:
        (event_id,) = await publish(desk, headers=headers, payload=MASK)
        assert (await desk.operator.erase(key="ann", actor="bob")).events == 1
        assert set((await desk.inspector.event(event_id)).headers) == {"erased_at", "erased_by"}

    async def test_a_log_of_several_parts(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(erasing, "PART", 3)
        ids = await publish(desk, n=10)
        done: list[int] = []
        assert (await desk.operator.erase(key="ann", actor="bob", progress=done.append)).events == 10
        assert done == [3, 6, 9, 10]
        assert [await content(desk, one) for one in ids] == [MASKED] * 10


class TestAgain:
    async def test_what_is_masked_already_keeps_who_erased_it_first(self, desk: Desk) -> None:
        _, event_id = await desk.died()
        await desk.operator.erase(key="k", actor="bob")
        counted = await desk.operator.erase_count(key="k")
        assert (counted.events, counted.deliveries) == (0, 0)
        outcome = await desk.operator.erase(key="k", actor="eve")
        assert (outcome.events, outcome.deliveries, outcome.attempts) == (0, 0, 0)
        assert (await desk.inspector.event(event_id)).headers["erased_by"] == "bob"

    async def test_what_a_worker_that_had_it_in_hand_has_written_since_is_found(self, desk: Desk) -> None:
        subscription = await desk.subscribe()
        (event_id,) = await publish(desk)
        (lease,) = await desk.lease(subscription)
        (row,), _ = await desk.read(lease)
        await desk.operator.erase(key="ann", actor="bob")
        late = Attempt(lease.slice, row.id, row.day, 1, "failed", "ValueError", SECRET, f"Traceback {SECRET}", 0.25)
        settlement = Settlement({lease.slice: lease.epoch}, attempts=[late])
        settlement.add(Receipt(lease.slice, row.id, row.day))
        await desk.store.settle(settlement)
        assert SECRET in str(await desk.inspector.event(event_id))
        assert (await desk.operator.erase_count(key="ann")).events == 1
        outcome = await desk.operator.erase(key="ann", actor="eve")
        assert (outcome.events, outcome.deliveries, outcome.attempts) == (1, 0, 1)
        found = await desk.inspector.event(event_id)
        assert SECRET not in str(found)
        assert found.headers["erased_by"] == "bob", "who masked it"
        assert (await desk.operator.erase_count(key="ann")).events == 0

    async def test_one_that_was_broken_off_is_finished(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        class Broken(Exception):
            pass

        def stop(done: int) -> None:
            if done >= 6:
                raise Broken

        monkeypatch.setattr(erasing, "PART", 3)
        await publish(desk, n=10)
        with pytest.raises(Broken):
            await desk.operator.erase(key="ann", actor="bob", progress=stop)
        (begun,) = await desk.inspector.audit()
        assert (begun.action, begun.count) == ("erase", 6)
        assert (await desk.operator.erase(key="ann", actor="bob")).events == 4


class TestWhatStays:
    async def test_an_erased_event_is_delivered_in_its_place_with_the_mask(self, desk: Desk) -> None:
        subscription = await desk.subscribe()
        ids = [(await publish(desk, key=key))[0] for key in ("ann", "ben", "ann")]
        (lease,) = await desk.lease(subscription)
        rows, _ = await desk.read(lease)
        before = [row[:8] for row in rows]
        await desk.operator.erase(key="ann", actor="bob")
        rows, _ = await desk.read(lease)
        assert [row[:8] for row in rows] == before
        assert [row.id for row in rows] == [one.bytes for one in ids]
        assert [row.payload for row in rows] == [MASK, PERSONAL, MASK]

    async def test_between_two_pages_of_a_window_no_event_is_missed_and_none_read_twice(self, desk: Desk) -> None:
        subscription = await desk.subscribe()
        ids = [(await publish(desk, key=key))[0] for key in ("ann", "ben", "ann", "ben", "ann")]
        (lease,) = await desk.lease(subscription)
        reader, cursor, seen = await desk.store.reader(), lease.cursor, []
        try:
            for _ in range(4):
                page = await reader.read(cursor, limit=2, max_bytes=2**20)
                seen += page.rows
                cursor = page.cursor
                await desk.operator.erase(key="ann", actor="bob")
        finally:
            await reader.close()
        assert [row.id for row in seen] == [one.bytes for one in ids]
        assert [row.payload for row in seen] == [PERSONAL, PERSONAL, MASK, PERSONAL, MASK]

    async def test_it_is_not_delivered_once_more(self, desk: Desk) -> None:
        subscription = await desk.subscribe()
        await publish(desk, n=3)
        (lease,) = await desk.lease(subscription)
        await desk.handle(lease)
        await desk.operator.erase(key="ann", actor="bob")
        (lease,) = await desk.lease(subscription)
        assert (await desk.read(lease))[0] == []
        (status,) = (await desk.inspector.status()).subscriptions
        assert status.lag == 0

    async def test_it_is_replayed_as_a_mask(self, desk: Desk) -> None:
        subscription = await desk.subscribe()
        await publish(desk)
        (lease,) = await desk.lease(subscription)
        await desk.handle(lease)
        await desk.operator.erase(key="ann", actor="bob")
        assert await desk.operator.replay("billing", ReplayFilter(), actor="me") == 1
        (lease,) = await desk.lease(subscription)
        (due,) = (await desk.store.claim({lease.slice: lease.epoch}, limit=10)).due
        assert due.row.payload == MASK

    async def test_a_repeat_of_an_erased_event_is_a_duplicate_and_brings_nothing_back(self, desk: Desk) -> None:
        (event_id,) = await publish(desk)
        await desk.operator.erase(key="ann", actor="bob")
        repeat = NewEvent(event_id, "acme", "order.placed", "ann", PERSONAL, HEADERS)
        assert await desk.store.append([repeat], atomic=True) == [Appended.DUPLICATE]
        other = repeat._replace(tenant_id="other")
        assert await desk.store.append([other], atomic=True) == [Appended.CONFLICT]
        assert await content(desk, event_id) == MASKED


class TestOnRecord:
    async def test_two_audit_rows_with_what_was_asked_and_the_counts(self, desk: Desk) -> None:
        await desk.died()
        await desk.operator.erase(tenant_id="acme", key="k", actor="bob")
        ended, begun = await desk.inspector.audit()
        asked = {"tenant_id": "acme", "key": "k"}
        assert (begun.action, begun.actor, begun.target, begun.count) == ("erase", "bob", "tenant acme, key k", 1)
        assert begun.detail == asked
        assert (ended.action, ended.count, ended.allowed) == ("erased", 1, True)
        numbers = {"events": 1, "deliveries": 1, "attempts": 1, "spooled": 0, "quarantined": 0, "keys": 0}
        assert ended.detail.pop("position") > 0, "up to where, for whoever verifies a seal"
        assert ended.detail == asked | numbers

    async def test_a_refused_one_with_the_reason(self, desk: Desk) -> None:
        await publish(desk)
        with pytest.raises(InvalidInput, match="whose data"):
            await desk.operator.erase(actor="bob")
        (row,) = await desk.inspector.audit()
        assert (row.action, row.actor, row.allowed) == ("erase", "bob", False)
        assert "whose data" in row.detail["refused"]
        with pytest.raises(HoldfastError):
            await desk.operator.erase(key="ann", actor="")
        assert (await desk.operator.erase_count(key="ann")).events == 1

    async def test_what_was_not_covered_is_told(self, desk: Desk) -> None:
        outcome = await desk.operator.erase(key="ann", actor="bob")
        text = " ".join(outcome.left)
        for word in ("audit", "other machines", "brokers", "backups", "tables of their own", "VACUUM"):
            assert word.lower() in text.lower()


class TestSpool:
    async def test_what_waits_in_files_of_dead_processes_and_what_the_store_refused(
        self, desk: Desk, tmp_path: Path
    ) -> None:
        folder = tmp_path / "spool"
        events = [NewEvent(new_id(), "acme", "a", key, PERSONAL, HEADERS) for key in ("ann", "ben", "ann", None)]
        spool = Spool(folder)
        spool.open()
        spool.append(events)
        (first, *_) = spool.peek(1)
        spool.quarantine(first, "no")
        spool.close()
        outcome = await desk.operator.erase(key="ann", actor="bob", spool=folder)
        assert (outcome.spooled, outcome.quarantined) == (1, 1)
        line = json.loads((folder / "quarantine.jsonl").read_text().strip())
        assert (line["id"], line["key"]) == (str(events[0].id), "ann")
        assert "payload" not in line
        spool.open()
        waiting = [record.event for record in spool.peek(10)]
        spool.close()
        assert [one.id for one in waiting] == [one.id for one in events[1:]]
        assert [one.payload for one in waiting] == [PERSONAL, MASK, PERSONAL]
        assert msgspec.json.decode(waiting[1].headers or b"")["erased_by"] == "bob"
        again = await desk.operator.erase(key="ann", actor="bob", spool=folder)
        assert (again.spooled, again.quarantined) == (0, 0)

    async def test_files_of_live_processes_are_left_and_named(self, desk: Desk, tmp_path: Path) -> None:
        spool = Spool(tmp_path / "spool")
        spool.open()
        spool.append([NewEvent(new_id(), "acme", "a", "ann", PERSONAL)])
        outcome = await desk.operator.erase(key="ann", actor="bob", spool=spool.directory)
        (record,) = spool.peek(10)
        spool.close()
        assert outcome.spooled == 0
        assert any("1 spool file of live processes" in one for one in outcome.left)
        assert record.event.payload == PERSONAL

    async def test_a_masked_copy_of_a_stored_event_is_a_duplicate(self, desk: Desk) -> None:
        (event_id,) = await publish(desk)
        copy = NewEvent(event_id, "acme", "order.placed", "ann", MASK)
        assert await desk.store.append([copy], atomic=True) == [Appended.DUPLICATE]

    async def test_a_spool_that_cannot_be_used_stops_it_before_the_store(self, desk: Desk, tmp_path: Path) -> None:
        folder = tmp_path / "spool"
        folder.mkdir()
        (folder / "00000001.spool").mkdir()
        await publish(desk)
        await desk.operator.erase(key="ben", actor="bob", spool=folder)
        folder.joinpath("quarantine.jsonl").mkdir()
        with pytest.raises(SpoolError, match="quarantine"):
            await desk.operator.erase(key="ann", actor="bob", spool=folder)
        assert (await desk.operator.erase_count(key="ann")).events == 1
