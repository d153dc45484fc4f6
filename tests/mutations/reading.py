"""Mutants of reading the log and of dropping what nobody needs."""

from __future__ import annotations

from tests.mutations.mutant import LET_GO, POSTGRES, SIMULATION, Change, Mutant

_READ_NEW = f"{POSTGRES}/queries/read_new.sql"
_PROBE = """\
    (select e.* from :"schema".event_log as e
    where e.txid >= pg_snapshot_xmax(%(done)s::pg_snapshot) and e.day >= %(floor)s::date
    order by e.txid limit %(limit)s + 1)
    union all
    (select late.* from pg_snapshot_xip(%(done)s::pg_snapshot) as running(txid), lateral (
        select e.* from :"schema".event_log as e
        where e.txid between running.txid and running.txid and e.day >= %(floor)s::date
        order by e.txid limit %(limit)s + 1) as late
    limit %(limit)s + 1)
"""
_BEYOND_THE_HIGHEST = """\
    select e.* from :"schema".event_log as e
    where e.position > (select coalesce(max(seen.position), 0) from :"schema".event_log as seen
        where pg_visible_in_snapshot(seen.txid, %(done)s::pg_snapshot)){}
    order by e.position limit %(limit)s + 1
"""
_VISIBLE = "        return sorted(entry.row for entry in self._readable(done, seen))\n"
_VISIBLE_BEYOND_THE_HIGHEST = """\
        shows = snapshot(done).shows
        last = max((entry.row.position for entry in self._server.log if shows(entry.txid)), default=0)
        return sorted(entry.row for entry in self._readable(done, seen) if entry.row.position > last)
"""
_WRITERS = "tests/postgres/test_traps.py::TestConcurrentWriters"

