"""The rules of the house that no linter knows. A lesson learned becomes a rule here."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "holdfast"
CORE = sorted([SOURCE / "bus.py", *SOURCE.glob("worker/**/*.py"), *SOURCE.glob("stores/**/*.py")])

LINES_MAX = 450
IMPORT_SECONDS_MAX = 0.120
DRIVERS = ("psycopg", "psycopg_pool", "sqlite3", "_sqlite3", "asyncpg", "aiosqlite", "sqlalchemy")

# Statements that one store alone needs, with the reason.
SQL_OF_ONE_STORE: dict[str, str] = {
    "subscription_backlogs": "PostgreSQL: a function is called for each subscription, and planned once; SQLite is asked one by one",
    "lags_wanted": "SQLite: without a function to be called for each subscription, it is asked one by one",
    "read_new": "PostgreSQL: cursors are snapshots of one incarnation of the server",
    "window_span": "PostgreSQL: cursors are snapshots of one incarnation of the server",
    "next_snapshot": "PostgreSQL: cursors are snapshots of one incarnation of the server",
    "snapshot_now": "PostgreSQL: cursors are snapshots of one incarnation of the server",
    "incarnation": "PostgreSQL: cursors are snapshots of one incarnation of the server",
    "day_floor": "PostgreSQL: the log is partitioned by day",
    "make_day": "PostgreSQL: the log is partitioned by day",
    "missing_days": "PostgreSQL: the log is partitioned by day",
    "old_days": "PostgreSQL: the log is partitioned by day",
    "days_ahead": "PostgreSQL: the log is partitioned by day",
    "drop_day": "PostgreSQL: the log is partitioned by day",
    "old_of_young_day": "PostgreSQL: the log is partitioned by day",
    "retention_day": "PostgreSQL: the log is partitioned by day",
    "day_keepers": "PostgreSQL: the log is partitioned by day",
    "append": "PostgreSQL: many rows in one statement; SQLite repeats a statement of one row in its thread",
    "append_new": "PostgreSQL: partitioned, it pays to say that an id cannot be there",
    "append_one_new": "PostgreSQL: partitioned, it pays to say that an id cannot be there",
    "take_in": "PostgreSQL: many rows in one statement; SQLite repeats a statement of one row in its thread",
    "lock_ids": "PostgreSQL: an id may lie on any day, where no common unique index is met",
    "lock_ids_within": "PostgreSQL: an id may lie on any day, where no common unique index is met",
    "is_ours": "PostgreSQL: whether a handler's transaction was ended is asked of the server",
    "require_epoch": "PostgreSQL: handlers' transactions run beside each other and outlive leases",
    "generation": "PostgreSQL: SQLite's horizon says it too",
    "facts_schema": "PostgreSQL: roles, server settings and the catalogue are part of the state of health",
    "facts_server": "PostgreSQL: roles, server settings and the catalogue are part of the state of health",
    "schema_version": "PostgreSQL: roles, server settings and the catalogue are part of the state of health",
    "storage_server": "PostgreSQL: roles, server settings and the catalogue are part of the state of health",
    "after_restore": "PostgreSQL: cursors are snapshots of one incarnation of the server",
    "notify": "PostgreSQL: SQLite has data_version",
    "bind_tenant": "PostgreSQL: a file has no logins",
    "unbind_tenant": "PostgreSQL: a file has no logins",
    "unbound_because": "PostgreSQL: a file has no logins",
    "tenant_grants": "PostgreSQL: a file has no logins",
    "add_cursors": "SQLite: no writing statements in a WITH, so one statement of PostgreSQL is several",
    "add_leases": "SQLite: no writing statements in a WITH, so one statement of PostgreSQL is several",
    "free_leases": "SQLite: no writing statements in a WITH, so one statement of PostgreSQL is several",
    "mark_running": "SQLite: no writing statements in a WITH, so one statement of PostgreSQL is several",
    "taken_in": "SQLite: no writing statements in a WITH, so one statement of PostgreSQL is several",
    "position_at_time": "SQLite: no writing statements in a WITH, so one statement of PostgreSQL is several",
    "position_of_event": "SQLite: no writing statements in a WITH, so one statement of PostgreSQL is several",
    "drop_attempts": "SQLite: retention deletes in bounded batches",
    "drop_discarded": "SQLite: retention deletes in bounded batches",
    "drop_events": "SQLite: retention deletes in bounded batches",
    "drop_receipts": "SQLite: retention deletes in bounded batches",
    "forget_snapshots": "SQLite: retention deletes in bounded batches",
    "note_dropped": "SQLite: retention deletes in bounded batches",
    "keep_dead_letters": "SQLite: retention deletes in bounded batches",
    "last_of_batch": "SQLite: retention deletes in bounded batches",
    "old_horizon": "SQLite: retention deletes in bounded batches",
    "retention_counts": "SQLite: retention deletes in bounded batches",
    "waited_for": "SQLite: retention deletes in bounded batches",
    "let_go_cursors": "SQLite: a cursor is a position, which can pass what was let go of",
    "let_go_leases": "SQLite: a cursor is a position, which can pass what was let go of",
    "log_length": "SQLite: positions are the only statistics it has",
    "park_unseen": "SQLite: a cursor is a position, which moved events would lie behind",
    "pass_moved": "SQLite: a cursor is a position, which moved events would lie behind",
    "number_on": "PostgreSQL: a sequence does not follow numbers that were given",
    "day_writers": "PostgreSQL: the log is partitioned by day, and writers do not keep each other out",
    "day_came_since": "PostgreSQL: the log is partitioned by day, and writers do not keep each other out",
    "finish_replay": "SQLite: no writing statements in a WITH, so one statement of PostgreSQL is several",
    "applied_migration": "SQLite: it migrates itself",
}

# What the core may not reach for by itself, so that a simulation can stand in for it: it comes in through ports.py.
BANNED_IN_CORE = {
    "time.time": "wall clock",
    "time.time_ns": "wall clock",
    "time.sleep": "waiting",
    "time.monotonic": "clock",
    "time.perf_counter": "clock",
    "datetime.now": "wall clock",
    "datetime.utcnow": "wall clock",
    "random": "randomness",
    "secrets": "randomness",
    "os.urandom": "randomness",
    "uuid1": "ids",
    "uuid4": "ids",
    "threading": "threads",
    "concurrent.futures": "threads",
    "multiprocessing": "spawning",
    "subprocess": "spawning",
    "os.fork": "spawning",
    "os.getpid": "process identity",
}
# (file below src/holdfast, what it may use) with the reason. `ports.py` may use everything: it is where they come in.
ALLOWED_IN_CORE: dict[tuple[str, str], str] = {
    ("stores/sqlite/threads.py", "threading"): "SQLite blocks: each connection has a thread of its own",
    ("stores/sqlite/threads.py", "concurrent.futures"): "the same",
    ("worker/aftermath.py", "random"): "ports.random, the port itself",
}

# "me" is nobody: an example.
MACHINE_PATH = re.compile(r"(?<![\w.~/-])/(?:work|root|home/(?!me/)\w+|Users/(?!me/)\w+|opt/pypi)/")
GENERATED = {"requirements.lock"}


def sql_names(store: str) -> set[str]:
    return {path.stem for path in (SOURCE / "stores" / store / "queries").glob("*.sql")}


def tree_files() -> list[Path]:
    """Every text file of ours: what git keeps or would keep; without git, all but hidden folders."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listing.returncode == 0:
        paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    else:
        paths = [path for path in ROOT.rglob("*") if not any(part.startswith(".") for part in path.parts)]
    return [path for path in paths if path.is_file()]


