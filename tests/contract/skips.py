"""What the simulated store cannot do, by capability, and the tests that need it: all of it is about SQL itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

SKIPPED: dict[str, tuple[str, ...]] = {
    "SQL views": ("test_views.py",),
    "subscriptions that let go": ("test_letting_go.py",),
    "scheduled events": ("test_scheduled.py::TestScheduledEvents",),
    "schedules": ("test_scheduled.py::TestSchedules",),
    "statements of the caller's own": (
        "test_append.py::TestThroughTheCallersTransaction::test_a_savepoint_takes_back_its_own_part",
        "test_handler_transactions.py::TestAHandlerThatMeddles",
        "test_handler_transactions.py::TestTheTransaction::test_lets_the_drivers_own_errors_out_as_they_are",
        "test_handler_transactions.py::TestTheTransaction::test_keeps_savepoints_to_the_handler",
    ),
    "drivers": (
        "test_append.py::TestThroughTheCallersTransaction::test_a_connection_in_autocommit_without_a_transaction_is_refused",
        "test_append.py::TestThroughTheCallersTransaction::test_a_connection_to_another_store_is_refused",
    ),
}


def missing_capability(item: pytest.Item) -> str | None:
    """The capability that *item* needs and the simulated store has not."""
    name = item.nodeid.rpartition("/")[2]
    for capability, tests in SKIPPED.items():
        if any(name.startswith((f"{test}::", f"{test}[")) for test in tests):
            return capability
    return None
