"""What tests of moving share: a move in this process, a command, and what handlers get of a store."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from holdfast.cli import main
from holdfast.cli.move import opened
from holdfast.cli.options import Target
from holdfast.moving import Mover
from tests.bus.waiting import sql, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from click.testing import Result

    from holdfast import EventBus
    from holdfast.moving import Move
    from tests.moving.conftest import Ends

HELD = """
    select count(*) from deliveries d join subscriptions s on s.id = d.subscription
    where s.name = ? and s.on_dead = 'hold' and d.state in ('pending', 'retrying') and exists (
        select 1 from deliveries b where b.subscription = d.subscription and b.tenant_id = d.tenant_id
            and b.event_key = d.event_key and b.id < d.id and b.state = 'dead')
        and not exists (select 1 from paused_tenants p where p.subscription = s.id and p.tenant_id = d.tenant_id)
"""


async def move(ends: Ends) -> Move:
    async with (
        opened(Target(ends.source, "holdfast"), is_made=False) as source,
        opened(Target(ends.destination, "holdfast"), is_made=True) as destination,
    ):
        return await Mover(source, destination, actor="ann").move()


async def command(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, list(words))


async def printed(*words: str) -> str:
    done = await command(*words)
    assert done.exit_code == 0, done.output
    return done.output


async def handled(
    make_bus: Callable[..., EventBus], dsn: str, declared: dict[str, dict[str, Any]], resumed: Iterable[list[str]] = ()
) -> dict[tuple[Any, ...], list[tuple[Any, ...]]]:
    """
    What the handlers of some subscriptions get until nothing more can come, by subscription, tenant and key: the payload, the
    attempt, and whether it is a replay. Without a key, in any order. Then what commands of *resumed* let go on, too.
    """
    bus, got = make_bus(dsn, lease_ttl=5), defaultdict(list)

    def recorder(name: str) -> Any:
        async def handle(event: Any, delivery: Any) -> None:
            got[name, event.tenant_id, event.key].append((event.payload, delivery.attempt, delivery.is_replay))

        return handle

    for name, options in declared.items():
        rest = {option: value for option, value in options.items() if option != "patterns"}
        bus.subscribe(options["patterns"], recorder(name), name=name, **rest)

    async def all_came() -> bool:
        live = bus._live
        assert live is not None
        await live.worker.flush()
        reader = await live.store.reader()
        horizon = await reader.horizon()
        await reader.close()
        watched = {one.id: one.name for one in await live.store.subscriptions() if not one.paused}
        left = await live.store.unsettled(list(watched), horizon)
        held = {known: sql(dsn, HELD, name)[0][0] for known, name in watched.items()}
        return all(left.get(known, 0) == held[known] for known in watched) and live.worker.is_quiet

    async with bus:
        await until(all_came)
        for words in resumed:
            await printed(*words, "--dsn", dsn)
        await until(all_came)
    return {
        place: sorted(found, key=repr) if place[2] is None or declared[place[0]].get("ordering") == "none" else found
        for place, found in got.items()
    }


def log_of(dsn: str) -> list[tuple[Any, ...]]:
    """The events as plain SQL sees them, in their order."""
    return sql(
        dsn,
        "select cast(id as text), tenant_id, event_name, event_key, cast(payload as text), cast(headers as text) "
        "from event_log order by position",
    )


def paused(dsn: str) -> dict[str, bool]:
    return {name: at is not None for name, at in sql(dsn, "select name, paused_at from subscriptions")}
