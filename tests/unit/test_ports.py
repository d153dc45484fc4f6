"""Whether a process still lives, told without doubt or not at all."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import ports
from holdfast.stores.ending import to_its_end

if TYPE_CHECKING:
    import pytest


def test_a_process_is_known_by_when_it_started_and_is_gone_when_it_is() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert ports.process_started(child.pid)
    child.communicate(b"\n")
    assert ports.process_started(child.pid) is None


def test_a_process_that_is_hidden_from_this_user_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mounted with hidepid, /proc shows only one's own; a signal that is not sent tells the difference."""

    def hidden(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(ports.Path, "read_text", hidden)
    assert ports.process_started(os.getpid()) == "", "nobody can tell"
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert ports.process_started(child.pid) is None


def test_who_we_are_names_the_space_of_our_process_number() -> None:
    assert f"/{Path('/proc/self/ns/pid').stat().st_ino}" in ports.process_identity().boot_id


async def test_a_commit_under_way_is_waited_for_when_cancelled() -> None:
    gate, ended = asyncio.Event(), list[str]()

    async def commit() -> str:
        await gate.wait()
        ended.append("committed")
        return "done"

    task = asyncio.create_task(to_its_end(commit()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await task == "done"
    assert ended == ["committed"]
