"""``holdfast bench`` works: a tiny form of it measures everything on both stores and says so in its files."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import uuid4
from xml.etree import ElementTree as ET

import click
import psycopg
import pytest
from click.testing import CliRunner

from holdfast.bench import report, targets
from holdfast.bench.figures import figures, scale_of
from holdfast.cli import main
from holdfast.cli.bench import conclude

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.bench.places import Kind

    Bench = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
EVENTS = 500
TINY = ("--events", str(EVENTS), "--rounds", "1")
BENCH = (sys.executable, "-W", "error", "-m", "holdfast", "bench")
_UNIGNORED = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
AS_A_TERMINAL = (sys.executable, "-c", _UNIGNORED)


def databases(server: str) -> set[str]:
    with psycopg.connect(server, autocommit=True) as connection:
        rows = connection.execute("select datname from pg_database where datname like 'holdfast_bench_%'").fetchall()
    return {name for (name,) in rows}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Run it as a person would, in an empty folder, where HOLDFAST_DSN names a store of theirs that nobody may touch."""

    def run(*options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"HOLDFAST_DSN": "postgresql://ann:s3cret@127.0.0.1:1/production"}
        done = subprocess.run(
            [*BENCH, *options], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
        )
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        assert "production" not in done.stdout + done.stderr
        return done

    return run


def assert_all_is_measured(found: dict[str, Any], store: Kind) -> None:
    assert found["machine"].keys() >= {"processor", "cores", "python", "file system"}
    assert list(found["stores"]) == [store]
    measured = found["stores"][store]["figures"]
    for figure in ("publish alone", "publish, 200 callers", "publish_many", "drain, no-op async handler"):
        assert measured[figure]["median"]["ratio"] > 0
    for figure, numbers in measured.items():
        is_counted = figure.startswith(("drain", "raw: drain", "idle latency", "latency", "retention"))
        assert_nothing_lost(figure, numbers["median"], is_counted=is_counted)
    asked, judged = targets_of(store), [(one["figure"], one["number"]) for one in found["targets"]]
    of_quick_form = {figure.name for figure in figures(store, scale_of("quick"))}
    is_full = found["settings"]["form"] == "full"
    assert judged == [one for one in asked if is_full or one[0] in of_quick_form]
    assert found["fine"] is True


def targets_of(store: Kind) -> list[tuple[str, str]]:
    return [(target.figure, target.number) for target in targets.TARGETS if target.store == store]


def assert_nothing_lost(figure: str, numbers: dict[str, Any], *, is_counted: bool) -> None:
    if is_counted:
        assert (figure, numbers["lost"], numbers["repeated"]) == (figure, 0, 0)
    assert numbers.get("wrong_effects", 0) == 0


@pytest.mark.timeout(480)
def test_a_server_that_is_named_gets_databases_of_its_own_which_are_dropped(bench, postgres_server, tmp_path):
    folder = tmp_path / "results"
    done = bench("--dsn", postgres_server, "--full", "--events", "100", "--rounds", "1", "--results", str(folder))

    (path,) = folder.glob("*.json")
    found = json.loads(path.read_text())
    assert_all_is_measured(found, "postgresql")
    assert found["settings"]["command"] == "holdfast bench --full --events 100 --rounds 1"
    assert "Nothing was lost, nothing was handled twice." in done.stdout
    page = (folder / "latest.md").read_text()
    assert page == path.with_suffix(".md").read_text()
    images = re.findall(r"!\[.*\]\((.*)\)", page)
    assert [image.removeprefix(path.stem) for image in images] == [
        f"-postgresql-{plot}.svg" for plot in ("rates", "latency", "backlog", "history")
    ]
    for image in images:
        assert ET.parse(folder / image).getroot().tag.endswith("svg")
    assert databases(postgres_server) == set()


@pytest.mark.timeout(240)
def test_sqlite_is_measured_beside_the_file_that_is_named(bench, tmp_path):
    folder = tmp_path / "100% mine?"
    folder.mkdir()
    (folder / "shop.db").write_bytes(b"not to be opened, not even to see that it is no database")
    before = (folder / "shop.db").stat()

    # The folder of the benchmark is seen while it is there: it is beside the file, so on its disk.
    command = [*BENCH, "--dsn", f"sqlite:///{quote(str(folder / 'shop.db'))}", *TINY, "--json"]
    seen = set[str]()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as running:
        while running.poll() is None and len(seen) < 2:
            seen |= {path.name for path in folder.iterdir()}
        assert running.stdout is not None
        found = json.loads(running.stdout.read())
    assert running.returncode == 0
    assert_all_is_measured(found, "sqlite")
    assert [name for name in seen if name.startswith("holdfast-bench-")]
    assert [path.name for path in folder.iterdir()] == ["shop.db"]
    after = (folder / "shop.db").stat()
    assert (after.st_mtime_ns, after.st_atime_ns, after.st_ino) == (
        before.st_mtime_ns,
        before.st_atime_ns,
        before.st_ino,
    )
    assert [path.name for path in tmp_path.iterdir()] == [folder.name], "without --results nothing is written"


@pytest.mark.timeout(240)
def test_without_a_dsn_both_stores_are_measured_on_this_machine(bench, tmp_path):
    done = bench("--large", "--events", str(EVENTS), "--only", "backlog", "--results", "results")

    assert done.stdout.count("drain of a large backlog") == 4, "in the tables, and of two targets of one store"
    (path,) = (tmp_path / "results").glob("*-large.json")
    found = json.loads(path.read_text())
    assert (found["stores"]["postgresql"]["facts"]["fsync"], found["left_out"]) == ("on", {})
    assert found["stores"]["sqlite"]["figures"]["drain of a large backlog"]["median"]["lost"] == 0
    assert list(found["stores"]["postgresql"]["figures"]) == [
        "drain of a small backlog", "drain of a large backlog", "backlog taken over after a kill",
    ]  # fmt: skip
    assert not (tmp_path / "results" / "latest.md").exists(), "that is for all figures"


