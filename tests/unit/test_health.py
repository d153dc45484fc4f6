"""The verdict, from figures alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from holdfast.health import Health, verdict
from holdfast.stores.records import SpoolFolder, SubscriptionStatus
from holdfast.wording import counted, sized

QUIET = SubscriptionStatus(
    id=1, name="billing", paused=False, backlog=0, backlog_estimated=False, pending=0, retrying=0, running=0, dead=0,
    discarded=0, lag=0, lag_seconds=None, waiting_seconds=None, idle_seconds=None, owned=8, free=0, workers=1,
    tripped=0, blocks_retention=False,
)  # fmt: skip


def judged(**figures: Any) -> Health:
    return verdict([dataclasses.replace(QUIET, **figures)]).health


def test_nothing_to_do_is_ok():
    assert verdict([]).health is Health.OK
    assert verdict([QUIET]).reasons == ()


@pytest.mark.parametrize(
    "figures",
    [
        {"lag": 9, "waiting_seconds": 5.0, "idle_seconds": 1.0},
        # A quiet night, then the first event of the morning.
        {"lag": 1, "waiting_seconds": 1.0, "idle_seconds": 30_000.0},
        # A long backlog that moves.
        {"lag": 10**6, "waiting_seconds": 9_000.0, "idle_seconds": 0.5},
        # The workers are being restarted.
        {"lag": 1, "waiting_seconds": 20.0, "idle_seconds": 500.0, "workers": 0},
        {"discarded": 5},
        {"workers": 0},
    ],
)
def test_what_is_ok(figures):
    assert judged(**figures) is Health.OK


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"dead": 2}, "2 dead"),
        ({"retrying": 3, "lag": 3, "lag_seconds": 9e5}, "3 retrying"),
        ({"paused": True, "lag": 1, "waiting_seconds": 9e9, "workers": 0}, "paused, and 1 event waits"),
        ({"blocks_retention": True}, "retention"),
        ({"near_retention": True, "behind_retention": "drop"}, "they will be dropped"),
        ({"near_retention": True, "behind_retention": "archive"}, "they will be archived"),
        ({"let_go": 7, "behind_retention": "drop"}, "let go of 7 events beyond retention within a day, dropped"),
        ({"let_go": 1, "behind_retention": "archive"}, "let go of 1 event beyond retention within a day, archived"),
        ({"let_go": 7}, "before it was declared to hold them"),
        ({"tripped": 1, "workers": 2}, "the breaker is open in 1 of 2 workers"),
    ],
)
def test_what_is_degraded(figures, reason):
    found = verdict([dataclasses.replace(QUIET, **figures)])
    assert found.health is Health.DEGRADED
    assert reason in found.reasons[0].text
    assert found.reasons[0].fix


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"lag": 3, "waiting_seconds": 400.0, "idle_seconds": 400.0}, "nothing has moved for 7 min"),
        ({"lag": 3, "waiting_seconds": 400.0, "idle_seconds": None}, "nothing has moved ever"),
        ({"lag": 3, "waiting_seconds": 61.0, "idle_seconds": 61.0, "workers": 0}, "no live worker runs it"),
        (
            {"lag": 5, "backlog_estimated": True, "waiting_seconds": 1e5, "workers": 0},
            "about 5 events wait, for 28 h",
        ),
    ],
)
def test_what_is_stalled(figures, reason):
    found = verdict([dataclasses.replace(QUIET, **figures)])
    assert found.health is Health.STALLED
    assert reason in found.reasons[0].text
    assert found.reasons[0].fix


def test_the_bounds_can_be_set():
    slow = dataclasses.replace(QUIET, lag=1, waiting_seconds=30.0, idle_seconds=30.0)
    assert verdict([slow], stalled_after=20).health is Health.STALLED
    assert verdict([dataclasses.replace(slow, workers=0)], abandoned_after=20).health is Health.STALLED


def test_the_spool_degrades_and_the_worst_comes_first():
    dead = dataclasses.replace(QUIET, name="a", dead=1)
    stuck = dataclasses.replace(QUIET, name="b", lag=1, waiting_seconds=99.0, workers=0, retrying=1)
    found = verdict([dead, stuck], spools=[SpoolFolder("/spool", 10)])
    assert found.health is Health.STALLED
    assert [reason.text.partition(":")[0] for reason in found.reasons[:3]] == ["b", "a", "b"]
    assert [reason.health for reason in found.reasons] == [Health.STALLED, *[Health.DEGRADED] * 3]
    assert "10 bytes" in found.reasons[3].text


def test_what_the_spool_could_not_keep_or_hand_over_is_named_with_its_place():
    refused, damaged = verdict([], spools=[SpoolFolder("/spool", refused=1, damaged=2)]).reasons
    assert "1 event that the store refused in /spool/quarantine.jsonl" in refused.text
    assert "2 damaged pieces of the spool in /spool/corrupt-*.bin" in damaged.text


def test_each_reason_says_what_to_do():
    one = dataclasses.replace(QUIET, lag=1, waiting_seconds=99.0, workers=0, blocks_retention=True)
    stalled, blocking = verdict([one]).reasons
    assert "start a worker that declares it" in stalled.fix
    assert "holdfast subscriptions remove billing" in stalled.fix
    assert "let its workers catch up" in blocking.fix


@pytest.mark.parametrize(
    ("count", "read"), [(0, "0 events wait"), (1, "1 event waits"), (2, "2 events wait"), (1001, "1001 events wait")]
)
def test_numbers_read_well(count, read):
    assert counted(count, "event waits", "events wait") == read
    assert counted(count, "worker").endswith("worker" if count == 1 else "workers")


def test_sizes_have_the_unit_that_suits_them():
    assert [sized(n) for n in (1, 999, 2048, 5 * 2**30, 3 * 2**50)] == [
        "1 byte", "999 bytes", "2.0 KiB", "5.0 GiB", "3,072.0 TiB",
    ]  # fmt: skip
