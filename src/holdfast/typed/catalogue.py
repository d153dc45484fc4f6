"""Declared events as one page for people: it needs nothing beside itself, and is the same for the same events."""

from __future__ import annotations

from html import escape
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.patterns import matches
from holdfast.typed.documents import Field, description_of, fields_of, steps_of
from holdfast.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.subscription import Consumer
    from holdfast.typed.declared import Choice, Declared


def catalogue(events: Sequence[Declared], consumers: Sequence[Consumer], *, title: str) -> str:
    """
    The page, as HTML.

    Args:
        consumers: The subscriptions, which are named at the events that they receive.
        title: Of the program.

    Raises:
        ConfigurationError: A type has no schema.
    """
    style = (Path(__file__).parent / "catalogue.css").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}: events</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"{_contents(events, title)}<main>\n{''.join(_article(one, consumers) for one in events)}</main>\n</body>\n</html>\n"
    )


def _contents(events: Sequence[Declared], title: str) -> str:
    groups = "".join(
        f"<h2>{escape(beginning)}</h2>\n<ul>\n{''.join(map(_link, group))}</ul>\n"
        for beginning, group in groupby(events, lambda event: event.name.partition(".")[0])
    )
    return (
        f'<nav aria-label="Events">\n<h1>{escape(title)}</h1>\n<p>{counted(len(events), "event")}</p>\n{groups}</nav>\n'
    )


def _link(event: Declared) -> str:
    return f'<li><a href="#{escape(event.name)}" class="name">{escape(event.name)}</a></li>\n'


def _article(event: Declared, consumers: Sequence[Consumer]) -> str:
    name, said = escape(event.name), description_of(event)
    about = f'<p class="about">{escape(said)}</p>\n' if said else ""
    return (
        f'<article id="{name}">\n<header><h2 class="name"><a href="#{name}">{name}</a></h2>'
        f'<span class="version">version {event.version}</span></header>\n'
        f"{about}{_facts(event, consumers)}{_table(fields_of(event))}</article>\n"
    )


def _facts(event: Declared, consumers: Sequence[Consumer]) -> str:
    receivers = [one.name for one in consumers if any(matches(pattern, event.name) for pattern in one.patterns)]
    facts = {
        "Type": f"<code>{escape(f'{event.cls.__module__}.{event.cls.__qualname__}')}</code>",
        "Key": _choice(event.key),
        "Tenant": _choice(event.tenant),
        "Received by": "".join(f'<code class="chip">{escape(name)}</code>' for name in receivers),
        "From version": _steps(event),
    }
    shown = "".join(f"<dt>{word}</dt><dd>{fact}</dd>\n" for word, fact in facts.items() if fact)
    return f"<dl>\n{shown}</dl>\n"


def _choice(choice: Choice) -> str:
    if choice is None:
        return ""
    return f"<code>{escape(choice)}</code>" if isinstance(choice, str) else "made by a function"


def _steps(event: Declared) -> str:
    steps = [
        f"<li>{version} to {version + 1}{escape(f': {said}' if said else '')}</li>" for version, said in steps_of(event)
    ]
    return f"<ul>{''.join(steps)}</ul>" if steps else ""


def _table(fields: Sequence[Field]) -> str:
    if not fields:
        return ""
    rows = "".join(map(_row, fields))
    head = "<tr><th>Field</th><th>Type</th><th>Needed</th><th>Meaning</th></tr>"
    return f'<div class="fields"><table>\n<thead>{head}</thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n'


def _row(field: Field) -> str:
    above, dot, name = field.path.rpartition(".")
    path = f'<span class="depth">{escape(above + dot)}</span>{escape(name)}'
    default = "" if field.default is None else f", else <code>{escape(field.default)}</code>"
    needed = '<span class="needed">yes</span>' if field.required else f'<span class="open">no{default}</span>'
    rules = f"<small>{escape(field.rules)}</small>" if field.rules else ""
    return (
        f"<tr><td><code>{path}</code></td><td>{escape(field.type)}{rules}</td><td>{needed}</td>"
        f"<td>{escape(field.description)}</td></tr>\n"
    )
