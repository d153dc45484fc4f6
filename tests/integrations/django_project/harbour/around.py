"""What the project puts round its handlers, and what was seen there."""

from __future__ import annotations

import functools
import inspect
from typing import Any

seen: list[Any] = []


def noted(handler: Any) -> Any:
    if inspect.iscoroutinefunction(handler):
        return handler

    @functools.wraps(handler)
    def call(*given: Any) -> Any:
        seen.append("before")
        return handler(*given)

    return call
