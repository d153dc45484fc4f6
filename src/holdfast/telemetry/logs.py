"""Log records that say which event they are about, the engine's own and those of handlers; and a formatter in JSON."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

from holdfast.context import CURRENT
from holdfast.printable import clean_json

FIELDS = ("event_id", "event_name", "subscription", "tenant_id", "correlation_id", "attempt")
"""What records get as attributes, as far as it is known."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class DeliveryFilter(logging.Filter):
    """
    Gives every record that is made while an event is handled the attributes `FIELDS`, whoever's logger it is.

    Add it to a handler of `logging`: a logger's filter does not see what its children log. In threads it knows the event
    as well, if they run in a copy of the context, as ``asyncio.to_thread`` and Holdfast's own for plain functions do.
    Before a ``QueueHandler`` it belongs to that one, which is still in the thread that logs.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        delivery = CURRENT.get()
        if delivery is not None:
            event = delivery.event
            known: dict[str, Any] = {
                "event_id": str(event.id), "event_name": event.name, "subscription": delivery.subscription,
                "tenant_id": event.tenant_id, "correlation_id": event.correlation_id, "attempt": delivery.attempt,
            }  # fmt: skip
            for name, value in known.items():
                if not hasattr(record, name):  # the engine's own say it by themselves
                    setattr(record, name, value)
        return True


class JsonFormatter(logging.Formatter):
    """
    One JSON object a line: ``time`` (UTC), ``level``, ``logger``, ``message``, what was given as ``extra`` and what
    `DeliveryFilter` found, ``error`` and ``traceback``. No text in it can forge a line.
    """

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        said |= {name: value for name, value in vars(record).items() if name not in _STANDARD and name not in said}
        if record.exc_info and record.exc_info[0] is not None:
            said |= {"error": record.exc_info[0].__qualname__, "traceback": self.formatException(record.exc_info)}
        if record.stack_info:
            said["stack"] = self.formatStack(record.stack_info)
        return clean_json(_encode(said))


def _encode(said: dict[str, Any]) -> str:
    try:
        return _ENCODER.encode(said).decode()
    except Exception:  # noqa: BLE001 - a value of somebody's own must not cost the record
        return _ENCODER.encode({name: repr(value) for name, value in said.items()}).decode()


def _as_text(value: Any) -> str:
    return str(value)


_ENCODER = msgspec.json.Encoder(enc_hook=_as_text)
