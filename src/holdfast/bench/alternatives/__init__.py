"""What people use today, beside Holdfast in the same run on the same PostgreSQL.

Each module is one `Alternative` at its best documented settings; `measures` takes the same figures of all of them. What
is not to be had on this machine is left out, and `left_out` says why. Their packages are the extra ``bench``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from holdfast.bench.alternatives import measures
from holdfast.bench.alternatives.celery import CELERY
from holdfast.bench.alternatives.outbox import OUTBOX
from holdfast.bench.alternatives.pgmq import PGMQ
from holdfast.bench.alternatives.pgque import PGQUE
from holdfast.bench.alternatives.pgqueuer import PGQUEUER
from holdfast.bench.alternatives.procrastinate import PROCRASTINATE
from holdfast.bench.figures import Figure

if TYPE_CHECKING:
    from holdfast.bench.alternatives.alternative import Alternative
    from holdfast.bench.figures import Scale

ALL = (OUTBOX, PROCRASTINATE, PGQUEUER, PGMQ, PGQUE, CELERY)


def available() -> list[Alternative]:
    """Those that can be measured on this machine."""
    return [alternative for alternative in ALL if alternative.missing() is None]


def left_out() -> dict[str, str]:
    """Why the others cannot, by name."""
    return {one.name: reason for one in ALL if (reason := one.missing()) is not None}


def figures_of(scale: Scale) -> list[Figure]:
    """The figures of all that are available. Each prepares its own tables, untimed, in a database of PostgreSQL."""
    return [figure for alternative in available() for figure in _figures(alternative, scale)]


def _figures(alternative: Alternative, scale: Scale) -> list[Figure]:
    share = 10 if alternative.is_slow else 1
    events, bulk = max(1, scale.events // share), max(1, scale.bulk // share)
    chosen = [
        ("publish alone", measures.publish_alone, scale.publishes),
        ("publish in bulk", measures.publish_bulk, bulk),
        ("drain", measures.drain, events),
        ("idle latency", measures.idle_latency, scale.samples),
    ]
    if alternative.in_postgres:
        chosen.append(("drain, vacuum held back", measures.drain_held_back, events))
    return [Figure(f"{alternative.name}: {name}", partial(measure, alternative), n) for name, measure, n in chosen]
