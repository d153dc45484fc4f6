"""What is measured on PostgreSQL only."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from holdfast.bench import backlog, draining, held_back, idle, latency, publishing_within, retention
from holdfast.bench.figures import DRAIN, Figure
from holdfast.bench.loads import Load

if TYPE_CHECKING:
    from holdfast.bench.figures import Scale

_KEYS = 10_000
_SUBSCRIPTIONS = 100
_WATCHED_BEFORE_A_DROP = 3


def more(scale: Scale) -> list[Figure]:
    """What is measured besides that which both stores have."""
    match scale.form:
        case "quick":
            return _quick(scale)
        case "full":
            return [*_quick(scale), *_slower(scale), *_grown(scale)]
        case "large":
            return _grown(scale)


def _quick(scale: Scale) -> list[Figure]:
    events, one = scale.events, "drain, one started worker"
    return [
        Figure("publish in the caller's transaction", publishing_within.within, scale.publishes),
        Figure(f"drain, {_KEYS:,} keys", draining.drain, events, Load(events, keys=_KEYS), raw=DRAIN),
        Figure(one, draining.drain_started, events),
        Figure("drain, two started workers", partial(draining.drain_started, workers=2), events, raw=one),
        Figure("idle latency without NOTIFY", latency.by_insert, scale.samples),
    ]


def _slower(scale: Scale) -> list[Figure]:
    events, keys, often = scale.events, scale.grown, "drain, the sixth in a row"
    shared = partial(draining.drain, subscriptions=_SUBSCRIPTIONS)
    return [
        Figure("latency while 5,000 events/s flow", latency.while_flowing, latency.FLOW_PER_S * scale.seconds),
        Figure(often, held_back.drain_often, events),
        Figure("drain while vacuum is held back", partial(held_back.drain_often, held=True), events, raw=often),
        Figure(
            f"drain by {_SUBSCRIPTIONS} subscriptions",
            shared,
            events,
            Load(events, subscriptions=_SUBSCRIPTIONS),
            DRAIN,
        ),
        Figure(
            "drain, every event another key", draining.drain, keys, Load(keys, keys=keys), "drain of a large backlog"
        ),
        Figure("idle worker, 50 subscriptions", idle.worker, scale.seconds, Load(subscriptions=idle.SUBSCRIPTIONS)),
    ]


def _grown(scale: Scale) -> list[Figure]:
    events, grown = scale.events, scale.grown
    return [
        Figure("backlog taken over after a kill", backlog.taken_over, grown, stored=grown),
        Figure("drain with some history", draining.drain, events, Load(events, history=grown // 10), raw=DRAIN),
        Figure("drain with a long history", draining.drain, events, Load(events, history=grown), raw=DRAIN),
        Figure(
            "retention drop of a full day", retention.drop_yesterday, _WATCHED_BEFORE_A_DROP,
            Load(history=grown, is_old=True),
        ),
    ]  # fmt: skip
