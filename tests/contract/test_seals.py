"""Tamper evidence: what is changed by somebody who may write everything is found and named, on both stores."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from holdfast.erased import MASK
from holdfast.errors import ConfigurationError, StoreUnavailable, WrongStore
from holdfast.sealing import Finding, Kind, Sealed, Sealer, Summary, Verifier, read_anchors, write_anchors
from holdfast.sealing.erasing import ACTION
from holdfast.stores.inspector import make_inspector
from tests.contract.harness import EVERYTHING_IS_OLD
from tests.postgres.writers import Writers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from holdfast.stores.inspecting import Inspecting
    from holdfast.stores.operating import Operating
    from tests.contract.harness import Scene

sealable = pytest.mark.parametrize("scene", ["file", "memory", "postgres"], indirect=True)
shared = pytest.mark.parametrize("scene", ["file", "postgres"], indirect=True)
postgres = pytest.mark.parametrize("scene", ["postgres"], indirect=True)

PAGE = 4


class Notary:
    """Seals and verifies the store of a scene."""

    def __init__(self, scene: Scene, store: Any = None) -> None:
        self.scene = scene
        looking, acting = make_inspector(store or scene.store)
        self.inspector: Inspecting = looking
        self.operator: Operating = acting

    async def seal(self, **options: Any) -> Sealed:
        return await self.sealer(**options).seal()

    def sealer(self, **options: Any) -> Sealer:
        return Sealer(self.inspector, self.operator, **{"actor": "ann", "page": PAGE} | options)

    async def verify(self, **options: Any) -> tuple[list[Finding], Summary]:
        verifier = Verifier(self.inspector, **options)
        return [finding async for finding in verifier.findings()], verifier.summary

    async def findings(self, **options: Any) -> list[Finding]:
        return (await self.verify(**options))[0]

    async def is_sound(self, **options: Any) -> bool:
        found, summary = await self.verify(**options)
        assert summary.is_sound == all(one.kind is Kind.ERASED for one in found)
        return summary.is_sound


@pytest.fixture
async def notary(scene: Scene) -> AsyncIterator[Notary]:
    notary = Notary(scene)
    yield notary
    await notary.inspector.close()


async def tamper(scene: Scene, *statements: str) -> None:
    """As somebody who owns everything: with the triggers of the log out of the way."""
    if scene.kind != "postgres":
        await scene.sql("drop trigger if exists event_log_gives_positions")
    for statement in statements:
        await scene.sql(statement)


async def position_of(scene: Scene, key: str) -> int:
    ((position,),) = await scene.sql(f"select position from event_log where event_key = '{key}'")
    return position


def placed(findings: list[Finding]) -> list[tuple[Kind, int | None, UUID | None]]:
    return [(one.kind, one.position, one.event_id) for one in findings]


@sealable
class TestSealing:
    async def test_what_nobody_touches_is_sound(self, scene, notary):
        await scene.publish(*"abcdefghij")
        await scene.publish(None, headers=b'{"x":"y"}')
        assert await notary.seal() == (11, 3)
        found, summary = await notary.verify()
        assert found == []
        assert (summary.sealed, summary.unsealed, summary.segments, summary.days) == (11, 0, 3, 1)

    async def test_an_empty_log_and_nothing_new_add_nothing(self, scene, notary):
        assert await notary.seal() == (0, 0)
        await scene.publish("a")
        assert await notary.seal() == (1, 1)
        assert await notary.seal() == (0, 0)
        assert await notary.is_sound()

    async def test_each_event_is_sealed_once_whatever_the_size_of_pages(self, scene, notary):
        await scene.publish(*"abc")
        assert (await notary.seal(page=1)).events == 3
        await scene.publish(*"defg")
        assert (await notary.seal(page=3)).events == 4
        _, summary = await notary.verify()
        assert (summary.sealed, summary.unsealed) == (7, 0)

    async def test_what_was_never_sealed_is_told_and_no_finding(self, scene, notary):
        await scene.publish("a")
        await notary.seal()
        await scene.publish(*"bc")
        found, summary = await notary.verify()
        assert (found, summary.sealed, summary.unsealed) == ([], 1, 2)

    async def test_all_rounds_of_a_sealer_are_one_row_of_the_audit(self, scene, notary):
        sealer = notary.sealer()
        for keys in ("abc", "defghi"):
            await scene.publish(*keys)
            await sealer.seal()
        (row,) = [row for row in await notary.inspector.audit() if row.action == "seal"]
        assert (row.actor, row.target, row.count, row.allowed) == ("ann", "the log", 9, True)

    async def test_texts_in_any_script_and_awkward_payloads_are_sealed_as_they_are(self, scene, notary):
        await scene.publish("\u202eключ", payload='{"a":  "ä\\u0001", "b":1e5}'.encode())
        await scene.publish("x" * 255, payload=b'"' + b"y" * 300_000 + b'"')
        await notary.seal()
        assert await notary.is_sound()


@sealable
class TestTampering:
    @pytest.fixture(autouse=True)
    async def sealed(self, scene, notary):
        self.events = {event.key: event.id for event in await scene.publish(*"abcdefghij", headers=b'{"h":"1"}')}
        await notary.seal()

    @pytest.mark.parametrize(
        ("change", "parts"),
        [
            ("payload = '{\"order_id\":2}'", ("payload",)),
            ("payload = '{\"order_id\": 1}'", ("payload",)),
            ('headers = \'{"h":"2"}\'', ("headers",)),
            ("headers = null", ("headers",)),
            ("tenant_id = 'other'", ("tenant, name, key or time",)),
            ("event_name = 'order.cancelled'", ("tenant, name, key or time",)),
            ("event_key = 'zz'", ("tenant, name, key or time",)),
            ("event_key = null", ("tenant, name, key or time",)),
            ("occurred_at = '2020-02-02T02:02:02.000002Z'", ("tenant, name, key or time",)),
            ("tenant_id = 'o', payload = '1'", ("tenant, name, key or time", "payload")),
            ("id = '01890a5d-ac96-774b-bcce-b302099a8057'", ("id",)),
        ],
    )
    async def test_an_edited_event_is_named_with_what_differs(self, scene, notary, change, parts):
        position = await position_of(scene, "e")
        await tamper(scene, f"update event_log set {change} where event_key = 'e'")
        (found,) = await notary.findings()
        assert placed([found]) == [(Kind.EDITED, position, self.events["e"])]
        assert found.parts == parts
        assert str(self.events["e"]) in str(found)
        assert str(found.day) in str(found)

    async def test_swapped_payloads_are_two_edits(self, scene, notary):
        await tamper(scene, "update event_log set payload = '{\"order_id\":3}' where event_key in ('b', 'h')")
        assert [one.event_id for one in await notary.findings()] == [self.events["b"], self.events["h"]]

    @pytest.mark.parametrize("keys", ["a", "j", "ef", "abcdefghij"])
    async def test_a_removed_event_is_named(self, scene, notary, keys):
        gone = [(Kind.REMOVED, await position_of(scene, key), self.events[key]) for key in keys]
        await tamper(scene, *(f"delete from event_log where event_key = '{key}'" for key in keys))
        assert placed(await notary.findings()) == gone

    async def test_an_event_with_another_position_is_removed_here_and_inserted_there(self, scene, notary):
        position = await position_of(scene, "c")
        await tamper(scene, "update event_log set position = 2000000000 where event_key = 'c'")
        found = placed(await notary.findings())
        assert (Kind.REMOVED, position, self.events["c"]) in found

    async def test_an_event_inserted_among_sealed_ones_is_named(self, scene, notary):
        position = await position_of(scene, "d")
        forged = "01890a5d-ac96-774b-bcce-b302099a8057"
        await tamper(
            scene,
            "delete from event_log where event_key = 'd'",
            "insert into event_log (position, id, occurred_at, tenant_id, event_name, event_key, payload) values "
            f"({position}, '{forged}', '2020-02-02T02:02:02.000002Z', 'acme', 'order.placed', 'd', '1')",
        )
        (found,) = await notary.findings()
        assert placed([found]) == [(Kind.EDITED, position, self.events["d"])]
        assert forged in str(found)

    async def test_an_event_inserted_before_all_others_is_named(self, scene, notary):
        forged = "01890a5d-ac96-774b-bcce-b302099a8057"
        await tamper(scene)
        await insert_below_all(scene, forged)
        await scene.publish("later")
        for _ in range(2):  # the same before and after the next sealing, which does not take it in
            (found,) = await notary.findings()
            assert placed([found]) == [(Kind.INSERTED, 0, UUID(forged))]
            await notary.seal()

    async def test_a_seal_that_was_edited_with_its_event_is_found(self, scene, notary):
        await tamper(
            scene,
            "update event_log set payload = '1' where event_key = 'e'",
            "update seal_segments set entries = (select s.entries from seal_segments as s where s.number = 1) "
            "where number = 2",
        )
        found = await notary.findings()
        assert (found[0].kind, found[0].note) == (Kind.SEAL, "the entries of link 2 were edited")

    async def test_removed_links_are_found(self, scene, notary):
        await tamper(scene, "delete from seal_segments where number = 2")
        kinds = [(one.kind, one.note) for one in await notary.findings() if one.kind is Kind.SEAL]
        assert kinds == [(Kind.SEAL, "links 2 to 2 are missing")]

    async def test_a_chain_that_was_cut_is_found(self, scene, notary):
        await tamper(scene, "delete from seal_segments where number = 3")
        first, *rest = await notary.findings()
        assert first.note == "the chain ends with link 2, and not as the day's record says, with 3"
        assert [one.event_id for one in rest] == [self.events["i"], self.events["j"]]

    @pytest.mark.parametrize("column", ["events", "first", "last"])
    async def test_an_edited_link_is_found(self, scene, notary, column):
        await tamper(scene, f"update seal_segments set {column} = {column} + 1 where number = 2")
        notes = [one.note for one in await notary.findings() if one.kind is Kind.SEAL]
        assert "link 2 does not follow from the one before: one of the two was edited" in notes

    async def test_emptied_entries_are_found(self, scene, notary):
        await tamper(scene, "update seal_segments set entries = null where number = 2")
        notes = [one.note for one in await notary.findings() if one.kind is Kind.SEAL]
        assert notes == ["link 2 has lost its entries, and retention has not dropped its events"]

    async def test_whoever_takes_the_seals_away_makes_all_events_strangers(self, scene, notary):
        await tamper(scene, "delete from seal_segments", "delete from seal_days")
        assert [one.kind for one in await notary.findings()] == [Kind.INSERTED] * 10

    async def test_a_day_by_itself_is_verified(self, scene, notary):
        await tamper(scene, "update event_log set payload = '1' where event_key = 'e'")
        (found,) = await notary.findings()
        assert placed(await notary.findings(day=found.day)) == placed([found])
        _, summary = await notary.verify(day=found.day.replace(year=2001))
        assert (summary.is_sound, summary.days, summary.sealed) == (True, 0, 0)


async def insert_below_all(scene: Scene, event_id: str) -> None:
    """Put an event where no position ever was."""
    insert = (
        "insert into event_log (position, id, occurred_at, tenant_id, event_name, event_key, payload) "
        f"values (0, '{event_id}', '2020-02-02T02:02:02.000002Z', 'acme', 'order.placed', 'd', '1')"
    )
    if scene.kind == "file":  # the check of positions is switched off for one connection only
        with closing(scene.connect()) as connection, connection:
            connection.execute("pragma ignore_check_constraints = on")
            connection.execute(insert)
        return
    if scene.kind == "memory":
        await scene.sql("pragma ignore_check_constraints = on")
    await scene.sql(insert)


NOBODY = {"tenant_id": None, "key": None}


@sealable
class TestErasing:
    """The audit's word for erasing, as `holdfast.sealing.erasing` has it."""

    async def erase(self, scene, notary, whose: str, *, mask: bytes = MASK, **detail: Any) -> None:
        await tamper(
            scene,
            f"update event_log set payload = '{mask.decode()}', headers = '{{\"erased\":\"yes\"}}' where event_key = '{whose}'",
            "insert into audit (at, actor, action, target, detail, allowed) values "
            f"('2026-01-02T03:04:05.000000Z', 'bob', '{ACTION}', 'acme', '{json.dumps(NOBODY | detail)}', true)",
        )

    async def test_an_erased_payload_keeps_the_chain_and_says_by_whom_and_when(self, scene, notary):
        events = await scene.publish(*"abc")
        await notary.seal()
        await self.erase(scene, notary, "b", tenant_id="acme", key="b", position=await position_of(scene, "b"))
        (found,) = await notary.findings()
        assert placed([found]) == [(Kind.ERASED, await position_of(scene, "b"), events[1].id)]
        assert found.note == "erased by bob at 2026-01-02 03:04:05Z"
        assert await notary.is_sound()

    @pytest.mark.parametrize("whose", [{"tenant_id": "acme", "key": "b"}, {"key": "b"}, {"tenant_id": "acme"}], ids=str)
    async def test_what_an_operator_erases_is_explained_and_what_comes_later_is_not(self, scene, notary, whose):
        await scene.publish(*"abc")
        await notary.seal()
        await notary.operator.erase(actor="bob", **whose)
        found = await notary.findings()
        assert {one.kind for one in found} == {Kind.ERASED}
        assert len(found) == (1 if "key" in whose else 3)
        assert all((one.note or "").startswith("erased by bob at ") for one in found)
        await scene.publish("b")
        await notary.seal()
        await tamper(
            scene,
            f"update event_log set payload = '{MASK.decode()}' where position = (select max(position) from event_log)",
        )
        assert sorted(one.kind for one in await notary.findings())[:1] == [Kind.EDITED]

    async def test_an_erased_tenant_is_all_of_its_keys(self, scene, notary):
        await scene.publish(*"abc")
        await notary.seal()
        await self.erase(scene, notary, "b", tenant_id="acme", position=await position_of(scene, "b"))
        assert [one.kind for one in await notary.findings()] == [Kind.ERASED]

    @pytest.mark.parametrize(
        "detail",
        [
            {"tenant_id": "other", "position": 2**60},
            {"tenant_id": "acme", "key": "a", "position": 2**60},
            {"tenant_id": "acme", "position": 0},
            {"tenant_id": "acme"},
            {"position": 2**60},
            {"tenant_id": 7, "position": "x"},
        ],
    )
    async def test_what_the_audit_does_not_name_is_edited(self, scene, notary, detail):
        await scene.publish(*"abc")
        await notary.seal()
        await self.erase(scene, notary, "b", **detail)
        assert [one.kind for one in await notary.findings()] == [Kind.EDITED]

    async def test_another_payload_than_the_mask_is_edited_whatever_the_audit_says(self, scene, notary):
        await scene.publish(*"abc")
        await notary.seal()
        await self.erase(scene, notary, "b", mask=b'{"paid":true}', tenant_id="acme", position=2**60)
        assert [one.kind for one in await notary.findings()] == [Kind.EDITED]

    async def test_erasing_explains_no_other_change(self, scene, notary):
        await scene.publish(*"abc")
        await notary.seal()
        await self.erase(scene, notary, "b", tenant_id="acme", position=2**60)
        await tamper(scene, "update event_log set event_name = 'order.cancelled' where event_key = 'b'")
        assert [one.kind for one in await notary.findings()] == [Kind.EDITED]


