"""The short form of bench/relaying.py: the fault run of each broker, and its report."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import relaying


@pytest.mark.parametrize("kind", sorted(relaying.BROKERS))
async def test_a_run_with_kills_loses_nothing_and_keeps_order(kind: str, tmp_path: Path) -> None:
    found = await relaying.faulted(kind, tmp_path, 1500, 2)
    assert (found.sent, found.lost, found.disorder) == (1502, 0, 0)
    assert found.delivered == 1502 + found.repeated
    assert found.acknowledged >= 1502
    assert found.recovery_s < 30


def test_the_report_has_a_row_for_each_broker_in_both_tables() -> None:
    one = relaying.Faulted(10, 11, 10, 0, 0, 0, 1, 0.25), relaying.Measured(500.0, 1000.0, 2.0, 1.0)
    lines = relaying.report({"nats": one}).splitlines()
    assert "| nats | 10 | 11 | 10 | 0 | 0 | 0 | 1 | 0.25 s |" in lines
    assert "| nats | 500 | 1,000 | 0.50 | 2.0 ms | 1.0 ms |" in lines
