"""``pytest --holdfast-faults``: tests run once more under each fault, and handlers are named for what fails only then."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from _pytest.runner import runtestprotocol

from holdfast.testing.faults import KINDS, Faults

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_PARAMETER = "holdfast_fault"
_PROPERTY = "holdfast_fault"
_PLAIN = "plain"
_NOBODY = "no handler was struck"

_MADE = pytest.StashKey[Faults]()
_ONLY = pytest.StashKey[set[str]]()


class Run(NamedTuple):
    """
    What a report tells of one run of a test; from other processes it comes as a list.

    ``test``: the test, the same under every fault. ``hit``: subscriptions that the fault has struck. ``guilty``: those of
    them whose fault it is that the test fails.
    """

    test: str
    kind: str
    hit: Collection[str] = ()
    guilty: Collection[str] = ()


class FaultRuns:
    """The hooks; registered where the option is given."""

    def __init__(self) -> None:
        self._plain_fails: set[str] = set()
        self._told: list[tuple[Run, pytest.TestReport]] = []

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "holdfast_stage" in metafunc.fixturenames:
            metafunc.parametrize(_PARAMETER, [None, *KINDS], ids=[_PLAIN, *KINDS], indirect=True)

    def faults(self, item: pytest.Item, kind: str) -> Faults:
        """What the fixture of that name gives *item*."""
        if (run := _run_of(item)) is not None and run.test in self._plain_fails:
            pytest.skip("it fails without a fault, too")
        made = item.stash[_MADE] = Faults(kind, only=item.stash.get(_ONLY, None))
        return made

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        run = _run_of(item)
        if run is None:
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        is_failed = any(report.failed for report in reports)
        if run.kind != _PLAIN:
            run = self._judged(run, item, nextitem, is_failed=is_failed)
        elif is_failed:
            self._plain_fails.add(run.test)
        for report in reports:
            self._tell(run, report)
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _judged(self, run: Run, item: pytest.Item, nextitem: pytest.Item | None, *, is_failed: bool) -> Run:
        hit = _hit_in(item)
        if not is_failed:
            return run._replace(hit=hit)
        guilty = hit if len(hit) < 2 or item.config.getoption("usepdb") else _alone(item, nextitem, hit)
        return run._replace(hit=hit, guilty=guilty)

    def _tell(self, run: Run, report: pytest.TestReport) -> None:
        report.user_properties.append((_PROPERTY, tuple(run)))
        if report.failed and run.kind != _PLAIN:
            names = ", ".join(run.guilty) or "no handler that is known"
            report.sections.append((f"Holdfast: {run.kind}", f"What happened: {KINDS[run.kind]}.\nIt was {names}."))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Here come the reports of other processes, too."""
        told: list[Any] = [value for name, value in report.user_properties if name == _PROPERTY]
        self._told += [(Run(*run), report) for run in told]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._told:
            terminalreporter.section("holdfast faults")
            for line in self._verdict():
                terminalreporter.write_line(line)

    def _verdict(self) -> Iterator[str]:
        plain_fails = {run.test for run, report in self._told if run.kind == _PLAIN and report.failed}
        guilty: dict[str, dict[str, str]] = defaultdict(dict)
        hit: dict[str, set[str]] = defaultdict(set)
        for run, report in self._told:
            for name in run.hit:
                hit[name].add(run.kind)
            if report.failed and run.kind != _PLAIN and run.test not in plain_fails:
                for name in run.guilty or (_NOBODY,):
                    guilty[name][report.nodeid] = run.kind
        for name, runs in sorted(guilty.items()):
            yield f"{name}{_reproach(name, runs.values())}:"
            yield from (f"    {kind:15}  {nodeid}" for nodeid, kind in runs.items())
        for name, kinds in sorted(hit.items()):
            if name not in guilty:
                yield f"{name} passed: {', '.join(kind for kind in KINDS if kind in kinds)}"
        if not hit:
            yield f"{_NOBODY}: no test has drained a bus with a subscription"


def _reproach(name: str, kinds: Collection[str]) -> str:
    if name == _NOBODY:
        return ", and tests fail all the same"
    return " depends on the order of unrelated keys" if set(kinds) == {"reorder"} else " is not idempotent"


def _run_of(item: pytest.Item) -> Run | None:
    """None for a test that is not run under faults."""
    call: Any = getattr(item, "callspec", None)
    if call is None or _PARAMETER not in call.params:
        return None
    others = [f"{name}={index}" for name, index in sorted(call.indices.items()) if name != _PARAMETER]
    function = getattr(item, "originalname", item.name)
    assert item.parent is not None
    return Run(f"{item.parent.nodeid}::{function} {' '.join(others)}", call.params[_PARAMETER] or _PLAIN)


def _hit_in(item: pytest.Item) -> list[str]:
    return sorted(item.stash[_MADE].hit) if _MADE in item.stash else []


def _alone(item: pytest.Item, nextitem: pytest.Item | None, hit: Collection[str]) -> list[str]:
    """
    Which of the subscriptions that were struck make the test fail when they are struck alone.

    A worker that is gone may take with it what another handler was about, which is struck, too: so whoever was struck while
    the test passed is innocent.
    """
    among, innocent = set[str](), set[str]()
    for name in hit:
        item.stash[_ONLY] = {name}
        is_failed = any(report.failed for report in runtestprotocol(item, log=False, nextitem=nextitem))
        (among if is_failed else innocent).update(_hit_in(item))
    del item.stash[_ONLY]
    return sorted(among - innocent or hit)
