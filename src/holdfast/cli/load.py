"""Finding what ``MODULE:NAME`` names, from the current folder: a bus, or an application."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli.commands import Failure, WrongUsage

if TYPE_CHECKING:
    from holdfast import EventBus
    from holdfast.cli.options import Target


def bus_for(place: str, target: Target) -> EventBus:
    """
    The bus at *place*, which takes the store given on the command line unless it names one itself.

    Raises:
        WrongUsage: It names another one.
    """
    if "dsn" in target.given:
        os.environ["HOLDFAST_DSN"] = target.dsn
    bus = load_bus(place)
    for name, asked, own in (("dsn", target.dsn, bus.dsn), ("schema", target.schema, bus.schema)):
        if name in target.given and asked != own:
            raise WrongUsage(
                f"--{name} says {asked}, but {place} is made for {own}: leave --{name} out, or change the bus"
            )
    return bus


def load_bus(place: str) -> EventBus:
    """
    Import ``package.module:bus`` (``bus`` where nothing follows the colon) and return the bus.

    Raises:
        Failure: No such module or attribute, it is no EventBus, or the module fails while it is imported.
    """
    from holdfast import EventBus, SyncEventBus

    found = _found(place, "bus", "EventBus")
    if isinstance(found, SyncEventBus):
        return found.async_bus
    if not isinstance(found, EventBus):
        raise WrongUsage(f"{place} is of type {type(found).__name__}, not an EventBus")
    return found


def load_app(place: str) -> Any:
    """
    Import ``package.module:app`` (``app`` where nothing follows the colon) and return the ASGI application.

    Raises:
        Failure: As `load_bus`; it cannot be called.
    """
    found = _found(place, "app", "application")
    if not callable(found) or isinstance(found, type):
        raise WrongUsage(f"{place} is no ASGI application: name an Inbox, a Feed, or what they are mounted in")
    return found


def _found(place: str, usual: str, kind: str) -> object:
    module_name, _, attribute = place.partition(":")
    if not module_name or module_name.endswith(".py"):
        raise WrongUsage(
            f"{place!r} names no {usual}: write MODULE:{usual.upper()}, such as shop.events:{usual} "
            f"(no .py, dots for folders)"
        )
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    module = _imported(module_name)
    try:
        return reduce(getattr, (attribute or usual).split("."), module)
    except AttributeError as error:
        raise WrongUsage(
            f"the module {module_name} has no {attribute or usual!r}: write MODULE:NAME of your {kind}"
        ) from error


def _imported(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise WrongUsage(f"there is no module {name!r} in {Path.cwd()} or on the Python path") from error
        raise _broken(name, error) from error
    except Exception as error:
        if os.environ.get("HOLDFAST_DEBUG"):
            raise
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> Failure:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return Failure(f"importing {name} failed with {type(error).__name__}: {error}{place}")