@sealable
class TestAnchors:
    async def test_whoever_rewrites_the_seals_too_is_found(self, scene, notary, tmp_path):
        path = tmp_path / "anchors.jsonl"
        await scene.publish(*"abcdef")
        await notary.seal()
        assert await write_anchors(notary.inspector, path) == 1
        await tamper(scene, "update event_log set payload = '1' where event_key = 'b'", *self.forget_seals(scene))
        await notary.seal()
        anchors = await read_anchors(notary.inspector, path)
        assert await notary.is_sound()
        (found,) = await notary.findings(anchors=anchors)
        assert (found.kind, found.day) == (Kind.ANCHOR, anchors[0].day)
        assert "has another head than link 2 now" in str(found)

    async def test_whoever_removes_the_end_of_log_and_seals_is_found(self, scene, notary, tmp_path):
        path = tmp_path / "anchors.jsonl"
        await scene.publish(*"abcdef")
        await notary.seal()
        await write_anchors(notary.inspector, path)
        await tamper(scene, "delete from event_log where event_key in ('e', 'f')", *self.forget_seals(scene))
        await notary.seal()
        (found,) = await notary.findings(anchors=await read_anchors(notary.inspector, path))
        assert str(found).endswith("is of link 2, which is not there")

    async def test_anchors_hold_while_the_chain_grows(self, scene, notary, tmp_path):
        path = tmp_path / "anchors.jsonl"
        for keys in ("abcdef", "ghi", "jklmn"):
            await scene.publish(*keys)
            await notary.seal()
            assert await write_anchors(notary.inspector, path) == 1
        assert await write_anchors(notary.inspector, path) == 0
        anchors = await read_anchors(notary.inspector, path)
        found, summary = await notary.verify(anchors=anchors)
        assert (found, summary.anchors, [one.events for one in anchors]) == ([], 3, [6, 9, 14])

    async def test_a_file_of_another_store_or_of_no_anchors_is_refused(self, scene, notary, tmp_path):
        path: Path = tmp_path / "anchors.jsonl"
        await scene.publish("a")
        await notary.seal()
        await write_anchors(notary.inspector, path)
        text = path.read_text()
        path.write_text(text.replace(json.loads(text)["store"], "01890a5d-ac96-774b-bcce-b302099a8057"))
        with pytest.raises(WrongStore, match="01890a5d-ac96-774b-bcce-b302099a8057"):
            await read_anchors(notary.inspector, path)
        for bad in ("{}\n", "no json\n", text.replace('"head":"', '"head":"00')):
            path.write_text(bad)
            with pytest.raises(ConfigurationError, match="line 1 of .* is no anchor"):
                await read_anchors(notary.inspector, path)

    async def test_a_line_that_was_cut_short_is_written_again(self, scene, notary, tmp_path):
        path = tmp_path / "anchors.jsonl"
        await scene.publish("a")
        await notary.seal()
        await write_anchors(notary.inspector, path)
        whole = path.read_bytes()
        path.write_bytes(whole[:-5])
        assert await read_anchors(notary.inspector, path) == []
        assert await write_anchors(notary.inspector, path) == 1
        assert path.read_bytes() == whole

    def forget_seals(self, scene: Scene) -> list[str]:
        done = "done = '3:3:'" if scene.kind == "postgres" else "done = 0"
        return [
            "delete from seal_segments",
            "delete from seal_days",
            f"update sealing set {done}, open = null, position = 0, highest = 0",
        ]


