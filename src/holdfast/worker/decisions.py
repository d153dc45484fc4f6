"""What becomes of a delivery once its handler has run. Pure: touches nothing."""

from __future__ import annotations

import traceback as tracebacks
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from holdfast.errors import MalformedEvent, Reject, Retry
from holdfast.stores.values import State

if TYPE_CHECKING:
    from holdfast.subscription import RetryPolicy

PUT_OFFS_MAX = 1000
_MESSAGE_LENGTH, _TRACEBACK_LENGTH = 2_000, 20_000

Outcome = Literal["failed", "timeout", "rejected", "put off", "worker lost", "unreadable"]


class AttemptTimeout(TimeoutError):
    """The handler took longer than the subscription's ``timeout``."""


class WorkerLost(RuntimeError):
    """The worker vanished while it handled this event, as often as attempts are allowed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What shall be written: the state of the delivery row, when it is due again, and how the attempt is recorded."""

    state: State
    attempts: int
    put_offs: int
    due_in: float
    outcome: Outcome
    reason: str


def verdict_on(error: BaseException, *, attempts: int, put_offs: int, policy: RetryPolicy, jitter: float) -> Verdict:
    """
    Decide after a failed attempt.

    Args:
        error: What the handler raised.
        attempts: Failed attempts, this one included; without it when the handler raised Retry.
        put_offs: Times that Retry was raised before.
        jitter: 0 to 1.
    """
    reason = one_line(error)
    match error:
        case Retry(after=after) if put_offs < PUT_OFFS_MAX:
            wait = policy.delay(1, jitter) if after is None else after
            return Verdict(State.RETRYING, attempts - 1, put_offs + 1, wait, "put off", reason)
        case Retry():
            reason = f"put off {put_offs} times"
            return Verdict(State.DEAD, attempts - 1, put_offs, 0.0, "rejected", reason)
        case Reject():
            return Verdict(State.DEAD, attempts, put_offs, 0.0, "rejected", clean(error.reason)[:_MESSAGE_LENGTH])
        case MalformedEvent():
            return Verdict(State.DEAD, attempts, put_offs, 0.0, "unreadable", reason)
        case WorkerLost():
            return Verdict(State.DEAD, attempts, put_offs, 0.0, "worker lost", reason)
    outcome: Outcome = "timeout" if isinstance(error, AttemptTimeout) else "failed"
    if attempts >= policy.max_attempts or not policy.retries(error):
        return Verdict(State.DEAD, attempts, put_offs, 0.0, outcome, reason)
    return Verdict(State.RETRYING, attempts, put_offs, policy.delay(attempts, jitter), outcome, reason)


def probed(error: BaseException, attempts: int, put_offs: int, wait: float) -> Verdict:
    """Decide after a probe that failed: it is tried again later, with no attempt counted."""
    return Verdict(State.RETRYING, attempts - 1, put_offs, wait, "put off", one_line(error))


def clean(text: str) -> str:
    """*text* without what a database cannot store: NUL and lone surrogates."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def one_line(error: BaseException) -> str:
    """Type and message of an error, for people: at most 2,000 characters."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - an error whose own text fails must not take the worker with it
        message = "(its text cannot be had)"
    return clean(f"{type(error).__name__}: {message}" if message else type(error).__name__)[:_MESSAGE_LENGTH]


def trace(error: BaseException) -> str:
    """The traceback of an error, at most 20,000 characters, of which the last ones matter most."""
    return clean("".join(tracebacks.format_exception(error)))[-_TRACEBACK_LENGTH:]
