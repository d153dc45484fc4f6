"""Pages of the reference: what docstrings say, put in by mkdocstrings."""

from __future__ import annotations

import inspect
import pkgutil
import re
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files


class Part(NamedTuple):
    """A page: its title, what it is about, and the names whose docstrings it shows."""

    title: str
    about: str
    names: tuple[str, ...]


PAGES = {
    "buses": Part(
        "Buses",
        "`EventBus` is for asyncio, `SyncEventBus` for threads; `global_bus` and `global_sync_bus` are ready made from the "
        "environment.",
        ("holdfast.EventBus", "holdfast.SyncEventBus", "holdfast.everywhere.GlobalBus", "holdfast.everywhere.GlobalSyncBus"),
    ),
    "events": Part(
        "Events",
        "What a handler is given, and what a publish returns.",
        ("holdfast.Event", "holdfast.Published"),
    ),
    "deliveries": Part(
        "Deliveries and policies",
        "What a handler is told of its attempt, what it may raise, and when it is tried again, held back or refused.",
        (
            "holdfast.Delivery", "holdfast.Retry", "holdfast.Reject", "holdfast.RetryPolicy", "holdfast.Limit",
            "holdfast.Quota",
        ),
    ),
    "integrations": Part(
        "Integrations",
        "Modules for frameworks. Each is imported by whoever uses it, and needs the extra of its name.",
        (
            "holdfast.integrations.starlette", "holdfast.integrations.fastapi", "holdfast.integrations.flask",
            "holdfast.integrations.dishka", "holdfast.integrations.svcs",
        ),
    ),
    "operating": Part(
        "Inspector and Operator",
        "What the command line and the dashboard stand on: looking, which never writes, and acting, which leaves an audit row.",
        ("holdfast.stores.inspector.Inspector", "holdfast.stores.operator.Operator"),
    ),
    "errors": Part(
        "Exceptions",
        "Every error that Holdfast raises by itself. What to do about each is on the page of errors.",
        ("holdfast.errors",),
    ),
}  # fmt: skip

_SHOWN = re.compile(r"^::: (\S+)$", re.MULTILINE)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    for name, part in PAGES.items():
        text = "\n\n".join([f"# {part.title}", part.about, *(f"::: {shown}" for shown in part.names)])
        files.append(File.generated(config, f"reference/{name}.md", content=f"{text}\n"))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """Docstrings announce an example by two colons on a line of their own."""
    return html.replace("<p>::</p>", "")


def spelled_out(markdown: str) -> str:
    """The page with signatures and docstrings in place of the names that mkdocstrings shows."""
    return _SHOWN.sub(lambda shown: "\n\n".join(_told(shown[1], pkgutil.resolve_name(shown[1]))), markdown)


def _told(name: str, thing: Any, level: int = 2) -> Iterator[str]:
    yield f"{'#' * level} {name}"
    if callable(thing):
        yield f"```python\n{name.rpartition('.')[2]}{_signature(thing)}\n```"
    yield inspect.getdoc(thing) or ""
    if isinstance(thing, ModuleType | type):
        for inner, member in _members(thing):
            yield from _told(inner, member, level + 1)


def _members(thing: ModuleType | type) -> Iterator[tuple[str, Any]]:
    """The public classes and functions of a module, or methods and properties of a class, its bases' first."""
    homes = [thing] if isinstance(thing, ModuleType) else [one for one in thing.__mro__ if one.__module__ != "builtins"]
    for home in reversed(homes):
        for name, member in vars(home).items():
            is_imported = isinstance(home, ModuleType) and getattr(member, "__module__", None) != home.__name__
            is_public = not name.startswith("_") and "Internal." not in (inspect.getdoc(member) or "")
            if is_public and not is_imported and isinstance(member, FunctionType | type | property):
                yield name, member


def _signature(thing: Any) -> str:
    """As it stands in the source, nearly: annotations without quotes, and no addresses of this process's memory."""
    try:
        signature = str(inspect.signature(thing))
    except (NameError, TypeError, ValueError):  # one that is not written in Python, or names types for checkers only
        return "(...)"
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", re.sub(r"<[^<>]* at 0x\w+>", "...", signature))
