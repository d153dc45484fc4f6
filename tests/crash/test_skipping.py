"""Skip to now under workers that are at work: they give back what they hold, and go on behind what was skipped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import BusStateError
from holdfast.stores import make_store
from holdfast.stores.inspector import make_inspector
from tests.crash.harness import no_overlap, wait_until

if TYPE_CHECKING:
    from tests.crash.harness import Bench

STORED = 2_000


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
def test_workers_go_on_behind_it(bench: Bench, *, paused: bool):
    bench.store(range(STORED), keys=30)
    # Slow enough that a good part of them is left when the command has started, however long that takes.
    subscriptions = {"s": {"concurrency": 4, "seconds": 0.2}, "other": {"concurrency": 4}}
    workers = [bench.work(subscriptions) for _ in range(2)]
    wait_until(lambda: len(bench.lines("done", "s")) >= 50, "both are at work")
    if paused:
        bench.command("pause", "s")
    said = bench.command("skip", "s", "--yes")
    assert "s goes on from now" in said
    skipped = len(bench.lines("done", "s"))
    assert bench.one("select paused_at is not null from {h}subscriptions where name = 's'") == paused, "as it was"
    if paused:
        bench.command("resume", "s")
    bench.store(range(STORED, STORED + 100), keys=30)
    wait_until(
        lambda: {line["n"] for line in bench.lines("done", "s")} >= set(range(STORED, STORED + 100)), "all new ones"
    )
    wait_until(lambda: bench.receipt_count("other") == STORED + 100, "the others did not notice")
    assert [worker.terminate() for worker in workers] == [0, 0]
    handled = [line["n"] for line in bench.lines("done", "s") if line["n"] < STORED]
    assert len(handled) == skipped < STORED, "what was skipped was not handled, and what was in hand had ended"
    assert len(set(handled)) == len(handled)
    no_overlap(bench.lines(None, "s"), {})
    assert int(bench.one("select count from {h}audit where action = 'skip'")) > 0


def test_a_handler_that_does_not_end_is_not_skipped_under(bench: Bench):
    """The question ends in bounded time, and all is as it was."""
    bench.store(range(20), key="k")
    gate = bench.folder / "gate"
    worker = bench.work({"s": {"waits_from": 1, "gate": str(gate)}})
    wait_until(lambda: bench.times("start")[1] == 1, "the second is in hand")
    with pytest.raises(BusStateError, match="live workers still hold 1 of 8 partitions"):
        asyncio.run(skip(bench.dsn, patience=1.0))
    assert bench.one("select paused_at from {h}subscriptions where name = 's'") is None
    gate.touch()
    wait_until(lambda: bench.receipt_count("s") == 20, "it goes on where it was")
    assert worker.terminate() == 0
    assert bench.times("done") == dict.fromkeys(range(20), 1)


async def skip(dsn: str, *, patience: float) -> None:
    store = make_store(dsn, timeout=10)
    inspector, operator = make_inspector(store)
    try:
        await operator.skip("s", actor="me", patience=patience)
    finally:
        await inspector.close()
        await store.close()
