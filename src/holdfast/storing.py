"""Publishing, done in the loop where the bus lives: through the publisher, and what comes before the caller's own transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.event import NewEvent, Published
    from holdfast.live import Live
    from holdfast.stores.values import Declaration


async def store(live: Live, events: Sequence[NewEvent], *, atomic: bool) -> list[Published]:
    """Store *events*, or spool them, as `EventBus.publish` and `publish_many` say."""
    publisher = await live.open_publisher()
    if live.quotas is None:
        published = await publisher.publish(events, atomic=atomic)
    else:
        async with live.admitted(events, live.quotas):
            published = await publisher.publish(events, atomic=atomic)
    if any(event.due_at is not None for event in events):
        live.hurry()
    return published


async def prepare_within(
    live: Live, events: Sequence[NewEvent]
) -> tuple[Live, list[Declaration] | None, Sequence[NewEvent]]:
    """What has to be done before a statement in the caller's transaction: see `Live.prepare_beside_a_transaction`."""
    first = await live.prepare_beside_a_transaction()
    publisher = await live.open_publisher()
    if live.quotas is not None:
        async with live.admitted(events, live.quotas):
            pass  # the caller's transaction ends whenever the caller likes: a look before that does not see them
    await publisher.settle_spool([(event.tenant_id, event.key) for event in events])
    publisher.counts.joined += len(events)  # here, in the bus's own loop: the statement may be in another thread
    return live, first, await live.sealed_within(events, stands=first is None)
