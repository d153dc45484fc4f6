"""What Holdfast takes while there is nothing to do."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

from holdfast.bench.looking import make_looker
from holdfast.bench.working import Worker, wait_until
from holdfast.bench.workload import spread

if TYPE_CHECKING:
    from holdfast.bench.workload import Numbers

SUBSCRIPTIONS = 50

_PATIENCE = 30.0
_REST = 3.0  # until a worker that has just started has nothing more to arrange
_FREE = "select count(*) from holdfast.leases where owner is null"
_TRANSACTIONS = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
_IMPORT = "import time; begun = time.perf_counter(); from holdfast import EventBus; print(time.perf_counter() - begun)"


def worker(dsn: str, seconds: int) -> Numbers:
    """
    For so many seconds a worker with 50 subscriptions finds nothing.

    Transactions are the server's count for the database; a statement outside of a transaction is one.
    """
    with closing(make_looker(dsn)) as looker, Worker(dsn, subscriptions=SUBSCRIPTIONS) as idle:
        if not wait_until(lambda: looker.ask(_FREE) == 0, _PATIENCE):
            raise TimeoutError("the worker did not take all partitions")
        time.sleep(_REST)
        started, busy, transactions = time.perf_counter(), idle.look().busy, looker.ask(_TRANSACTIONS)
        time.sleep(seconds)
        busy, transactions = idle.look().busy - busy, looker.ask(_TRANSACTIONS) - transactions
        lasted = time.perf_counter() - started
    return {"cpu_percent": 100 * busy / lasted, "transactions_per_s": transactions / lasted}


def imported(dsn: str, interpreters: int) -> Numbers:  # noqa: ARG001 - no store is needed for it
    """
    ``import holdfast`` in so many fresh interpreters; one before them may have to compile.

    The module by itself loads next to nothing, so what counts is the import that gives the bus.
    """
    return spread([_import_seconds() for _ in range(interpreters + 1)][1:])


def _import_seconds() -> float:
    done = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True)
    return float(done.stdout)
