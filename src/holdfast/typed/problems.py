"""What can be the matter with a typed event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import MalformedEvent, Retry

if TYPE_CHECKING:
    from uuid import UUID


class Misfit(Exception):
    """A payload is not what a type says. No value of it stands in *path* and *problem*."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem


class UndecodableEvent(MalformedEvent):
    """A stored event is not what the type of its name says, or could not be brought up to it; its delivery ends dead.

    Attributes:
        name: Of the event.
        version: By which it was published.
        path: Where in it, such as ``payload.items[3].price``.
    """

    def __init__(self, event_id: UUID, name: str, version: int, path: str, problem: str) -> None:
        super().__init__(event_id, path, problem)
        self.args = (event_id, name, version, path, problem)
        self.name, self.version, self.path = name, version, path

    def __str__(self) -> str:
        return f"{self.path} of event {self.event_id} ({self.name}, version {self.version}) {self.problem}"


class HeldEvent(Retry):
    """The program that runs here does not know an event yet: it is put off, and its key waits behind it."""

    def __init__(self, problem: str, after: float) -> None:
        super().__init__(after)
        self.args = (problem, after)
        self.problem = problem

    def __str__(self) -> str:
        return self.problem
