"""Mutants of leases, fences and take-over."""

from __future__ import annotations

from tests.mutations.mutant import POSTGRES, SIMULATION, Change, Mutant

_TAKEOVER = "src/holdfast/worker/takeover.py"

MUTANTS = (
    Mutant(
        "lock and snapshot in one statement",
        "The cursor is read as it was before the lock: what the owner before had handled is handed out again.",
        (
            Change(
                f"{POSTGRES}/queries/acquire.sql",
                "from taken where l.subscription = taken.subscription and l.partition = taken.partition\n",
                'from taken join :"schema".cursors as c on c.subscription = taken.subscription and c.partition = '
                "taken.partition\nwhere l.subscription = taken.subscription and l.partition = taken.partition\n",
            ),
            Change(
                f"{POSTGRES}/queries/acquire.sql",
                "as lost, l.crashes;",
                "as lost, l.crashes, c.done::text, c.open::text, c.position;",
            ),
            Change(
                f"{POSTGRES}/leasing.py",
                """\
            Lease(where, epoch, places[where].cursor, clean, lost, crashes, places[where].deferred)
            for where, epoch, clean, lost, crashes in sorted((Slice(*row[:2]), *row[2:]) for row in rows)
""",
                """\
            Lease(where, epoch, Cursor(*place), clean, lost, crashes)
            for where, epoch, clean, lost, crashes, *place in sorted((Slice(*row[:2]), *row[2:]) for row in rows)
""",
            ),
        ),
        # No twin: what would have to happen in between has microseconds for it, in thousands of seeds it never does.
        tests=(
            "tests/postgres/test_traps_of_writing.py::TestLocks::test_a_place_that_comes_with_its_lease_is_not_from_before_the_lock",
        ),
    ),
    Mutant(
        "settle without epoch",
        "A worker that slept through its lease writes over what its successor has done.",
        (
            Change(
                f"{POSTGRES}/settling.py",
                "held = {Slice(*row) for row in await cursor.fetchall()}",
                "held = set(settlement.epochs)",
            ),
        ),
        twin=(
            Change(
                f"{SIMULATION}/store_settling.py",
                "held = transaction.fence(settlement.epochs)",
                "held = set(settlement.epochs)",
            ),
        ),
        rules=("old_epochs",),
        tests=(
            "tests/postgres/test_traps_of_writing.py::TestTheFence::test_makes_a_stale_worker_wait_for_the_take_over_and_then_write_nothing",
        ),
    ),
    Mutant(
        "epoch in a WHERE without the lock",
        "The epoch stands when it is looked at; the take-over commits before what is written because of that.",
        (
            Change(
                f"{POSTGRES}/queries/fence.sql",
                "order by l.subscription, l.partition\nfor key share of l;",
                "order by l.subscription, l.partition;",
            ),
        ),
        twin=(
            Change(
                f"{SIMULATION}/server.py",
                "return self._lease_locks.get(slice_, 0) > 0",
                "return False",
            ),
        ),
        rules=("old_epochs",),
        tests=(
            "tests/postgres/test_traps_of_writing.py::TestTheFence::test_keeps_a_partition_from_being_taken_over_while_its_owner_writes[fence]",
        ),
    ),
    Mutant(
        "handler's last look without the lock",
        "The epoch of a transactional handler stands when it is looked at, and the take-over commits before its effect.",
        (
            Change(
                f"{POSTGRES}/schema/0001_pre_tables.sql",
                "and owner is not null\n    for key share;",
                "and owner is not null;",
            ),
        ),
        tests=(
            "tests/postgres/test_traps_of_writing.py::TestTheFence::test_keeps_a_partition_from_being_taken_over_while_its_owner_writes[require_epoch]",
        ),
    ),
    Mutant(
        "claim without the lock",
        "Rows are taken into hand under a lease that is another worker's by then, who takes them for suspects.",
        (
            Change(
                f"{POSTGRES}/queries/claim.sql",
                "    order by l.subscription, l.partition\n    for key share of l\n",
                "    order by l.subscription, l.partition\n",
            ),
        ),
        tests=(
            "tests/postgres/test_traps_of_writing.py::TestTheFence::test_keeps_a_partition_from_being_taken_over_while_its_owner_writes[claim]",
        ),
    ),
    Mutant(
        "no lease expiry",
        "The partitions of a worker that is gone stay its own for ever.",
        (
            Change(
                f"{POSTGRES}/queries/acquire.sql",
                """
            or not %(patient)s and (l.lease_until <= clock_timestamp()
                or l.lease_until > clock_timestamp() + make_interval(secs => 2 * l.ttl)))
""",
                ")\n",
            ),
        ),
        twin=(
            Change(
                f"{SIMULATION}/store_leases.py",
                "(row.owner is None or row.owner in dead or (not patient and is_over(row, now)))",
                "(row.owner is None or row.owner in dead)",
            ),
        ),
        rules=("unhandled",),
        tests=(
            "tests/contract/test_leases.py::TestAcquiring::test_lasts_for_the_ttl_by_the_clock_of_the_database[postgres]",
        ),
    ),
    Mutant(
        "client clock in leases",
        "A worker whose clock is wrong has leases that never end, or are born expired.",
        (
            Change(
                f"{POSTGRES}/queries/acquire.sql",
                "    lease_until = clock_timestamp() + make_interval(secs => %(ttl)s), ttl = %(ttl)s,\n",
                "    lease_until = to_timestamp(%(now)s) + make_interval(secs => %(ttl)s), ttl = %(ttl)s,\n",
            ),
            Change(
                f"{POSTGRES}/leasing.py",
                '                "dead": list(dead),\n',
                '                "dead": list(dead),\n                "now": wall_millis() / 1000,\n',
            ),
            Change(
                f"{POSTGRES}/leasing.py",
                "from uuid import UUID\n",
                "from uuid import UUID\n\nfrom holdfast.ports import wall_millis\n",
            ),
        ),
        twin=(
            Change(
                f"{SIMULATION}/store_leases.py",
                "worker, row.epoch + 1, False, now + ttl, ttl",
                "worker, row.epoch + 1, False, now + ttl + worker.int % 7 - 3, ttl",
            ),
        ),
        rules=("stale_starts",),
        tests=(
            "tests/postgres/test_traps_of_writing.py::TestLocks::test_a_lease_lasts_by_the_clock_of_the_database_however_wrong_the_workers_is",
        ),
    ),
    Mutant(
        "attempts not counted on take-over",
        "An event that kills its process is tried for ever.",
        (
            Change(
                _TAKEOVER,
                "begun = await self._repeat(partition, partial(self._store.begin_attempt, due, partition.epoch))",
                "begun = due",
            ),
        ),
        rules=(
            "Lagging",
            "poisonings",
        ),
    ),
    Mutant(
        "attempts counted for all that was in flight",
        "One event that kills its process takes its neighbours with it into the dead letters.",
        (
            Change(
                _TAKEOVER,
                """\
        if due is None:
            return False
        await self._run_and_wait(runner, partition, due)
""",
                """\
        if due is None:
            return False
        counted = [await self._repeat(partition, partial(self._store.begin_attempt, one, partition.epoch)) for one in due]
        await self._run_and_wait(runner, partition, [one for one in counted if one is not None])
""",
            ),
        ),
        rules=("suspects_together",),
    ),
    Mutant(
        "take-over that looks at receipts alone",
        "What is dead, or waits for its retry, runs again beside its delivery row.",
        (
            Change(
                f"{POSTGRES}/queries/known.sql",
                """\
where r.subscription = %(subscription)s
union
select d.event_id from :"schema".deliveries as d
where d.subscription = %(subscription)s and d.event_id = any(%(ids)b::uuid[]);
""",
                "where r.subscription = %(subscription)s;\n",
            ),
        ),
        twin=(
            Change(
                f"{SIMULATION}/store_log.py",
                "one for one in ids if (subscription, one) in tables.receipts or (subscription, one) in "
                "tables.delivery_of\n",
                "one for one in ids if (subscription, one) in tables.receipts\n",
            ),
        ),
        rules=("resurrections",),
        tests=(
            "tests/contract/test_reading.py::TestWhatIsKnown::test_are_receipts_and_delivery_rows_in_any_state[postgres]",
        ),
    ),
    Mutant(
        "guard not looked at",
        "A worker that stood still goes on handing out, though its lease is over.",
        (
            Change(
                "src/holdfast/worker/runner.py",
                "            and slot.started < self._shared.leases.valid_until\n",
                "",
            ),
            Change(
                "src/holdfast/worker/runner.py",
                "        return self._run_singly(slot, min(until, self._shared.leases.valid_until))\n",
                "        return self._run_singly(slot, until)\n",
            ),
        ),
        rules=("stale_starts",),
    ),
    Mutant(
        "goodbye that is always exact",
        "A cursor that is behind, or has passed what was dropped, is taken for the whole truth.",
        (
            Change(
                "src/holdfast/worker/hand.py",
                "            part.exact and part.in_hand == 0 and not part.marks and not part.skipped and not part.recovering\n",
                "            True\n",
            ),
        ),
        rules=("unhandled", "repeats"),
    ),
    Mutant(
        "suspects side by side",
        "An event that kills its process has attempts counted for others that run meanwhile.",
        (Change(_TAKEOVER, "                async with self._one_suspect:\n", "                if True:\n"),),
        rules=("suspects_together",),
    ),
    Mutant(
        "cursor that passes a recovery",
        "What of a page is not recovered yet is behind the cursor when the next crash comes.",
        (
            Change(
                _TAKEOVER,
                "            mark.open += 1  # the cursor stays before this page until all of it is recovered\n",
                "",
            ),
            Change(
                _TAKEOVER,
                "        mark.open -= 1\n        partition.recovering = False\n",
                "        partition.recovering = False\n",
            ),
        ),
        rules=("unhandled",),
    ),
    Mutant(
        "commits that may be forgotten",
        "Where commits are asynchronous, a server that crashes forgets what was handled, which comes again behind what came later.",
        (
            Change(
                f"{POSTGRES}/schema/0006_pre_synchronous.sql",
                """\
create trigger commit_synchronously before insert on :"schema".receipts
    for each statement execute function :"schema".commit_synchronously();
alter table :"schema".receipts enable always trigger commit_synchronously;
""",
                "",
            ),
        ),
        tests=("tests/postgres/test_crashes.py::TestAsynchronousCommits::test_forget_no_receipt_of_a_flush",),
    ),
    Mutant(
        "no patience with the silent",
        "After an outage whoever is back first takes over from the others, who live.",
        (Change("src/holdfast/worker/keeper.py", "self._patient_until = now + 2 * _TICK_MAX", "pass"),),
        tests=("tests/unit/test_keeper.py::test_who_was_silent_as_long_does_not_take_the_other_for_dead",),
    ),
)
