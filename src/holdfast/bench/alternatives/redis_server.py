"""A Redis of one's own, that has written to its disk what it has answered."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_SECONDS = 10.0
_PAUSE_S = 0.01
_DURABLE = ("--save", "", "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")


@contextmanager
def started() -> Iterator[str]:
    """
    Its address. The files that it writes have lost their names once it runs: nothing stays behind, whoever is killed.

    It never writes them anew, for which it would need their names.
    """
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-redis-") as folder:
        server = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, *_DURABLE],
            stdout=subprocess.DEVNULL,
        )
        try:
            _wait_for(port, server)
        except BaseException:
            _end(server)
            raise
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        _end(server)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    import redis

    deadline = time.monotonic() + _START_SECONDS
    with redis.Redis(port=port) as client:
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_S)
            else:
                return


def _end(server: subprocess.Popen[bytes]) -> None:
    server.kill()
    server.wait()
