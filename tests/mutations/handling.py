"""Mutants of publishing, handling and settling."""

from __future__ import annotations

from tests.mutations.mutant import POSTGRES, SIMULATION, Change, Mutant

_AFTERMATH = "src/holdfast/worker/aftermath.py"
_PUBLISHER = "src/holdfast/publisher.py"

MUTANTS = (
    Mutant(
        "receipt outside the handler's transaction",
        "The receipt commits first: a handler that fails, or a crash, leaves it without the effect.",
        (
            Change(
                f"{POSTGRES}/transactions.py",
                '                cursor = await connection.execute(self._statements["first_receipt"], first, prepare=True)\n',
                '                cursor = await connection.execute(self._statements["first_receipt"], first, prepare=True)\n'
                '                await connection.execute("commit")\n'
                '                await connection.execute("begin")\n',
            ),
        ),
        twin=(
            Change(
                f"{SIMULATION}/store_handlers.py",
                "        transaction.write(lambda: self._write_receipt(receipt, epoch))\n",
                "        self._write_receipt(receipt, epoch)\n",
            ),
        ),
        rules=("effects",),
        tests=(
            "tests/contract/test_handler_transactions.py::TestTheTransaction::test_takes_both_back_when_the_handler_raises_and_lets_its_error_out",
        ),
    ),
    Mutant(
        "acknowledge before the handler",
        "A crash or an error in the handler leaves an event that counts as handled.",
        (
            Change(
                "src/holdfast/worker/runner.py",
                "                        rest = begin(item)\n",
                "                        self._shared.settler.handled(\n"
                "                            item, lambda _: None, has_receipt=self.consumer.transactional\n"
                "                        )\n"
                "                        rest = begin(item)\n",
            ),
        ),
        rules=("receipts_without_handling",),
    ),
    Mutant(
        "cursor advanced before settle",
        "What was in hand when the process was killed is behind the cursor, and nobody looks for it.",
        (
            Change(
                "src/holdfast/worker/hand.py",
                "        while marks and marks[0].open == 0:\n",
                "        while marks:\n",
            ),
        ),
        rules=("unhandled",),
    ),
    Mutant(
        "key not held behind its failure",
        "Later events of a key are handled while an earlier one waits for its retry.",
        (
            Change(
                _AFTERMATH,
                "        if item.due is None and item.key in item.partition.blocked and not self.lanes.has_fresh(item.key):\n",
                "        if item.key == ('nobody', 'nothing'):\n",
            ),
            Change(_AFTERMATH, "        return Lane.BLOCKED\n", "        return Lane.FREE\n"),
        ),
        rules=("overtakings",),
    ),
    Mutant(
        "NOTIFY only",
        "A hint that is lost is an event that waits until the next one.",
        (
            Change(
                "src/holdfast/worker/feeder.py",
                "call_later(self._pause, self._time_is_up)",
                "call_later(1e9, self._time_is_up)",
            ),
        ),
        rules=("unhandled",),
    ),
    Mutant(
        "retry without the id",
        "A publish that is asked again, because its answer was lost, is another event.",
        (
            Change(
                _PUBLISHER,
                "            await asyncio.sleep(pause)\n            pause *= 2\n",
                "            await asyncio.sleep(pause)\n            pause *= 2\n"
                "            events = [event._replace(id=type(event.id)(int=event.id.int ^ 1)) for event in events]\n",
            ),
        ),
        rules=(
            "lost_publishes",
            "unexpected",
        ),
    ),
    Mutant(
        "a publish that passes the spool while it holds events",
        "An event overtakes earlier ones of its key that wait in the spool.",
        (
            Change(
                _PUBLISHER,
                "            if self._spooling and not await self._spool_is_done():\n",
                "            if False:\n",
            ),
        ),
        rules=("overtakings",),
    ),
    Mutant(
        "spool without fsync",
        "What publish had called durable is gone after a power cut.",
        (
            Change(
                "src/holdfast/spool_file.py",
                "            self.appendable = False\n            self._system.sync(self._descriptor)\n",
                "            self.appendable = False\n",
            ),
        ),
        tests=("tests/unit/test_spool_faults.py::test_no_accepted_event_is_lost_wherever_the_power_is_cut",),
    ),
    Mutant(
        "key that goes on before its dead row is written",
        "After a crash the later event is handled and the earlier one is not dead.",
        (
            Change(
                _AFTERMATH,
                "            # A crash before the commit must not find the key's next event handled and this one not dead.\n"
                "            return Lane.CLOSED\n",
                "            item.waits_for += 1\n            return Lane.FREE\n",
            ),
        ),
        rules=("overtakings",),
    ),
    Mutant(
        "outcomes forgotten while the store is away",
        "What was handled then has no receipt, and what failed no delivery row.",
        (
            Change(
                "src/holdfast/worker/settler.py",
                "                await asyncio.sleep(pause)\n                pause = min(pause * 2, _LONGEST_PAUSE)\n",
                "                return set()\n",
            ),
        ),
        rules=("unhandled",),
    ),
    Mutant(
        "claims without a number",
        "What is written late about the time before is taken for an answer about this one.",
        (
            Change(
                f"{POSTGRES}/queries/settle_revised.sql",
                "where d.id = r.id and d.claim = r.claim and",
                "where d.id = r.id and",
            ),
            Change(
                f"{POSTGRES}/queries/settle_finished.sql",
                "where d.id = f.id and d.claim = f.claim and",
                "where d.id = f.id and",
            ),
        ),
        tests=(
            "tests/contract/test_deliveries.py::TestClaiming::test_has_a_number_and_what_is_written_about_an_earlier_one_is_void[postgres]",
        ),
    ),
    Mutant(
        "a batch in whatever order",
        "Events of one call reach their key's handlers in another order.",
        (Change(f"{POSTGRES}/queries/append.sql", "order by e.n\n", "order by e.id::text desc\n"),),
        tests=(
            "tests/postgres/test_traps.py::TestConcurrentWriters::test_the_order_of_a_batch_survives_duplicates_in_it",
        ),
    ),
)
