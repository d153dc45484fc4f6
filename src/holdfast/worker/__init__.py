"""The worker: leases partitions, reads the log, runs handlers, settles. One role a file.

::

    keeper     leases, heartbeat, fair share          ─ who owns what
    feeder     windows → pages → deliveries in hand   ─ reads ahead, within bounds
    takeover   what a vanished worker had in hand     ─ carefully, before going fast
    retries    due delivery rows → deliveries in hand
    runner     lanes and handlers of one subscription ─ order per key, bounds, timeouts
    batches    the same for handlers that take several events
    limits     lanes in which some have to wait       ─ per tenant, per key
    settler    outcomes → one transaction at a time
    timekeeper what is due: scheduled events, schedules
    chores     retention, snapshots, partitions ahead
    letting_go what subscriptions have not handled that lag behind retention
    outage     what is said while the store is away

    decisions, plans, breaker: pure functions of rows, time and configuration.
"""

from holdfast.worker.options import WorkerOptions
from holdfast.worker.worker import Worker

__all__ = ["Worker", "WorkerOptions"]
