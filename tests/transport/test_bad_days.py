"""A cluster of three servers has bad days, one after the other, while three services are at work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .campaign import campaign
from .judging import GOOD

if TYPE_CHECKING:
    from pathlib import Path

    from .cluster import NatsCluster
    from .databases import Dsns


@pytest.mark.timeout(300)  # elections and leases take seconds each, and more on a busy machine
async def test_nodes_and_workers_are_killed_stopped_and_cut_off_and_each_effect_comes_once(
    cluster: NatsCluster, stream: str, dsns: Dsns, tmp_path: Path
) -> None:
    faults = ("worker_killed", "leader_moved", "node_killed", "node_stopped", "node_cut_off")
    report = await campaign(cluster, dsns, tmp_path, stream, faults=faults)
    assert report.verdicts == {"billing": GOOD, "stock": GOOD}
    assert report.effects == 3 * report.orders
    assert report.orders > 20 * len(faults)
    assert report.rolled_back
