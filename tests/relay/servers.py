"""Brokers of the tests' own, as direct children: killed as a crash would, started again on the same port and data."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(name: str, *places: str) -> str:
    """Path of a server's program; the test is skipped, saying where it was looked for, if there is none."""
    variable = f"HOLDFAST_{name.upper().replace('-', '_')}"
    own = str(Path(sys.executable).parent / name)  # from a wheel
    for candidate in (os.environ.get(variable), own, *places, shutil.which(name)):
        if candidate and Path(candidate).exists():
            return candidate
    pytest.skip(
        f"no {name}: looked at ${variable}, {', '.join((own, *places))} and the PATH; on Debian: apt install {name}"
    )


class Server:
    """One server process. Subclasses say how it is started and when it is there."""

    start_timeout = 90.0

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def is_ready(self) -> bool:
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.kill()

    def start(self) -> None:
        if self._process is not None:
            return
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, **self.environment()},
            )  # fmt: skip
        self._wait(lambda: self.is_ready() or self._process is None or self._process.poll() is not None)
        if not self.is_ready():
            log_end = (self.folder / "server.log").read_text(errors="replace")[-3000:]
            self.kill()
            raise AssertionError(f"{self.command()[0]} did not start on port {self.port}:\n{log_end}")

    def kill(self) -> None:
        """SIGKILL, to it and its children."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self.start_timeout
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _answers(self, question: bytes, wanted: bytes) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as talk:
                talk.settimeout(1)
                talk.sendall(question)
                return wanted in talk.recv(4096)
        except OSError:
            return False


class RedisServer(Server):
    def command(self) -> list[str]:
        return [
            program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
            "--appendonly", "yes", "--save", "", "--proto-max-bulk-len", "1mb",
        ]  # fmt: skip

    def is_ready(self) -> bool:
        return self._answers(b"PING\r\n", b"+PONG")


class RabbitServer(Server):
    """A node with its own Erlang port mapper, which ends with it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._distribution, self._mapper = free_port(), free_port()
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\nmax_message_size = 262144\nvm_memory_high_watermark.relative = 0.6\n"
            "disk_free_limit.absolute = 1MB\nlog.console = true\nlog.console.level = error\n"
        )
        (folder / "plugins").write_text("[].\n")

    def command(self) -> list[str]:
        return [program("rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server")]

    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder), "RABBITMQ_NODENAME": f"holdfast-{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_DIST_PORT": str(self._distribution),
            "ERL_EPMD_PORT": str(self._mapper), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none.conf"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"), "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_LOGS": "-", "RABBITMQ_PID_FILE": str(self.folder / "pid"),
        }  # fmt: skip

    def is_ready(self) -> bool:
        # It says how it would like to talk only once it takes connections.
        return self._answers(b"AMQP\x00\x00\x09\x01", b"RabbitMQ")

    def control(self, *arguments: str) -> str:
        """Run rabbitmqctl on this node."""
        command = [program("rabbitmqctl", "/usr/lib/rabbitmq/bin/rabbitmqctl"), *arguments]
        return subprocess.run(
            command, env={**os.environ, **self.environment()}, capture_output=True, text=True, check=True
        ).stdout

    def close(self) -> None:
        self.kill()
        subprocess.run(
            ["epmd", "-port", str(self._mapper), "-kill"], capture_output=True, check=False,
            env={**os.environ, **self.environment()},
        )  # fmt: skip