def uses(tree: ast.Module) -> set[tuple[str, int]]:
    """(dotted name, line) of everything that is imported or reached through a dot."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(alias.name, node.lineno) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {(f"{node.module}.{alias.name}", node.lineno) for alias in node.names}
        elif isinstance(node, ast.Attribute):
            found.add((ast.unparse(node), node.lineno))
        elif isinstance(node, ast.Global):
            found |= {(f"global {name}", node.lineno) for name in node.names}
    return found


def offence(name: str) -> str | None:
    """The banned thing that a dotted name stands for: the thing itself, something inside it, or the end of a path."""
    if name.startswith("global "):
        return "global"
    dotted = f".{name}."
    return next((banned for banned in BANNED_IN_CORE if f".{banned}." in dotted), None)


def test_both_stores_have_the_same_statements() -> None:
    assert sql_names("postgres") ^ sql_names("sqlite") == set(SQL_OF_ONE_STORE)


def test_no_file_is_too_long_to_read() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in SOURCE.rglob("*")
        if path.suffix in {".py", ".sql"}
    }
    assert {name: lines for name, lines in lengths.items() if lines > LINES_MAX} == {}


def test_the_core_takes_clock_chance_ids_and_threads_from_ports() -> None:
    offences = []
    for path in CORE:
        if path.name == "ports.py" or not path.exists():
            continue
        relative = path.relative_to(SOURCE).as_posix()
        for name, line in sorted(uses(ast.parse(path.read_text(encoding="utf-8"))), key=lambda use: use[1]):
            banned = offence(name)
            if banned and (relative, banned) not in ALLOWED_IN_CORE:
                offences.append(f"{relative}:{line} uses {name} ({BANNED_IN_CORE.get(banned, 'module state')})")
    assert offences == []


@pytest.mark.parametrize(
    ("code", "banned"),
    [
        ("import time\ntime.time()", "time.time"),
        ("from time import monotonic", "time.monotonic"),
        ("from datetime import datetime\ndatetime.now()", "datetime.now"),
        ("import datetime\ndatetime.datetime.now()", "datetime.now"),
        ("from random import uniform", "random"),
        ("import uuid\nuuid.uuid4()", "uuid4"),
        ("from concurrent.futures import ThreadPoolExecutor", "concurrent.futures"),
        ("def f():\n    global state\n    state = 1", "global"),
        ("clock.time()\nself.random_delay()\nports.clock.now()", None),
    ],
)
def test_the_rule_sees_what_it_should(code: str, banned: str | None) -> None:
    assert {offence(name) for name, _ in uses(ast.parse(code))} - {None} == ({banned} if banned else set())


def test_no_path_of_somebodys_machine_is_in_the_tree() -> None:
    offences = []
    for path in tree_files():
        if path.name in GENERATED:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        offences += [f"{path.relative_to(ROOT)}: {found.group()}" for found in MACHINE_PATH.finditer(text)]
    assert offences == []


def test_the_import_loads_no_driver() -> None:
    script = f"import sys, holdfast; print(*sorted(set({DRIVERS!r}) & set(sys.modules)))"
    assert run_python(script).split() == []


def test_the_import_is_quick() -> None:
    # Processor time, so that a busy machine does not count; the first run, which may compile, is left out.
    script = "import time; begun = time.process_time(); import holdfast; print(time.process_time() - begun)"
    seconds = [float(run_python(script)) for _ in range(6)][1:]
    assert statistics.median(seconds) < IMPORT_SECONDS_MAX


def run_python(script: str) -> str:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
