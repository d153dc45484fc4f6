"""Help for tests, of Holdfast itself and of programs that use it. `holdfast.testing.plugin` is what pytest loads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.testing.clock import Clock
    from holdfast.testing.postgres import LocalPostgres, find_binaries
    from holdfast.testing.published import PublishedEvents
    from holdfast.testing.staging import Stage, stage

_HOMES = {
    "Clock": "clock",
    "LocalPostgres": "postgres",
    "PublishedEvents": "published",
    "Stage": "staging",
    "find_binaries": "postgres",
    "stage": "staging",
}

__all__ = ["Clock", "LocalPostgres", "PublishedEvents", "Stage", "find_binaries", "stage"]


def __getattr__(name: str) -> Any:
    """Import what is asked for: every run of pytest imports this package, whether it tests a bus or not."""
    if name not in _HOMES:
        raise AttributeError(f"module 'holdfast.testing' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"holdfast.testing.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
