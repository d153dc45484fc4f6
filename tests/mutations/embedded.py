"""Mutants of the embedded store. Its contract is that of the other: what is SQLite's own is that it has one writer."""

from __future__ import annotations

from tests.mutations.mutant import SQLITE, Change, Mutant

_TAKES_BOTH_BACK = (
    "tests/contract/test_handler_transactions.py::TestTheTransaction::"
    "test_takes_both_back_when_the_handler_raises_and_lets_its_error_out"
)

MUTANTS = (
    Mutant(
        "SQLite: commit without fsync",
        "What publish had called durable is gone after a power cut.",
        (Change(f"{SQLITE}/session.py", "pragma synchronous = full", "pragma synchronous = normal"),),
        tests=(
            "tests/unit/test_sqlite_transactions.py::TestHandlerTransactions::test_whoever_commits_waits_for_the_disk",
        ),
    ),
    Mutant(
        "SQLite: settle without epoch",
        "A worker that slept through its lease writes over what its successor has done.",
        (Change(f"{SQLITE}/queries/fence.sql", "where l.epoch = json_extract(held.value, '$[2]') and ", "where "),),
        tests=(
            "tests/contract/test_settle.py::TestASettlement::test_under_an_old_epoch_writes_plain_receipts_only[file]",
        ),
    ),
    Mutant(
        "SQLite: receipt outside the handler's transaction",
        "The receipt commits first: a handler that fails, or a crash, leaves it without the effect.",
        (
            Change(
                f"{SQLITE}/transactions.py",
                "            # Gone when the handler commits or rolls back by itself.\n",
                '            connection.execute("commit")\n            connection.execute("begin immediate")\n',
            ),
        ),
        tests=(_TAKES_BOTH_BACK,),
    ),
    Mutant(
        "SQLite: no lease expiry",
        "The partitions of a worker that is gone stay its own for ever.",
        (
            Change(
                f"{SQLITE}/queries/free_leases.sql",
                """
        or not :patient and (
            l.lease_until <= :now or (julianday(l.lease_until) - julianday(:now)) * 86400 > 2 * l.ttl))
""",
                ")\n",
            ),
        ),
        tests=(
            "tests/contract/test_leases.py::TestAcquiring::test_lasts_for_the_ttl_by_the_clock_of_the_database[file]",
        ),
    ),
    Mutant(
        "SQLite: retention that ignores a paused subscription",
        "What a paused subscription has not seen is dropped.",
        (
            Change(
                f"{SQLITE}/queries/waited_for.sql",
                "from subscriptions as s;",
                "from subscriptions as s\nwhere s.paused_at is null;",
            ),
        ),
        tests=(
            "tests/contract/test_maintenance.py::TestRetention::test_keeps_what_a_paused_subscription_has_not_seen[file]",
        ),
    ),
    Mutant(
        "SQLite: take-over that looks at receipts alone",
        "What is dead, or waits for its retry, runs again beside its delivery row.",
        (
            Change(
                f"{SQLITE}/queries/known.sql",
                "\n    or exists (select 1 from deliveries as d where d.subscription = :subscription and "
                "d.event_id = wanted.value);",
                ";",
            ),
        ),
        tests=(
            "tests/contract/test_reading.py::TestWhatIsKnown::test_are_receipts_and_delivery_rows_in_any_state[file]",
        ),
    ),
    Mutant(
        "SQLite: a position that is used again",
        "After retention has emptied the log its positions begin anew, behind every cursor.",
        (
            Change(
                f"{SQLITE}/schema/0001_pre_tables.sql",
                "position integer primary key autoincrement",
                "position integer primary key",
            ),
        ),
        tests=("tests/contract/test_maintenance.py::TestRetention::test_leaves_cursors_that_go_on[file]",),
    ),
    Mutant(
        "SQLite: a write that reads first",
        "Two that read before they write get in each other's way, and one of them fails.",
        (Change(f"{SQLITE}/session.py", '"begin immediate"', '"begin"'),),
        tests=(
            "tests/unit/test_sqlite_transactions.py::TestTheCallersTransaction::test_waits_for_a_write_of_the_store_from_its_beginning",
        ),
    ),
)
