"""Mutants of what is done with those who wait for a limit."""

from __future__ import annotations

from tests.mutations.mutant import Change, Mutant

_LIMITS, _WAITING = "src/holdfast/worker/limits.py", "src/holdfast/worker/waiting.py"
_UNIT, _BUS = "tests/unit/test_limits.py", "tests/bus/test_limits.py"

MUTANTS = (
    Mutant(
        "a tenant that is aside stays there",
        "Its backlog waits for ever once it was too large.",
        (
            Change(
                _WAITING,
                "        kept = {tenant: number for tenant, number in self._kept.items() if 2 * held[tenant] > number}\n",
                "        kept = dict(self._kept)\n",
            ),
        ),
        tests=(f"{_BUS}::test_all_of_a_large_backlog_is_handled_once_and_in_order_at_its_rate",),
    ),
    Mutant(
        "what is let go is not looked at for whose it is",
        "Events of tenants that are read with the others are dropped from hand, and their page counts as settled.",
        (
            Change(
                _WAITING,
                "            return id(item) not in kept and waits(item)\n",
                "            return id(item) not in kept\n",
            ),
        ),
        tests=(f"{_BUS}::test_who_is_in_hand_beside_a_backlog_that_is_set_aside_stays_there",),
    ),
    Mutant(
        "limited tenants keep their room",
        "Those whose backlogs wait for their limits have all that may be in hand; the others are not read.",
        (
            Change(
                _WAITING, "        is_changed, self._kept = kept != self._kept, kept\n", "        is_changed = False\n"
            ),
        ),
        tests=(f"{_BUS}::test_backlogs_of_limited_tenants_leave_room_to_others",),
    ),
    Mutant(
        "a key over its limit keeps its room",
        "A backlog of one key is all that is in hand, and the other keys wait.",
        (
            Change(
                _WAITING,
                "                self._after.put_behind(item)\n",
                "                self._lanes.add(item)\n",
            ),
        ),
        tests=(f"{_BUS}::test_a_key_over_its_limit_keeps_no_other_key_waiting",),
    ),
    Mutant(
        "a look uses up what may go",
        "An open breaker's probe looks twice, finds itself over the rate, and is put off for ever.",
        (
            Change(
                _LIMITS,
                "            self._take_back(self._next)\n",
                "            self._end((self._next,))\n",
            ),
        ),
        tests=(f"{_UNIT}::test_a_look_at_what_comes_next_uses_nothing_up",),
    ),
    Mutant(
        "who comes later overtakes who waits",
        "Events of a tenant do not go first come, first served.",
        (
            Change(
                _LIMITS,
                "            if place in self._waiting and place != of_those_that_wait:\n",
                "            if False and place != of_those_that_wait:\n",
            ),
        ),
        tests=(f"{_UNIT}::test_who_waits_goes_first_also_where_its_workers_part_has_grown_meanwhile",),
    ),
    Mutant(
        "what has ended is still counted",
        "A tenant that may have three at once has three, and then none.",
        (Change(_LIMITS, "            self._at_once[group] -= 1\n", "            self._at_once[group] -= 0\n"),),
        tests=(f"{_UNIT}::test_what_ended_at_once_leaves_its_place_to_the_next",),
    ),
    Mutant(
        "each worker has the whole rate",
        "Two workers handle twice as many as were allowed.",
        (
            Change(
                "src/holdfast/worker/worker.py",
                "        return max(1, held) / self._runners[subscription].record.partitions\n",
                "        return 1.0\n",
            ),
        ),
        tests=(f"{_BUS}::test_workers_together_keep_the_rate",),
    ),
)
