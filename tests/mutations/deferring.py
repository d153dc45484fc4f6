"""Mutants of what is done with tenants that wait."""

from __future__ import annotations

from tests.mutations.mutant import Change, Mutant

_HAND = "src/holdfast/worker/hand.py"

MUTANTS = (
    Mutant(
        "places written without the tenants that wait",
        "The cursor passes what waits, and whoever comes next does not look for it.",
        (
            Change(
                "src/holdfast/worker/settler.py",
                "            passed = partition.passed(self._store.latest)\n            kept = place if place.deferred else None\n",
                "            passed, kept = place.cursor, None\n",
            ),
        ),
        rules=("unhandled", "Lagging"),
    ),
    Mutant(
        "a tenant waits from what was read",
        "What was in hand and let go when it was paused is never read again.",
        (
            Change(
                _HAND,
                "            one = self.deferred[tenant_id] = Deferred(self, tenant_id, self.settled)\n",
                "            one = self.deferred[tenant_id] = Deferred(self, tenant_id, self.cursor)\n",
            ),
        ),
        rules=("unhandled", "Lagging"),
    ),
    Mutant(
        "a tenant goes on without looking back",
        "What was handled beyond its cursor before it was paused is handled again.",
        (
            Change(
                _HAND,
                "self.phase, self.horizon, self.waits = Phase.CHECKING, horizon, False\n",
                "self.phase, self.horizon, self.waits = Phase.FAST, None, False\n",
            ),
        ),
        rules=("repeats",),
    ),
    Mutant(
        "a tenant that has caught up is forgotten at once",
        "What it has in hand is behind the cursor that is written, and lost with the worker.",
        (
            Change(
                _HAND,
                "            if one.joined and not one.marks:\n",
                "            if one.joined:\n",
            ),
        ),
        rules=("unhandled", "Lagging"),
    ),
    Mutant(
        "a goodbye with a tenant that has caught up since the last page",
        "Whoever comes next goes fast from where it caught up, and what came of it since is handled again.",
        (
            Change(
                "src/holdfast/worker/places.py",
                "        partition.rejoin()  # whoever has caught up since the last page would be read again from there\n",
                "",
            ),
        ),
        tests=("tests/unit/test_deferring.py::test_a_goodbye_forgets_whoever_has_caught_up",),
    ),
    Mutant(
        "what stands behind a running event of a paused tenant stays",
        "It runs although its tenant is paused, and once more when that goes on.",
        (
            Change(
                "src/holdfast/worker/waiting.py",
                "        for follower in self._lanes.take_behind_all(is_left):  # also where the lane's first runs\n"
                "            self._after.leave(follower)\n",
                "",
            ),
        ),
        tests=("tests/bus/test_pausing_tenants.py::test_what_is_in_hand_and_does_not_run_waits_too",),
    ),
    Mutant(
        "a tenant gives way and nobody waits for what was read before",
        "Its cursor passes what is in hand of the pages that it was read in with the others.",
        (
            Change(
                _HAND,
                "            mark.open = 1\n            one.marks.append(mark)\n",
                "            one.marks.append(mark)\n",
            ),
        ),
        rules=("unhandled", "Lagging"),
    ),
    Mutant(
        "a tenant gives way from what is settled",
        "What is in hand of it already is read again, and handled beside itself.",
        (
            Change(
                _HAND,
                "        one.incarnation, one.cursor, self.dirty = self.incarnation, self.cursor, True\n",
                "        one.incarnation, self.dirty = self.incarnation, True\n",
            ),
        ),
        tests=("tests/bus/test_fair_share.py::test_many_tenants_with_backlogs_share",),
    ),
)
