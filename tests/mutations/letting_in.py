"""Mutants of what a quota lets in."""

from __future__ import annotations

from tests.mutations.mutant import Change, Mutant

_QUOTAS, _UNIT, _BUS = "src/holdfast/quotas.py", "tests/unit/test_quotas.py", "tests/bus/test_quotas.py"

MUTANTS = (
    Mutant(
        "all that is left of a quota is let in by one look",
        "Each process uses up what it saw last, so that several publish several times as much.",
        (
            Change(
                _QUOTAS,
                "        self._part = max(1, self.left // _PART_AT_A_TIME)\n",
                "        self._part = self.left\n",
            ),
        ),
        tests=(f"{_UNIT}::test_several_go_beyond_it_by_no_more_than_a_twentieth_each",),
    ),
    Mutant(
        "the log is looked at for every event of a quota",
        "A count of the log is what each publish costs.",
        (Change(_QUOTAS, "        self._part = max(1, self.left // _PART_AT_A_TIME)\n", "        self._part = 0\n"),),
        tests=(f"{_UNIT}::test_looks_are_few",),
    ),
    Mutant(
        "a refused list is counted",
        "A tenant is refused for events of which nothing was stored.",
        (
            Change(
                _QUOTAS,
                "                wait = allowance.ends - self._elapsed()\n",
                "                wait = allowance.ends - self._elapsed()\n"
                "                for one, number in numbers.items():\n"
                "                    found[one].take(number) if one in found else None\n",
            ),
        ),
        tests=(f"{_UNIT}::test_a_list_is_let_in_whole_or_not_at_all",),
    ),
    Mutant(
        "what is under way is not counted",
        "Callers who come at once are let in by what the log says before any of them is stored.",
        (
            Change(
                _QUOTAS,
                "Allowance(quota, used + unclear, unclear, now)",
                "Allowance(quota, used, 0, now)",
            ),
        ),
        tests=(f"{_UNIT}::test_many_at_once_are_let_in_by_one_rest",),
    ),
    Mutant(
        "what a look has counted twice is held against the next one",
        "Somebody is refused while there is room, as an event ended in the course of the look.",
        (
            Change(
                _QUOTAS,
                "Allowance(quota, used + unclear, unclear, now)",
                "Allowance(quota, used + unclear, 0, now)",
            ),
        ),
        tests=(f"{_UNIT}::test_nobody_is_refused_for_what_a_look_has_counted_twice",),
    ),
    Mutant(
        "a changed quota is seen late",
        "A tenant that has paid for more is refused until the next look.",
        (
            Change(
                _QUOTAS, "        return now < self.ends and quota == self.quota\n", "        return now < self.ends\n"
            ),
        ),
        tests=(f"{_UNIT}::test_another_quota_counts_at_once",),
    ),
    Mutant(
        "handlers are refused over a quota",
        "An event that was let in dies of what it causes.",
        (
            Change(
                "src/holdfast/live.py",
                "            if handled_by(self._bus) is not None or self.publisher.is_spooling:\n",
                "            if self.publisher.is_spooling:\n",
            ),
        ),
        tests=(f"{_BUS}::test_what_a_handler_publishes_is_counted_and_let_in",),
    ),
    Mutant(
        "a transaction is a way round the quota",
        "Whoever gives tx= publishes what they like.",
        (
            Change(
                "src/holdfast/storing.py",
                "        async with live.admitted(events, live.quotas):\n            pass  # the",
                "        if True:\n            pass  # the",
            ),
        ),
        tests=(f"{_BUS}::test_a_transaction_of_the_caller_is_no_way_round_it",),
    ),
)