class Killed(BaseException):
    """The process ends."""


@shared
class TestSealersInTrouble:
    @pytest.mark.parametrize("after", range(6))
    async def test_one_that_is_killed_leaves_whole_links_and_the_next_one_goes_on(self, scene, notary, after):
        await scene.publish(*"abcdefghij")
        perform, calls = notary.operator.perform, 0

        def halfway(action):
            """Fails behind a statement of the action, so that its transaction is never ended."""
            yield next(action)
            raise Killed

        async def killing(action):
            nonlocal calls
            calls += 1
            if calls > after // 2 + 1:
                if after % 2:
                    raise Killed
                return await perform(halfway(action))
            return await perform(action)

        notary.operator.perform = killing
        with pytest.raises(Killed):
            await notary.seal()
        notary.operator.perform = perform
        found, summary = await notary.verify()
        assert (found, summary.sealed + summary.unsealed) == ([], 10)
        assert (await notary.seal()).events == 10 - summary.sealed
        _, summary = await notary.verify()
        assert (summary.sealed, summary.unsealed, summary.is_sound) == (10, 0, True)

    async def test_two_at_once_seal_each_event_once(self, scene, notary):
        await scene.publish(*(f"k{number}" for number in range(60)))
        others = [Notary(scene, await scene.rival()) for _ in range(2)]
        rounds = await asyncio.gather(*(one.seal() for one in (notary, *others)))
        for other in others:
            await other.inspector.close()
        assert sum(sealed.events for sealed in rounds) == 60
        _, summary = await notary.verify()
        assert (summary.sealed, summary.unsealed, summary.is_sound) == (60, 0, True)

    async def test_publishing_sealing_and_verifying_go_on_beside_each_other(self, scene, notary):
        async def publish():
            for number in range(20):
                await scene.publish(*(f"{number}-{key}" for key in "abcde"))

        other = Notary(scene, await scene.rival())
        publishing = asyncio.create_task(publish())
        while not publishing.done():
            await other.seal()
            assert await notary.findings() == []
        await publishing
        await other.seal()
        await other.inspector.close()
        _, summary = await notary.verify()
        assert (summary.sealed, summary.unsealed, summary.is_sound) == (100, 0, True)


