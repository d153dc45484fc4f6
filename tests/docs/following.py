"""Following a page of the documentation as a reader would: its blocks in order, in an empty folder."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from click.testing import CliRunner
from sqlalchemy import Engine

from holdfast import EventBus, SyncEventBus
from holdfast.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

POSTGRES = "postgresql://localhost/shop"
"""The DSN that stands in the pages; what follows them puts a real one in its place."""

_FENCE = re.compile(r"^```(\w*)\s*$")
_NO_RUN = re.compile(r"<!-- no-run: \S.* -->")
_FILE = re.compile(r"# ([a-z_/]+\.py)(, at the end)?\n")
_EXPORT = re.compile(r"export (\w+)=(\S+)")
_RUNS = ("python", "sql", "console", "sh")
_COMMANDS = ("holdfast ", "python ", "printf ")
_WORKERS = ("holdfast worker ", "python manage.py holdfast worker")
_WORKER_READY = "working on"
_SECONDS = 30


class Block(NamedTuple):
    """A fenced block. `line`: of its first line of content."""

    kind: str
    text: str
    line: int


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of a page that are to be run."""
    kind, begun, skip, before = None, 0, False, ""
    lines = page.read_text("utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if fence and kind is None:
            kind, begun, skip = fence[1], number, bool(_NO_RUN.fullmatch(before))
        elif fence:
            if kind in _RUNS and not skip:
                yield Block(kind, "\n".join(lines[begun : number - 1]) + "\n", begun + 1)
            kind = None
        if line.strip():
            before = line.strip()


@dataclass
class Follower:
    """Runs the blocks of one page.

    Args:
        page: For messages.
        folder: Empty, and the current one.
        set_variable: Sets a variable of the environment, for this page.
        postgres_dsn: What `POSTGRES` stands for, if the page needs it.
    """

    page: str
    folder: Path
    set_variable: Callable[[str, str], None]
    postgres_dsn: str | None
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "app"})

    def follow(self, blocks: list[Block]) -> None:
        with asyncio.Runner() as runner:
            try:
                for block in blocks:
                    getattr(self, f"_run_{block.kind}")(block._replace(text=self._filled(block.text)), runner)
            finally:
                self._close_all(runner)

    def _filled(self, text: str) -> str:
        if self.postgres_dsn is None:
            return text
        rest = self.postgres_dsn.partition("://")[2]
        text = re.sub(
            r"postgresql(\+\w+)?://localhost/shop", lambda found: f"postgresql{found[1] or ''}://{rest}", text
        )
        return re.sub(r"--health-port \d+", "--health-port 0", text)

    def _run_python(self, block: Block, runner: asyncio.Runner) -> None:
        if named := _FILE.match(block.text):
            with (self.folder / named[1]).open("a" if named[2] else "w", encoding="utf-8") as file:
                file.write(block.text)
            if "/" not in named[1]:  # what lies in a folder is a part of something, and run by it
                self._finished(block, [sys.executable, "-W", "error", named[1]])
            return
        # Padded, so that a traceback shows the line of the page.
        code = compile("\n" * (block.line - 1) + block.text, self.page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, self.names)
        if inspect.iscoroutine(result):
            runner.run(result)

    def _run_sql(self, block: Block, runner: asyncio.Runner) -> None:
        assert self.postgres_dsn is not None
        with psycopg.connect(self.postgres_dsn) as connection:
            connection.execute(block.text.encode())

    def _run_sh(self, block: Block, runner: asyncio.Runner) -> None:
        prompted = "".join(f"$ {line}\n" if line.strip() else "\n" for line in block.text.splitlines())
        self._run_console(block._replace(text=prompted), runner)

    def _run_console(self, block: Block, runner: asyncio.Runner) -> None:
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            if export := _EXPORT.fullmatch(command.strip()):
                self.set_variable(export[1], export[2])
            elif command.startswith(_WORKERS):
                self._work(block, command)
            elif command.startswith(_COMMANDS) and not command.startswith("holdfast demo"):
                self._compare(block, command, shown, self._printed_by(block, command))

    def _compare(self, block: Block, command: str, shown: str, printed: str) -> None:
        """What the page shows must be printed; lines with digits hold ids, times and sizes, which differ."""
        found = {" ".join(line.split()) for line in printed.splitlines()}
        for line in shown.splitlines():
            expected = " ".join(line.split())
            if expected and expected != "..." and not re.search(r"\d", expected):
                assert expected in found, f"{self.page}:{block.line}: {command!r} printed\n{printed}"

    def _printed_by(self, block: Block, command: str) -> str:
        program, *arguments = shlex.split(command, comments=True)
        # A process for each costs ten times what the command does; those that import a program need one.
        if program != "holdfast" or any(":bus" in argument for argument in arguments):
            return self._finished(block, ["bash", "-c", command])
        done = CliRunner().invoke(main, arguments, prog_name="holdfast")
        assert done.exit_code == 0, f"{self.page}:{block.line}: {command}\n{done.output}{done.exception!r}"
        return done.output

    def _finished(self, block: Block, command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{self.page}:{block.line}: {shlex.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def _work(self, block: Block, command: str) -> None:
        """Start a worker, and end it as a service manager does."""
        with subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        ) as worker:  # fmt: skip
            assert worker.stderr is not None
            begun = []
            for line in worker.stderr:
                begun.append(line)
                if _WORKER_READY in line:
                    break
            worker.send_signal(signal.SIGTERM)
            rest = worker.stderr.read()
        assert worker.returncode == 0, f"{self.page}:{block.line}: {command}\n{''.join(begun)}{rest}"

    def _close_all(self, runner: asyncio.Runner) -> None:
        """What a program would leave to its end."""
        for value in self.names.values():
            if isinstance(value, SyncEventBus):
                value.close()
            elif isinstance(value, EventBus):
                runner.run(value.close())
            elif isinstance(value, Engine):
                value.dispose()
