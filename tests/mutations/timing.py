"""Mutants of what waits for its time."""

from __future__ import annotations

from tests.mutations.mutant import POSTGRES, SQLITE, Change, Mutant

_SCHEDULE, _CONTRACT, _UNIT = (
    "src/holdfast/schedule.py", "tests/contract/test_scheduled.py", "tests/unit/test_schedule.py",
)  # fmt: skip

MUTANTS = (
    Mutant(
        "what is due is taken without a lock",
        "Two workers move the same event, and one of them fails, or both store it.",
        (Change(f"{POSTGRES}/queries/take_scheduled.sql", " for update skip locked;", ";"),),
        tests=(f"{_CONTRACT}::TestScheduledEvents::test_what_another_worker_moves_is_moved_once",),
    ),
    Mutant(
        "a schedule is advanced from wherever it is",
        "Every worker makes an event of each of its times.",
        (
            Change(f"{POSTGRES}/queries/advance_schedule.sql", " and next_at = %(seen)s::timestamptz", ""),
            Change(f"{SQLITE}/queries/advance_schedule.sql", " and next_at = :seen", ""),
        ),
        tests=(f"{_CONTRACT}::TestSchedules::test_whoever_is_first_makes_its_events_and_nobody_after",),
    ),
    Mutant(
        "a paused schedule is advanced by whoever has seen it before",
        "An operator has stopped it, and it makes one event more.",
        (
            Change(f"{POSTGRES}/queries/advance_schedule.sql", " and paused_at is null", ""),
            Change(f"{SQLITE}/queries/advance_schedule.sql", " and paused_at is null", ""),
        ),
        tests=(
            f"{_CONTRACT}::TestLookingAndActing::test_a_paused_schedule_makes_nothing_and_resumed_makes_up_for_nothing",
        ),
    ),
    Mutant(
        "a schedule begins anew with each start of its program",
        "What came due while nobody worked is forgotten.",
        (
            Change(
                f"{POSTGRES}/queries/add_schedule.sql",
                "case when (s.rule, s.zone) = (excluded.rule, excluded.zone) then s.next_at else excluded.next_at end\n"
                "where (s.rule, s.zone, s.missed, s.tenant_id) <> (excluded.rule, excluded.zone, excluded.missed, "
                "excluded.tenant_id)",
                "excluded.next_at",
            ),
        ),
        tests=(
            f"{_CONTRACT}::TestSchedules::test_declared_again_it_stays_where_it_is_and_by_another_rule_it_begins_anew",
        ),
    ),
    Mutant(
        "what was paused counts as missed",
        "A schedule that is resumed makes an event at once.",
        (Change(_SCHEDULE, "    is_passed_over = last < not_before or (", "    is_passed_over = ("),),
        tests=(f"{_UNIT}::TestFiring::test_what_came_due_while_it_was_paused_is_not_made_up_for",),
    ),
    Mutant(
        "an id is not looked for in the log when its event is due",
        "An event that was published meanwhile is handled twice.",
        (
            Change(
                f"{POSTGRES}/scheduling.py",
                "without(events, await self._existing(connection, events))",
                "without(events, [])",
            ),
        ),
        tests=(
            f"{_CONTRACT}::TestScheduledEvents::test_one_whose_id_another_event_has_by_then_stays_visible_and_in_nobodys_way",
        ),
    ),
)
