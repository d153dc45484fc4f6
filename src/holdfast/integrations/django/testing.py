"""For the tests of a project."""

from __future__ import annotations

from holdfast.errors import BusStateError
from holdfast.integrations.django.project import project_bus


def drain(timeout: float = 10) -> None:
    """
    Handle every event that is stored, and what these cause; then stop the worker and close its connections.

    For ``TransactionTestCase``: what a ``TestCase`` publishes lies in its transaction, which no worker sees.

    Args:
        timeout: Seconds.

    Raises:
        BusStateError: Inside of a transaction.
        DrainTimeout: With the number of unsettled events by subscription.
    """
    bus = project_bus()
    if bus.is_in_transaction:
        raise BusStateError(
            "drain() inside of a transaction would wait for events that no worker sees: "
            "call it after transaction.atomic(), in tests in a TransactionTestCase"
        )
    try:
        bus.drain(timeout)
    finally:
        bus.close()