@shared
@pytest.mark.parametrize(("share", "least"), [(1.0, 0), (0.2, 1e-6)])
async def test_a_sealer_beside_workers_rests_after_each_page(scene, notary, monkeypatch, share, least):
    rests = []

    async def rest(seconds):
        rests.append(seconds)

    await scene.publish(*"abcdefgh")
    monkeypatch.setattr("holdfast.sealing.sealer.asyncio.sleep", rest)
    await notary.seal(share=share)
    assert len(rests) == 3  # two pages, and the end of the window
    assert all(seconds >= least for seconds in rests)
    assert any(rests) == (share < 1)


@shared
class TestRetention:
    async def test_heads_of_dropped_days_stay_and_what_is_gone_is_no_finding(self, scene, notary, tmp_path):
        path = tmp_path / "anchors.jsonl"
        await scene.publish(*"abcdef")
        await notary.seal()
        await write_anchors(notary.inspector, path)
        await scene.store.maintain(retention=EVERYTHING_IS_OLD)
        assert await scene.stored() == []
        anchors = await read_anchors(notary.inspector, path)
        for dropped in (6, 0):  # before and after the next sealing, which forgets the entries
            found, summary = await notary.verify(anchors=anchors)
            assert (found, summary.dropped, summary.segments, summary.anchors) == ([], dropped, 2, 1)
            await notary.seal()
        assert await scene.sql("select count(*) from seal_segments where entries is not null") == [(0,)]

    async def test_what_is_removed_by_hand_is_not_taken_for_dropped(self, scene, notary):
        await scene.publish(*"ab")
        await notary.seal()
        await tamper(scene, "delete from event_log")
        await scene.store.maintain(retention=None)
        assert [one.kind for one in await notary.findings()] == [Kind.REMOVED] * 2


