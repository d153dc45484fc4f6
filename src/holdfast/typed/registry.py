"""Which types of events this process has declared, and which upcasters. Filled while modules are imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holdfast.typed.declared import Declared
    from holdfast.typed.upcasting import Upcaster

_events: dict[str, Declared] = {}
_upcasters: dict[str, dict[int, Upcaster]] = {}


def add_event(declared: Declared) -> None:
    """
    Raises:
        ConfigurationError: Another class has the name. The same one may come again, as when its module is reloaded.
    """
    known = _events.get(declared.name)
    if known is not None and _place(known.cls) != _place(declared.cls):
        raise ConfigurationError(
            f"the event {declared.name!r} is {_place(known.cls)} already, and cannot be {_place(declared.cls)} too: a "
            f"name has one type; where that changes, raise its version and write an upcaster"
        )
    _events[declared.name] = declared


def add_upcaster(name: str, version: int, upcaster: Upcaster) -> None:
    """
    Raises:
        ConfigurationError: Another function leads from that version already.
    """
    steps = _upcasters.setdefault(name, {})
    if (known := steps.get(version)) is not None and _place(known) != _place(upcaster):
        raise ConfigurationError(
            f"{_place(known)} leads from version {version} of {name!r} already, and {_place(upcaster)} cannot too"
        )
    steps[version] = upcaster


def declared_events() -> list[Declared]:
    """All that are declared, by name."""
    return [_events[name] for name in sorted(_events)]


def upcasters_of(name: str) -> Mapping[int, Upcaster]:
    """Those of an event, by the version that each leads from."""
    return _upcasters.get(name, {})


def _place(one: type | Callable[..., Any]) -> str:
    return f"{one.__module__}.{getattr(one, '__qualname__', type(one).__qualname__)}"