MUTANTS = (
    Mutant(
        "number cursor",
        "Whatever commits later than an event with a greater number is never read.",
        (Change(_READ_NEW, _PROBE, _BEYOND_THE_HIGHEST.format("")),),
        twin=(Change(f"{SIMULATION}/store_reader.py", _VISIBLE, _VISIBLE_BEYOND_THE_HIGHEST),),
        rules=("unhandled",),
        tests=(
            "tests/postgres/test_traps.py::TestConcurrentWriters::test_a_naive_cursor_loses_events_where_windows_between_snapshots_lose_none",
        ),
    ),
    Mutant(
        "xmin wait",
        "Reading numbers below the oldest open transaction: one writer stalls everybody, and a number that was drawn "
        "before its transaction began is still lost.",
        (
            Change(
                _READ_NEW, _PROBE, _BEYOND_THE_HIGHEST.format(" and e.txid < pg_snapshot_xmin(pg_current_snapshot())")
            ),
            Change(
                _READ_NEW,
                "pg_current_snapshot()::text as tenant_id",
                "(pg_snapshot_xmin(pg_current_snapshot())::text || ':' || pg_snapshot_xmin(pg_current_snapshot())::text "
                "|| ':') as tenant_id",
            ),
        ),
        twin=(
            Change(
                f"{SIMULATION}/store_reader.py",
                "            seen = self._server.snapshot()\n",
                "            low = snapshot(self._server.snapshot()).xmin\n            seen = f'{low}:{low}:'\n",
            ),
            Change(f"{SIMULATION}/store_reader.py", _VISIBLE, _VISIBLE_BEYOND_THE_HIGHEST),
        ),
        rules=("unhandled",),
        tests=(
            "tests/postgres/test_traps.py::TestConcurrentWriters::test_an_open_transaction_holds_nobody_up_and_is_read_when_it_commits",
        ),
    ),
    Mutant(
        "snapshots kept over a reconnect",
        "After a crash of the server its transaction ids are handed out again, and the worker takes the new events for "
        "settled ones.",
        (Change("src/holdfast/worker/feeder.py", "                await self._reload()\n", "                pass\n"),),
        rules=("unhandled",),
        seeds=3_000,
    ),
    Mutant(
        "incarnation not looked at",
        "Behind a pooler a reading session outlives the server that its snapshots are of.",
        (
            Change(
                f"{POSTGRES}/reader.py",
                "        if incarnation is None or incarnation != self._incarnation:\n",
                "        if incarnation == 'never':\n",
            ),
        ),
        # No twin: the next session reads what this one has hidden, so it shows in one seed of thousands.
        tests=(
            "tests/postgres/test_traps.py::TestASnapshotInMemory::test_is_dropped_when_the_server_is_another_behind_the_same_connection",
        ),
    ),
    Mutant(
        "a snapshot of before the crash is written",
        "A cursor that was due when the server crashed hides the new events that get the ids of before.",
        (
            Change(
                f"{POSTGRES}/queries/settle_advances.sql",
                '\n    and (a.incarnation is null or exists (select from :"schema".incarnation as i where i.id = a.incarnation));',
                ";",
            ),
        ),
        tests=(
            "tests/postgres/test_traps.py::TestASnapshotInMemory::test_is_neither_written_nor_called_exact_once_the_server_is_another",
        ),
    ),
    Mutant(
        "a goodbye of before the crash is exact",
        "Whoever comes next goes fast from a place that does not say what was handled.",
        (
            Change(
                f"{POSTGRES}/queries/release.sql",
                "held.exact and (held.incarnation is null\n"
                '        or exists (select from :"schema".incarnation as i where i.id = held.incarnation)) as exact',
                "held.exact as exact",
            ),
        ),
        tests=(
            "tests/postgres/test_traps.py::TestASnapshotInMemory::test_is_neither_written_nor_called_exact_once_the_server_is_another",
        ),
    ),
    Mutant(
        "day mark from pg_snapshot_xmax",
        "A stored snapshot counts as older than a transaction that was open when it was taken, and what that one wrote "
        "days before lies below the day floor.",
        (
            Change(
                f"{POSTGRES}/queries/store_snapshot.sql",
                "(snap, day) values (%(snap)s::pg_snapshot, %(day)s::date)",
                "(snap, day, xid) values (%(snap)s::pg_snapshot, %(day)s::date, pg_snapshot_xmax(%(snap)s::pg_snapshot))",
            ),
        ),
        tests=(
            "tests/postgres/test_traps.py::TestTheDayFloor::test_lies_below_what_an_old_transaction_wrote_long_ago",
        ),
    ),
    Mutant(
        "floor without its cap",
        "Once the clock was ahead, the day floor lies above today.",
        (
            Change(
                f"{POSTGRES}/queries/day_floor.sql",
                "where later.xid > base.xid),\n    (clock_timestamp() at time zone 'UTC')::date) - 2\n",
                "where later.xid > base.xid)) - 2\n",
            ),
        ),
        tests=(
            "tests/postgres/test_traps.py::TestTheDayFloor::test_lies_not_above_today_though_the_clock_was_ahead_when_a_snapshot_was_stored",
        ),
    ),
    Mutant(
        "floor blind to a clock that was behind",
        "What was written while the clock was days behind lies below the day floor, once it is right again.",
        (Change(f"{POSTGRES}/queries/day_floor.sql", "where later.xid > base.xid", "where later.xid < base.xid"),),
        tests=(
            "tests/postgres/test_traps.py::TestTheDayFloor::test_lies_below_what_was_written_while_the_clock_was_days_behind",
        ),
    ),
    Mutant(
        "a clock that steps back unnoticed",
        "The day floor that was found before lies above what is written now.",
        (
            Change(
                f"{POSTGRES}/reader.py",
                "        self._stepped_back |= header.day < self._today\n",
                "",
            ),
        ),
        tests=(
            "tests/postgres/test_traps.py::TestTheDayFloor::test_is_found_anew_when_the_clock_steps_back_under_a_reader",
        ),
    ),
    Mutant(
        "a floor that is kept for older places",
        "What a laggard has not read lies below the day floor that was found for others.",
        (
            Change(
                f"{POSTGRES}/reader.py",
                "        if now >= self._floor_until or xmin < self._floor_xmin:\n",
                "        if now >= self._floor_until:\n",
            ),
        ),
        tests=("tests/postgres/test_traps.py::TestTheDayFloor::test_is_found_anew_for_a_place_that_is_older",),
    ),
    Mutant(
        "retention that ignores a paused subscription",
        "What a paused subscription has not seen is dropped.",
        (
            Change(
                LET_GO,
                "        from subscriptions as s\n        cross join lateral (select s.id in",
                "        from (select * from subscriptions where paused_at is null) as s\n"
                "        cross join lateral (select s.id in",
            ),
        ),
        tests=(
            "tests/contract/test_maintenance.py::TestRetention::test_keeps_what_a_paused_subscription_has_not_seen[postgres]",
        ),
    ),
    Mutant(
        "drop before check",
        "A publish that was under way when retention looked is dropped with its day.",
        (
            Change(
                LET_GO,
                """\
    if cardinality(blocking) > 0 or is_wanted or not letting_go_now <@ letting_go then
""",
                """\
    if false then
""",
            ),
        ),
        tests=(
            "tests/postgres/test_traps_of_writing.py::TestRetention::test_sees_what_commits_while_it_waits_for_the_lock",
        ),
    ),
    Mutant(
        "retention that sees the time before its lock",
        "Where transactions are repeatable read by default, what came while the lock was waited for is dropped.",
        (
            Change(
                f"{POSTGRES}/maintenance.py",
                """        await self._background.run("set default_transaction_isolation to 'read committed'")\n""",
                "",
            ),
            Change(
                f"{POSTGRES}/queries/drop_day.sql",
                " where current_setting('transaction_isolation') = 'read committed'",
                "",
            ),
        ),
        tests=(
            "tests/postgres/test_traps_of_writing.py::TestRetention::test_sees_what_commits_while_it_waits_for_the_lock",
        ),
    ),
)
