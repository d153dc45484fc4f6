"""What a server of one's own may have beside it: a standby, a pooler, a small disk, a clock that lies."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg

from holdfast.testing import LocalPostgres
from tests.chaos.fault import Need, find_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BASEBACKUP = Need("pg_basebackup", "postgresql")
PGBOUNCER = Need("pgbouncer", "pgbouncer")
SMALL_DISK = Need(
    "mount", "mount", "run as root, for a small disk of its own", lambda: os.geteuid() == 0 and _can_mount()
)
FAKETIME = Need("faketime", "faketime", "the library libfaketime.so.1", lambda: find_faketime() is not None)

_SMALL_MIB = 1024


# ---- a standby


class Standby(LocalPostgres):
    """A copy of *primary* that follows it, and takes its place when promoted.

    Args:
        primary: It must run while the copy is made.
        name: What ``synchronous_standby_names`` of the primary may call it.
    """

    def __init__(self, primary: LocalPostgres, name: str = "standby") -> None:
        super().__init__(fsync=False)
        self.name = name
        program = find_program("pg_basebackup")
        assert program is not None
        copied = self._run(
            program, "--pgdata", self.data_dir, "--write-recovery-conf", "--checkpoint=fast", "--no-sync",
            "--dbname", f"host=127.0.0.1 port={primary.port} user=postgres application_name={name}",
        )  # fmt: skip
        assert copied.returncode == 0, copied.stdout

    def _is_ready(self) -> bool:
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() in {"ready", "standby"}

    def promote(self, seconds: float = 30.0) -> None:
        """Make it a primary; returns when it takes writes."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute("select pg_promote(true, %s)", [int(seconds)])
            _wait(lambda: self._takes_writes(connection), "the standby is promoted", seconds)

    def run(self, sql: str) -> None:
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(sql)

    @staticmethod
    def _takes_writes(connection: psycopg.Connection[Any]) -> bool:
        found = connection.execute("select not pg_is_in_recovery()").fetchone()
        return found == (True,)


def follow(primary: LocalPostgres, standby: Standby, *, synchronous: bool) -> None:
    """
    Start the standby and return when it has all that the primary has; from then on each commit of the primary waits
    for it, if *synchronous*.
    """
    standby.start()
    with psycopg.connect(primary.dsn(), autocommit=True) as connection:

        def is_streaming() -> bool:
            return _one(
                connection, "select state = 'streaming' from pg_stat_replication where application_name = %s", standby
            )

        _wait(is_streaming, "the standby follows")
        if synchronous:
            connection.execute(f"alter system set synchronous_standby_names = '{standby.name}'")
            connection.execute("select pg_reload_conf()")
            is_waited_for = "select sync_state = 'sync' from pg_stat_replication where application_name = %s"
            _wait(lambda: _one(connection, is_waited_for, standby), "commits wait for the standby")


def cut_off(primary: LocalPostgres, standby: Standby) -> None:
    """Returns when the standby gets no more and shows all that it got."""
    standby.run("alter system set primary_conninfo = ''")
    standby.run("select pg_reload_conf()")
    with psycopg.connect(primary.dsn(), autocommit=True) as connection:
        left = "select count(*) from pg_stat_replication"
        _wait(lambda: connection.execute(left).fetchone() == (0,), "the standby is cut off")
    with psycopg.connect(standby.dsn(), autocommit=True) as connection:
        shown = "select pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()"
        _wait(lambda: connection.execute(shown).fetchone() == (True,), "the standby shows what it has")


def _one(connection: psycopg.Connection[Any], sql: str, standby: Standby) -> bool:
    return connection.execute(sql, [standby.name]).fetchone() == (True,)


def replace_data(server: LocalPostgres, other: LocalPostgres) -> None:
    """*server*, stopped, goes on with the data of *other*, stopped: the same address, another history."""
    assert server.pid is None
    assert other.pid is None
    shutil.rmtree(server.data_dir)
    shutil.move(other.data_dir, server.data_dir)


# ---- a pooler


class PgBouncer:
    """PgBouncer in transaction mode in front of a server, on 127.0.0.1, for every database, as postgres.

    Args:
        port: Of the server.
        size: Connections to the server for each database and user.
    """

    def __init__(self, port: int, *, size: int = 20) -> None:
        self.port = _free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="holdfast-pooler-"))
        self._account = "postgres" if os.geteuid() == 0 else None
        self.log = self._folder / "log"
        settings = self._folder / "settings.ini"
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={port} user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = any\n"
            f"auth_file =\npool_mode = transaction\nmax_client_conn = 1000\ndefault_pool_size = {size}\n"
            f"server_login_retry = 0.1\nignore_startup_parameters = extra_float_digits,options\nlogfile = {self.log}\n"
        )
        self._settings, self._process = settings, None

    _process: subprocess.Popen[bytes] | None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it; returns when it takes connections."""
        program = find_program("pgbouncer")
        assert program is not None
        if self._account:
            for path in (self._folder, self._settings):
                shutil.chown(path, self._account)
        self._process = subprocess.Popen(
            [program, "-q", self._settings], stdin=subprocess.DEVNULL, user=self._account, start_new_session=True
        )
        _wait(lambda: _listens(self.port), "the pooler takes connections")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def dsn(self, dbname: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{dbname}"


# ---- a small disk


@contextmanager
def small_disk(mib: int) -> Iterator[Path]:
    """A folder with a disk of its own that has so many MiB, which the server's account may use. For root."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0777", "holdfast", folder], check=True)
    try:
        yield folder
    finally:
        # Lazily: who still has a file open there does not keep the test from going on.
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


def is_small_disk(folder: Path) -> bool:
    """Whether *folder* is on a disk that may be filled without harm to others."""
    if not folder.exists():
        return False
    size = os.statvfs(folder)
    return size.f_blocks * size.f_frsize <= _SMALL_MIB << 20 and folder.stat().st_dev != Path("/").stat().st_dev


def fill(ballast: Path) -> None:
    """Leave no room on the disk of *ballast*, which is to be removed afterwards."""
    assert is_small_disk(ballast.parent), f"{ballast} is on a disk that others use"
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        block = bytes(1 << 16)
        while True:
            file.write(block)


def _can_mount() -> bool:
    try:
        with small_disk(1):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


# ---- a clock that lies


def find_faketime() -> Path | None:
    """The library that stands between a program and its clock."""
    found = [path for root in ("/usr/lib", "/usr/local/lib") for path in Path(root).glob("**/libfaketime.so.1")]
    return found[0] if found else None


@contextmanager
def faked_clock(server: LocalPostgres) -> Iterator[Callable[[float], None]]:
    """
    Inside, the server starts with a clock that can be set apart; gives the function that does it, in seconds from the
    true time. The server must be restarted after entering, and after leaving.
    """
    library = find_faketime()
    assert library is not None
    setting = server.socket_dir / "clock"
    options = server._child_options

    def with_library() -> dict[str, Any]:
        found = options()
        found["env"] |= {
            "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(setting), "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
        }  # fmt: skip
        return found

    def step(seconds: float) -> None:
        # Put in place as a whole: a clock read from half a file jumps to who knows where.
        fresh = setting.with_suffix(".new")
        fresh.write_text(f"{seconds:+.3f}s\n")
        fresh.chmod(0o644)
        fresh.replace(setting)

    step(0.0)
    server._child_options = with_library  # type: ignore[method-assign]
    try:
        yield step
    finally:
        del server._child_options


# ---- what these need


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds:g} s still not: {what}"
        time.sleep(0.01)