def test_a_role_without_the_right_is_told_which(bench, postgres_server):
    role, place = f"bench_{uuid4().hex[:8]}", urlsplit(postgres_server)
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f"create role {role} login password 's3cret'")
        dsn = urlunsplit(place._replace(netloc=f"{role}:s3cret@{place.netloc.rpartition('@')[2]}"))
        done = bench("--dsn", dsn, *TINY, code=1)
        assert f'alter role "{role}" createdb;' in done.stderr
        assert done.stderr.count("\n") == 1
        assert "s3cret" not in done.stderr

        # With that right and no other it can be measured.
        admin.execute(f"alter role {role} createdb")
        found = json.loads(bench("--dsn", dsn, "--only", "publish_many", *TINY, "--json").stdout)
        assert "the role may not" in found["stores"]["postgresql"]["facts"]["checkpoints"]
        admin.execute(f"drop role {role}")
    assert databases(postgres_server) == set()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--dsn", "mysql://host/shop"), 1, "use postgresql://"),
        (("--dsn", "sqlite://"), 1, "in memory"),
        (("--dsn", "sqlite:///nowhere/at/all.db"), 1, "does not exist"),
        (("--dsn", "sqlite:///shop.db", "--store", "postgresql"), 2, "leave one of them out"),
        (("--dsn", "postgresql://ann:s3cret@127.0.0.1:1/shop"), 1, "the server at 127.0.0.1:1 cannot be used now"),
        (("--dsn", "postgresql://host/shop?nonsense=1"), 1, "cannot be read"),
        (("--only", "no such thing"), 1, "no figure has 'no such thing' in its name"),
        (("--results", "/dev/null/results"), 1, "the folder for the results cannot be made"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(options, code, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["bench", *options])
    assert (done.exit_code, message in done.stderr, done.stderr.count("\n")) == (code, True, 1), done.stderr
    assert "s3cret" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_the_help_says_what_happens_to_a_server_that_is_named():
    text = " ".join(CliRunner().invoke(main, ["bench", "--help"]).stdout.split())
    for part in ("holdfast_bench_", "HOLDFAST_DSN does not count", "Exit code 1 if", "--large", "--json"):
        assert part in text


def test_what_was_lost_or_repeated_is_the_exit_code():
    def stores(**numbers: float) -> dict[str, Any]:
        return {"sqlite": {"facts": {"version": "3"}, "figures": {"drain": {"median": numbers}}}}

    for numbers in ({"lost": 1.0}, {"lost": 0.0, "repeated": 2.0}, {"wrong_effects": 1.0}):
        found = stores(**numbers)
        assert targets.flaws(found)
        with pytest.raises(click.exceptions.Exit) as ended:
            conclude({"stores": found, "verdicts": targets.verdicts(found), "fine": False}, None, as_json=False)
        assert ended.value.exit_code == 1
    assert targets.flaws(stores(lost=0.0, repeated=0.0, wrong_effects=0.0)) == []


def test_a_round_that_lost_everything_has_no_times_and_is_told():
    rounds = [{"lost": 5.0, "samples": 0.0}, {"lost": 0.0, "samples": 5.0, "p50_ms": 2.0}]
    assert report.summarise(rounds) == {"lost": 5.0, "samples": 5.0, "p50_ms": 2.0}


@contextmanager
def running(dsn: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """
    A benchmark of that server, as a terminal starts it: a group of processes of its own, and no signal ignored, as
    SIGINT is where a script has started these tests in the background.
    """
    command = [*AS_A_TERMINAL, *BENCH, "--dsn", dsn, "--events", "20000", "--rounds", "5"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("there", [1, 2], ids=["filling a template", "measuring its copy"])
@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_a_run_that_is_ended_early_leaves_nothing_behind(postgres_server, tmp_path, how, there):
    assert databases(postgres_server) == set()
    with running(postgres_server, tmp_path) as process:
        while len(databases(postgres_server)) < there:
            assert process.poll() is None
            time.sleep(0.02)
        if how == "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.terminate()
        assert process.stderr is not None
        errors = process.stderr.read()
        assert (process.wait(), errors.strip()) == (1, "Aborted!")
    assert databases(postgres_server) == set()


def test_already_the_first_process_that_measures_is_deaf_to_the_terminal():
    script = """
import signal
from holdfast.bench.apart import apart
print(signal.SIGINT in apart(signal.pthread_sigmask, signal.SIG_BLOCK, []))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_without_a_driver_sqlite_is_measured_and_one_line_says_how_to_add_postgresql(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    (packages,) = (tmp_path / "bare").glob("lib/python*/site-packages")
    for name in ("click", "msgspec"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        (packages / name).symlink_to(Path(spec.origin).parent)
    (packages / "holdfast.pth").write_text(f"{ROOT / 'src'}\n")

    def bare(*options: str) -> subprocess.CompletedProcess[str]:
        command = [tmp_path / "bare" / "bin" / "python", "-W", "error", "-m", "holdfast", "bench", *options]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    done = bare(*TINY, "--json")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"postgresql is left out: .*  pip install 'holdfast\[postgres\]'  .*\n", done.stderr)
    found = json.loads(done.stdout)
    assert_all_is_measured(found, "sqlite")
    assert "pip install" in found["left_out"]["postgresql"]
    for asked in (("--store", "postgresql"), ("--dsn", "postgresql://127.0.0.1:1/shop")):
        done = bare(*asked)
        assert (done.returncode, "pip install 'holdfast[postgres]'" in done.stderr) == (1, True), done.stderr
