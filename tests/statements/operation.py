"""An operation, what it needs, and the way to break it at each of its statements."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.errors import StoreUnavailable
from tests.statements.state import contradictions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.contract.harness import Scene
    from tests.statements.ground import Ground
    from tests.statements.state import State

AT_ONCE = 10.0
"""Seconds within which an operation ends when something breaks, on a machine that is busy with other things."""


async def nothing(scene: Scene) -> None:
    """Nothing has to be there before."""


@dataclass(frozen=True)
class Operation:
    """
    Args:
        run: Does it, on the store that meets the faults; returns what can be compared between runs.
        prepare: Makes what has to be there before; what it returns is given to *run*.
        stages: How many states, the first and the last among them, it shows to others without a fault. None: many.
        raises: What it may raise beside StoreUnavailable.
        forgives: It may succeed although a statement failed, or say what it found instead.
        tells: Its error says whether it may have been done all the same.
        leaves_out: Tables that a repeat from halfway does not bring to where they would be without a fault.
        drops_days: Partitions of the log are gone afterwards.
        cancels: It can be cancelled.
    """

    name: str
    run: Callable[[Ground, Any], Awaitable[Any]]
    prepare: Callable[[Scene], Awaitable[Any]] = nothing
    stages: int | None = 2
    raises: tuple[type[BaseException], ...] = ()
    forgives: bool = False
    tells: bool = False
    leaves_out: frozenset[str] = field(default=frozenset())
    drops_days: bool = False
    cancels: bool = True


class Reference(NamedTuple):
    """What happens without a fault."""

    stages: list[State]
    results: tuple[Any, Any]
    once: State
    twice: State
    statements: int


class Fault(NamedTuple):
    """At which statement, what, and whether it stays that way."""

    number: int
    kind: Any
    lasting: bool = False

    @property
    def is_cancel(self) -> bool:
        return str(self.kind).startswith("cancel")


class Outcome(NamedTuple):
    result: Any
    error: BaseException | None


async def rehearse(ground: Ground, operation: Operation) -> Reference:
    """Do it twice without a fault, and look before each statement."""
    await operation.run(ground, await prepared(ground, operation))  # what only the first time takes is left out
    given = await prepared(ground, operation)
    stages: list[State] = []

    def look() -> None:
        if (state := ground.look()) not in stages:
            stages.append(state)

    ground.faults.watch(look)
    first = await operation.run(ground, given)
    statements = ground.faults.heal()
    look()
    once = ground.look()
    second = await operation.run(ground, given)
    if operation.stages is not None:
        assert len(stages) == operation.stages, f"{len(stages)} stages: {[differing(one, once) for one in stages]}"
    return Reference(stages, (first, second), once, ground.look(), statements)


async def prepared(ground: Ground, operation: Operation) -> Any:
    await ground.empty(days=operation.drops_days)
    return await operation.prepare(ground.scene)


async def broken(
    ground: Ground, operation: Operation, reference: Reference, fault: Fault, *, patience: float = AT_ONCE
) -> bool:
    """Do it while *fault* strikes, judge what is left, heal, and do it again. False: the statement never came."""
    try:
        return await _broken(ground, operation, reference, fault, patience)
    except BaseException as error:
        error.add_note(f"{operation.name}, {ground.kind}, {fault}")
        raise


async def _broken(ground: Ground, operation: Operation, reference: Reference, fault: Fault, patience: float) -> bool:
    given = await prepared(ground, operation)
    ground.faults.break_at(fault.number, fault.kind, lasting=fault.lasting)
    outcome = await attempt(ground, operation, given, patience)
    met = ground.faults.heal()
    await ground.require_nothing_held()
    found = ground.look()
    if not met:
        assert outcome.error is None, outcome.error
        assert outcome.result == reference.results[0]
        assert differing(found, reference.once) == {}
        return False
    judge(operation, reference, fault, outcome, found)
    # What the engine, or whoever called, does next.
    async with asyncio.timeout(AT_ONCE):
        again = await operation.run(ground, given)
    await ground.require_nothing_held()
    judge_repeat(operation, reference, found, again, ground.look())
    return True


async def attempt(ground: Ground, operation: Operation, given: Any, patience: float) -> Outcome:
    task = asyncio.ensure_future(operation.run(ground, given))
    ground.faults.aim(task)
    _, running = await asyncio.wait({task}, timeout=patience)
    assert not running, f"{operation.name} hangs: {task.get_stack()}"
    if task.cancelled():
        return Outcome(None, asyncio.CancelledError())
    return Outcome(None if task.exception() else task.result(), task.exception())


def judge(operation: Operation, reference: Reference, fault: Fault, outcome: Outcome, found: State) -> None:
    """After a fault: a typed error, and a state that others may see without one as well."""
    assert contradictions(found) == []
    closest = min((differing(found, stage) for stage in reference.stages), key=len)
    assert closest == {}, f"half done; {outcome.error!r}"
    error = outcome.error
    if isinstance(error, asyncio.CancelledError):
        assert fault.is_cancel
        return
    if error is None:
        assert fault.is_cancel or operation.forgives or outcome.result == reference.results[0]
        assert operation.forgives or differing(found, reference.once) == {}, "said to be done, and is not"
        return
    assert isinstance(error, (StoreUnavailable, *operation.raises)), repr(error)
    if operation.tells and isinstance(error, StoreUnavailable) and not error.maybe_done:
        assert found == reference.stages[0], f"said not to be done, and is: {error}"


def judge_repeat(operation: Operation, reference: Reference, before: State, again: Any, found: State) -> None:
    """After the repeat: as if the first try had not been, or had succeeded."""
    assert contradictions(found) == []
    first, second = reference.results
    ends = {"once": (first, reference.once), "twice": (second, reference.twice)}
    if before == reference.stages[0] and operation.stages != 1:
        del ends["twice"]
    elif before == reference.once:
        del ends["once"]
    differences = {}
    for name, (result, state) in ends.items():
        difference = differing(found, state, operation.leaves_out)
        if not difference and (again == result or operation.stages is None):
            return
        differences[name] = difference or f"returned {again!r} in place of {result!r}"
    raise AssertionError(f"repeated: {differences}")


def differing(found: State, expected: State, leaves_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The tables that differ, with what was found and what was expected."""
    return {
        table: (rows, expected[table])
        for table, rows in found.items()
        if rows != expected[table] and table not in leaves_out
    }
