"""What both stores decide about a subscription that is registered again. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import IncompatibleSubscription

if TYPE_CHECKING:
    from holdfast.stores.values import Declaration, Subscription


def check_compatible(known: Subscription, declaration: Declaration) -> None:
    """
    Raises:
        IncompatibleSubscription: The number of partitions differs.
    """
    if known.partitions != declaration.partitions:
        raise IncompatibleSubscription(
            known.name, "partitions", known.partitions, declaration.partitions,
            f"keep partitions={known.partitions}, or stop its workers and run  "
            f"holdfast subscriptions repartition {known.name} {declaration.partitions}",
        )  # fmt: skip


def differs(known: Subscription, declaration: Declaration) -> bool:
    """Whether there is something to write."""
    return (known.patterns, known.ordering, known.on_dead, known.replayable, known.behind_retention) != (
        declaration.patterns, declaration.ordering, declaration.on_dead, declaration.replayable,
        declaration.behind_retention,
    )  # fmt: skip
