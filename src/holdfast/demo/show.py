"""The demo from beginning to end: every scenario on every store, then the table."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.demo.report import Row, make_screen, verdict, warnings_on
from holdfast.demo.scenarios import SCENARIOS
from holdfast.demo.scene import GaveUpWaiting, Scene
from holdfast.demo.stages import PostgresStage, SQLiteStage, why_no_postgres
from holdfast.demo.workload import read_items
from holdfast.errors import ConfigurationError, HoldfastError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from holdfast.demo.report import Screen
    from holdfast.demo.scenarios import Scenario
    from holdfast.demo.stages import Stage
    from holdfast.demo.workload import Item

SHOP_EVENTS, SHOP_EVENTS_QUICK = 1000, 250


def main(
    jsonl: Path | None = None, *, sqlite: bool = True, postgres: bool | None = None, quick: bool = False,
    keep: bool = False,
) -> int:  # fmt: skip
    """
    Play the demo.

    Args:
        jsonl: Events to publish besides the shops': one JSON object a line with ``name, payload`` and optionally
            ``tenant_id, key, id``. None: a small set of the demo's own.
        sqlite: Play on SQLite.
        postgres: Play on PostgreSQL; None: if there is one to be had.
        quick: A quarter of the shops' events.
        keep: Leave databases, ledgers and logs for a look.

    Returns:
        The exit code: 0; 1 when something was lost or otherwise wrong, or could not be played; 130 after Ctrl-C.
    """
    screen = make_screen()
    folder = Path(tempfile.mkdtemp(prefix="holdfast-demo-"))
    try:
        with sigterm_as_interrupt(), warnings_on(screen):
            others = read_items(jsonl)
            count = SHOP_EVENTS_QUICK if quick else SHOP_EVENTS
            rows = [
                row for open_stage in _stages(folder, screen, sqlite=sqlite, postgres=postgres)
                for row in _play_all(open_stage, count, others, screen, folder)
            ]  # fmt: skip
        screen.table(rows)
        code, lines = verdict(rows)
        screen.say("\n".join(["", *lines]))
    except HoldfastError as error:
        screen.say(f"the demo cannot go on: {error}")
        code = 1
    except KeyboardInterrupt:
        screen.say("interrupted")
        code = 130
    finally:
        screen.close()
        keep = _clear(folder, keep=keep or sys.exc_info()[0] is not None)
    return code