@postgres
class TestSlowTransactions:
    async def test_an_event_that_commits_after_its_neighbours_were_sealed_is_sealed_later(self, scene, notary):
        with scene.connect() as slow:
            slow.execute("set search_path = holdfast")
            await scene.publish(*"ab")
            insert = (
                "insert into event_store (tenant_id, event_name, event_key, payload) values ('acme', 'n', 's', '1')"
            )
            slow.execute(insert)
            await scene.publish(*"cd")
            assert (await notary.seal()).events == 4
            assert (await notary.verify())[1].unsealed == 0
            slow.commit()
        found, summary = await notary.verify()
        assert (found, summary.sealed, summary.unsealed) == ([], 4, 1)
        await scene.publish(*"ef")
        assert await notary.seal() == (3, 2)  # what came late is linked apart
        found, summary = await notary.verify()
        assert (found, summary.sealed, summary.unsealed) == ([], 7, 0)
        await tamper(scene, "update event_log set payload = '2' where event_key = 's'")
        assert [one.kind for one in await notary.findings()] == [Kind.EDITED]

    async def test_one_that_rolls_back_leaves_a_gap_that_is_no_finding(self, scene, notary):
        with scene.connect() as slow:
            slow.execute("set search_path = holdfast")
            slow.execute("insert into event_store (tenant_id, event_name, payload) values ('acme', 'n', '1')")
            await scene.publish(*"ab")
            await notary.seal()
            slow.rollback()
        await scene.publish("c")
        await notary.seal()
        assert await notary.is_sound()

    async def test_one_that_commits_between_two_pages_is_sealed_with_the_next_window(self, scene, notary):
        with scene.connect() as slow:
            slow.execute("set search_path = holdfast")
            slow.execute(
                "insert into event_store (tenant_id, event_name, event_key, payload) values ('a', 'n', 's', '1')"
            )
            await scene.publish(*"abcdefgh")
            with suppress(Killed):
                await notary.sealer().seal(progress=self.stop)
            slow.commit()
        assert await notary.findings() == []
        assert (await notary.seal()).events == 5
        assert await notary.findings() == []
        assert (await notary.verify())[1].sealed == 9

    def stop(self, _: int) -> None:
        raise Killed

    @pytest.mark.parametrize("txid", ["pg_current_xact_id()", "'3'"])
    async def test_a_backdated_insert_is_found_whatever_transaction_it_claims(self, scene, notary, txid):
        gap = "insert into event_store (tenant_id, event_name, payload) values ('acme', 'n', '1')"
        with scene.connect() as lost:
            lost.execute("set search_path = holdfast")
            lost.execute(gap)
            await scene.publish(*"ab")
            lost.rollback()
        ((position,),) = await scene.sql("select min(position) - 1 from event_log")
        await notary.seal()
        await tamper(
            scene,
            "insert into event_log (txid, position, tenant_id, event_name, payload) "
            f"values ({txid}, {position}, 'acme', 'n', '1')",
        )
        await scene.publish("c")
        await notary.seal()
        assert [(one.kind, one.position) for one in await notary.findings()] == [(Kind.INSERTED, position)]

    async def test_writers_in_every_awkward_way_are_sealed_once_each_and_none_is_taken_for_forged(self, scene, notary):
        seed = time.time_ns() % 2**32
        with Writers(scene.dsn, threads=6, seed=seed) as writers:
            while len(writers.committed) < 300:
                await notary.seal(page=7)
                assert await notary.findings() == [], f"seed {seed}"
        await notary.seal()
        found, summary = await notary.verify()
        assert writers.errors == []
        assert (found, summary.unsealed, summary.sealed) == ([], 0, len(writers.committed)), f"seed {seed}"

    async def test_what_was_read_before_a_crash_is_not_sealed_after_it(self, scene, notary):
        await scene.publish("a")
        read = notary.inspector.rows

        async def crashing(statement, **parameters):
            rows = await read(statement, **parameters)
            if statement == "seal_page":
                await scene.sql("delete from incarnation")
            return rows

        notary.inspector.rows = crashing
        with pytest.raises(StoreUnavailable, match="has crashed"):
            await notary.seal()
        notary.inspector.rows = read
        await scene.sql("insert into incarnation default values")
        assert await notary.seal() == (1, 1)

    async def test_an_event_on_another_day_is_edited(self, scene, notary):
        await scene.publish(*"abc")
        await notary.seal()
        await tamper(scene, "update event_log set day = day + 1 where event_key = 'b'")
        (found,) = await notary.findings()
        assert found.parts == ("day",)

    async def test_events_of_several_days_have_a_chain_each(self, scene, notary):
        await scene.publish(*"ab")
        await scene.sql(
            "insert into event_log (day, tenant_id, event_name, payload) "
            "select (clock_timestamp() at time zone 'UTC')::date + 1, 'acme', 'n', '1' from generate_series(1, 3)"
        )
        await scene.publish(*"cd")
        assert await notary.seal(page=100) == (7, 2)
        _, summary = await notary.verify()
        assert (summary.days, summary.sealed, summary.is_sound) == (2, 7, True)

    async def test_after_a_restore_what_was_not_sealed_is_found_by_comparing(self, scene, notary):
        with scene.connect() as slow:
            slow.execute("set search_path = holdfast")
            slow.execute(
                "insert into event_store (tenant_id, event_name, event_key, payload) values ('a', 'n', 's', '1')"
            )
            await scene.publish(*"abcde")
            await notary.seal()
            slow.commit()
        await scene.publish(*"fg")
        await scene.sql("update sealing set done = '9999999:9999999:'")  # of a server that was ahead
        await scene.sql("select after_restore()")
        found, summary = await notary.verify()
        assert (found, summary.sealed, summary.unsealed) == ([], 5, 3)
        assert (await notary.seal()).events == 3
        found, summary = await notary.verify()
        assert (found, summary.sealed, summary.unsealed) == ([], 8, 0)


def test_a_row_is_given_its_transaction_before_its_position() -> None:
    """What sealing by windows rests on: defaults are worked out in the order of the columns."""
    from holdfast.stores.sql import Statements

    (log,) = [one.sql for one in Statements("holdfast.stores.postgres", "holdfast").migrations() if one.name == "log"]
    assert 0 < log.index("txid xid8 not null default") < log.index("position bigint not null default")
