"""The answers of JetStream to what is published: which message each one is about, and what it says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from nats import errors as nats_errors
from nats.js import errors as js_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.aio.msg import Msg


class Inbox:
    """
    Where the stream's answers to what is published arrive.

    The client has this too, with a future, a semaphore and bytes of chance for each message: twice the cost.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix, self._last = prefix, 0
        self._expected: dict[str, Answers] = {}

    @property
    def subject(self) -> str:
        return f"{self._prefix}.*.*"

    def expect(self, count: int) -> Answers:
        self._last += 1
        name = str(self._last)
        answers = self._expected[name] = Answers(f"{self._prefix}.{name}", count, lambda: self._expected.pop(name))
        return answers

    async def take(self, message: Msg) -> None:
        _, name, number = message.subject.rsplit(".", 2)
        if (answers := self._expected.get(name)) is not None:
            answers.take(int(number), _error_in(message))

    async def lost(self) -> None:
        """The connection is gone, and with it every answer."""
        for answers in self._expected.values():
            if not answers.complete.done():
                answers.complete.set_exception(nats_errors.ConnectionClosedError())


class Answers:
    """What the stream says of messages that were published together."""

    def __init__(self, subject: str, count: int, forget: Callable[[], object]) -> None:
        self.complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.missing, self.errors = count, dict[int, Exception]()
        self._subject, self._forget = subject, forget

    def place(self, number: int) -> str:
        """The subject on which the answer for that message is expected."""
        return f"{self._subject}.{number}"

    def take(self, number: int, error: Exception | None) -> None:
        self.missing -= 1
        if error is not None:
            self.errors[number] = error
        if self.missing == 0 and not self.complete.done():
            self.complete.set_result(None)

    def forget(self) -> None:
        """Nobody waits for them any more."""
        self._forget()
        if not self.complete.cancel() and not self.complete.cancelled():
            self.complete.exception()


class _Answer(msgspec.Struct):
    error: dict[str, Any] | None = None


def _error_in(answer: Msg) -> Exception | None:
    if answer.headers is not None and answer.headers.get("Status") == "503":  # nobody is there who could answer
        return js_errors.NoStreamResponseError()
    try:
        error = msgspec.json.decode(answer.data, type=_Answer).error
        if error is None:
            return None
        js_errors.APIError.from_error(error)
    except js_errors.APIError as refused:
        return refused
    except (msgspec.DecodeError, msgspec.ValidationError) as unreadable:
        return nats_errors.ProtocolError(str(unreadable))
    return js_errors.APIError(**error)
