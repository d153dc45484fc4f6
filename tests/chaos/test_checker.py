"""Each anomaly, planted in a good history, is found by its rule, and by no other one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.chaos.checker import FLUSH_WINDOW_S, judge
from tests.chaos.evidence import Attempt, Effect, Evidence, Letter, Publish, Run, Subscription, add_lines
from tests.chaos.workload import CONCURRENCY

if TYPE_CHECKING:
    from collections.abc import Callable


def good() -> Evidence:
    """Five events of one key: four handled by both subscriptions, one dead; a sixth failed, a seventh is unknown."""
    evidence = Evidence(
        subscriptions={
            "books": Subscription(("load.*",), 0.0, transactional=True),
            "mail": Subscription(("load.*",), 0.0),
        },
        lags=[(1.0, 5), (9.0, 0)],
        left_over={"sessions": 0},
    )
    for n in range(7):
        outcome = "ok" if n < 5 else "fail" if n == 5 else "unknown"
        evidence.publishes[str(n)] = Publish(str(n), "load.a", "k", n, 1.0 + n, outcome)
    for name in evidence.subscriptions:
        for n in range(4):
            evidence.runs.append(run(name, n))
            evidence.receipts[name, str(n)] = 1000.0 + n
        evidence.runs += [run(name, 4, attempt=n, completed=False, began=20.0 + n, ended=20.5 + n) for n in range(1, 6)]
        evidence.dead[name, "4"] = letter(5)
    evidence.effects = [Effect(n, "books", str(n), "k", n) for n in range(4)]
    return evidence


def run(name: str, n: int, **other: object) -> Run:
    began = Run(
        name, str(n), "k", n, pid=7, epoch=1, attempt=1, began=10.0 + n, wall=1000.0 + n, ended=10.5 + n, completed=True
    )
    return replace(began, **other)  # type: ignore[arg-type]


def letter(attempts: int, error: str = "ValueError") -> Letter:
    """As many attempts, all of them on record."""
    recorded = tuple(Attempt(number, "failed", error) for number in range(1, attempts + 1))
    return Letter(attempts, "ValueError: no", recorded)


def forget(evidence: Evidence) -> None:
    """Nobody ever handled number 2 of mail, nor has a receipt of it."""
    evidence.runs = [one for one in evidence.runs if (one.subscription, one.n) != ("mail", 2)]
    del evidence.receipts["mail", "2"]


def forget_effect(evidence: Evidence) -> None:
    evidence.effects = evidence.effects[:3]
    del evidence.receipts["books", "3"]


def invent(evidence: Evidence) -> None:
    evidence.runs.append(run("mail", 9, key=None))


def see_failed(evidence: Evidence) -> None:
    evidence.runs.append(run("mail", 5, completed=False))


def second_effect(evidence: Evidence) -> None:
    evidence.effects.append(Effect(3, "books", "3", "k", 3))


def complete_twice(evidence: Evidence) -> None:
    evidence.runs.append(run("mail", 3, began=14.0, ended=14.5, wall=1003.9))


def repeat_too_many(evidence: Evidence) -> None:
    """One a second, as if nothing had been written for minutes."""
    for n in range(10, 11 + CONCURRENCY + 2 * round(FLUSH_WINDOW_S)):
        evidence.publishes[str(n)] = Publish(str(n), "other", None, n, 1.0, "ok")
        evidence.runs += [run("mail", n, key=None), run("mail", n, key=None, pid=8, epoch=2, began=1e5, ended=1e5 + 1)]


def swap(evidence: Evidence) -> None:
    mail = [one for one in evidence.runs if one.subscription == "mail"]
    mail[1].began, mail[1].ended, mail[2].began, mail[2].ended = 12.0, 12.5, 11.0, 11.5


def overlap(evidence: Evidence) -> None:
    next(one for one in evidence.runs if (one.subscription, one.n) == ("mail", 1)).ended = 12.2


def overlook_receipt(evidence: Evidence) -> None:
    evidence.runs.append(run("mail", 0, epoch=2, began=50.0, ended=50.5, wall=1040.0))


def swap_effects(evidence: Evidence) -> None:
    evidence.effects[1], evidence.effects[2] = Effect(1, "books", "2", "k", 2), Effect(2, "books", "1", "k", 1)


def receipt_of_nothing(evidence: Evidence) -> None:
    evidence.receipts["mail", "6"] = 1.0


def effect_without_receipt(evidence: Evidence) -> None:
    del evidence.receipts["books", "3"]


def two_receipts(evidence: Evidence) -> None:
    evidence.repeated_receipts = 1


def die_early(evidence: Evidence) -> None:
    evidence.runs = [one for one in evidence.runs if one.attempt <= 2]
    evidence.dead["mail", "4"] = letter(2)


def die_late(evidence: Evidence) -> None:
    evidence.dead["mail", "4"] = letter(6)


def die_without_error(evidence: Evidence) -> None:
    evidence.dead["mail", "4"] = letter(5, error="")


def die_without_record(evidence: Evidence) -> None:
    evidence.dead["mail", "4"] = replace(letter(5), recorded=letter(5).recorded[:1])


def die_without_attempt(evidence: Evidence) -> None:
    evidence.dead["mail", "4"] = Letter(5, "no reason that is on record", ())


def write_late(evidence: Evidence) -> None:
    evidence.stale_writes.append("cursors: process 7 wrote partition 1 of mail, which process 8 owned")


def stay_behind(evidence: Evidence) -> None:
    evidence.lags.append((10.0, 1))


def leave_session(evidence: Evidence) -> None:
    evidence.left_over["sessions"] = 1


PLANTED: list[tuple[str, Callable[[Evidence], None]]] = [
    ("lost", forget), ("lost", forget_effect), ("unexpected", invent), ("phantom", see_failed),
    ("effects", second_effect), ("effects", complete_twice), ("effects", repeat_too_many), ("order", swap),
    ("order", overlap), ("order", overlook_receipt), ("order", swap_effects), ("receipts", receipt_of_nothing),
    ("receipts", effect_without_receipt), ("receipts", two_receipts), ("dead letters", die_early), ("dead letters", die_late),
    ("dead letters", die_without_error), ("dead letters", die_without_record), ("dead letters", die_without_attempt), ("stale writes", write_late),
    ("lag", stay_behind), ("left over", leave_session),
]  # fmt: skip


def test_a_good_history_has_no_anomaly() -> None:
    assert judge(good()).is_good


@pytest.mark.parametrize(("rule", "plant"), PLANTED, ids=[plant.__name__ for _, plant in PLANTED])
def test_a_planted_anomaly_is_found_by_its_rule(rule: str, plant: Callable[[Evidence], None]) -> None:
    evidence = good()
    plant(evidence)
    found = judge(evidence).anomalies
    assert {name for name, lines in found.items() if lines} == {rule}, found


def test_what_a_subscription_was_too_late_for_is_not_lost() -> None:
    evidence = good()
    evidence.subscriptions["late"] = Subscription(("load.*",), 100.0)
    assert judge(evidence).is_good


def test_a_completion_that_another_lease_repeats_is_counted_and_allowed() -> None:
    evidence = good()
    evidence.runs.append(run("mail", 3, pid=8, epoch=2, began=14.0, ended=14.5, wall=1003.5))
    verdict = judge(evidence)
    assert verdict.is_good
    assert verdict.figures["repeats"] == 1


def test_what_was_completed_within_one_flush_window_may_all_be_repeated() -> None:
    evidence = good()
    repeat_too_many(evidence)
    for one in evidence.runs:
        if one.pid == 7 and one.n >= 10:
            one.ended = 20.0 + FLUSH_WINDOW_S * (one.n % 2)
    assert judge(evidence).is_good


def test_an_attempt_that_was_counted_and_that_nobody_began_needs_no_record() -> None:
    evidence = good()
    evidence.runs = [one for one in evidence.runs if (one.subscription, one.attempt) != ("mail", 3)]
    recorded = tuple(attempt for attempt in letter(5).recorded if attempt.number != 3)
    evidence.dead["mail", "4"] = replace(letter(5), recorded=recorded)
    assert judge(evidence).is_good


def test_who_replays_a_dead_letter_finds_the_attempts_before_on_record_too() -> None:
    evidence = good()
    evidence.dead["mail", "4"] = replace(letter(5), recorded=letter(5).recorded * 2)
    assert judge(evidence).is_good


def test_an_event_of_unknown_outcome_may_appear_anywhere_in_its_key() -> None:
    evidence = good()
    evidence.publishes["2"].outcome = "unknown"
    swap(evidence)
    assert judge(evidence).is_good


def test_a_thread_that_ended_after_its_timeout_may_be_followed_by_another_attempt() -> None:
    evidence = good()
    evidence.subscriptions["mail"] = replace(evidence.subscriptions["mail"], threads=True, timeout=4.0)
    evidence.runs.append(run("mail", 3, key=None, began=20.0, ended=20.5, wall=1004.0))
    assert "under epoch 1" in str(judge(evidence).anomalies["effects"])
    first = next(one for one in evidence.runs if (one.subscription, one.n) == ("mail", 3))
    first.began, first.ended, first.key = 13.0, 17.1, None
    assert judge(evidence).is_good


def test_a_transactional_handler_may_start_long_after_its_receipt_was_begun() -> None:
    evidence = good()
    evidence.receipts["books", "0"] = 1000.0 - 60.0
    assert judge(evidence).is_good


def test_a_process_that_was_killed_ended_its_handlers() -> None:
    facts = {
        "subscription": "mail",
        "id": "1",
        "key": "k",
        "n": 1,
        "attempt": 1,
        "epoch": 1,
        "replay": False,
        "wall": 0.0,
    }
    evidence = Evidence()
    lines = [{"what": "start", "at": 1.0, "pid": 7, **facts}, {"what": "gone", "at": 2.0, "pid": 1, "process": 7}]
    add_lines(evidence, lines)
    assert evidence.runs[0].ended == 2.0
    assert not evidence.runs[0].completed
