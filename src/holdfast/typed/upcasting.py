"""From an older version of an event to the present one, step by step. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any

from holdfast.names import type_name
from holdfast.typed.problems import Misfit

if TYPE_CHECKING:
    from collections.abc import Collection

Upcaster = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Takes the payload of a version and returns that of the next one. It may change what it is given."""


def missing_steps(steps: Collection[int], oldest: int, version: int) -> list[int]:
    """The versions from *oldest* on that no step leads away from, up to *version*."""
    return [step for step in range(oldest, version) if step not in steps]


def brought_up(payload: Any, steps: Mapping[int, Upcaster], version: int, to: int) -> dict[str, Any]:
    """
    The payload of *version* as one of the version *to*.

    Raises:
        Misfit: It is no object, or a step failed, or returned something else.
    """
    for step in range(version, to):
        if not isinstance(payload, dict):
            raise Misfit("payload", "is no object, which upcasters take")
        upcaster = steps[step]
        try:
            payload = upcaster(payload)
        except Exception as error:  # noqa: BLE001 - whatever it is, the function is the program's own, and pure
            # Not its text, nor the error itself: there may be a value of the payload in them.
            frame = extract_tb(error.__traceback__)[-1]
            where = f"{type_name(error)} at line {frame.lineno} of {Path(frame.filename).name}"
            raise Misfit("payload", f"made the upcaster from version {step} raise {where}") from None
        if not isinstance(payload, Mapping):
            raise Misfit("payload", f"was made {type_name(payload)} by the upcaster from version {step}: return a dict")
        payload = dict(payload)
    return payload  # type: ignore[no-any-return]
