"""The demo from beginning to end: every scenario on every store, then the table."""

from __future__ import annotations

import asyncio
import shutil
import signal
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
    from collections.abc import Iterator
    from typing import Any

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
        keep: Leave SQLite files, ledgers and logs for a look.

    Returns:
        The exit code: 0; 1 when something was lost or otherwise wrong, or could not be played; 130 after Ctrl-C.
    """
    screen = make_screen()
    try:
        with sigterm_as_interrupt(), warnings_on(screen), scratch_folder(screen, keep=keep) as folder:
            others = read_items(jsonl)
            rows: list[Row] = []
            for stage in stages(folder, screen, sqlite=sqlite, postgres=postgres):
                with closing(stage):
                    rows += (play(scenario, stage, others, screen, folder, quick=quick) for scenario in SCENARIOS)
        screen.table(rows)
        code, lines = verdict(rows)
        screen.say("\n".join(["", *lines]))
    except HoldfastError as error:
        screen.say(f"The demo cannot go on: {error}")
        return 1
    except KeyboardInterrupt:
        screen.say("Interrupted.")
        return 130
    finally:
        screen.close()
    return code


def stages(folder: Path, screen: Screen, *, sqlite: bool, postgres: bool | None) -> Iterator[Stage]:
    """The stores to play on; each is opened when the one before is done.

    Raises:
        ConfigurationError: PostgreSQL was asked for and is not to be had.
    """
    if sqlite:
        yield SQLiteStage(folder)
    if postgres is False:
        return
    if (reason := why_no_postgres()) is None:
        yield PostgresStage()
    elif postgres:
        raise ConfigurationError(f"PostgreSQL cannot be played on, {reason}")
    else:
        screen.heading(f"PostgreSQL is left out: {reason}")


def play(
    scenario: Scenario, stage: Stage, others: list[Item], screen: Screen, folder: Path, *, quick: bool
) -> Row:  # fmt: skip
    """Play one scenario on one store."""
    screen.heading(f"{stage.name}: {scenario.title}")
    items = scenario.items(SHOP_EVENTS_QUICK if quick else SHOP_EVENTS, others)
    return asyncio.run(_play(scenario, Scene(f"{stage.name.lower()}-{scenario.name}", items, stage, screen, folder)))


async def _play(scenario: Scenario, scene: Scene) -> Row:
    try:
        try:
            await scenario.play(scene)
            await scene.until_settled()
        except* (GaveUpWaiting, HoldfastError) as broken:
            scene.problems += map(str, broken.exceptions)
        seconds = scene.seconds
        findings = await scene.close()
    finally:
        await scene.abandon()
    for problem in findings.problems:
        scene.say(f"PROBLEM  {problem}")
    scene.say("settled")
    return Row(scene.stage.name, scenario.title, findings, seconds)


@contextmanager
def scratch_folder(screen: Screen, *, keep: bool) -> Iterator[Path]:
    """A temporary folder, removed at the end unless *keep*."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-demo-"))
    try:
        yield folder
    finally:
        if keep:
            screen.say(f"Kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does, with everything cleaned up."""

    def interrupt(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    # A shell starts background jobs with SIGINT ignored; then neither signal would end the demo.
    wanted = {signal.SIGTERM: interrupt, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
