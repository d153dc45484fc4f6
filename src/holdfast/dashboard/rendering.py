"""From records to HTML: one environment in which everything is escaped, and the words for numbers and times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from holdfast.printable import clean, clean_json
from holdfast.wording import counted, lasted, sized

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

SHOWN_MAX = 100_000
"""Characters of a payload, a message or a traceback that a page shows."""

_CELL_MAX = 200


@dataclass(frozen=True, slots=True)
class View:
    """
    What a page shows. The same *data* is its JSON twin.

    Attributes:
        template: Name of the template, without its ending.
        title: For the browser's tab and the heading.
        data: What the page is about.
        extra: What the HTML alone needs, such as the fields of its form.
    """

    template: str
    title: str
    data: Mapping[str, Any]
    extra: Mapping[str, Any]


def make_environment() -> Environment:
    """The templates. Every value is escaped, and what could turn or hide text is shown by its number."""
    environment = Environment(
        loader=PackageLoader("holdfast.dashboard"), autoescape=True, undefined=StrictUndefined, finalize=readable,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "counted": counted,
        "lasted": lambda seconds: None if seconds is None else lasted(seconds),
        "sized": sized,
        "number": number,
        "percent": percent,
        "time": time_element,
        "pretty": pretty,
        "compact": compact,
        "cut": cut,
        "short": short_id,
        "first": first_part,
        "query": urlencode,
    }
    return environment


def render(environment: Environment, view: View, context: Mapping[str, Any], *, layout: str = "base.html") -> str:
    """The whole page; with *layout* ``live.html`` only what refreshes itself."""
    known = {**context, **view.extra, **view.data, "title": view.title, "layout": layout}
    return environment.get_template(f"{view.template}.html").render(known)


def readable(value: Any) -> Any:
    """What stands in a page for *value*, before it is escaped."""
    match value:
        case Markup():
            return value
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case str():
            return clean(value, lines=True)
        case _:
            return value


def number(value: float | None) -> str | None:
    """``12,345``; of what is small, two digits."""
    if value is None:
        return None
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def percent(part: float | None) -> str | None:
    """A part of one; what is there is never shown as nothing."""
    if part is None:
        return None
    return "< 0.1 %" if 0 < part < 0.001 else f"{part * 100:.2g} %"


def time_element(value: datetime | None) -> Any:
    """A time in UTC, in an element that the page's script can turn into local time, or an age."""
    if value is None:
        return None
    utc = value.astimezone(UTC)
    element = Markup('<time datetime="{}">{}</time>')
    return element.format(utc.isoformat(timespec="milliseconds"), f"{utc:%Y-%m-%d %H:%M:%S}Z")


def indented(value: Any) -> str:
    """The whole of *value* as indented JSON, in which nothing hides."""
    return clean_json(_indented(value))


def pretty(value: Any) -> str:
    """The same, as much of it as a page shows. Cut before it is cleaned, which takes its time."""
    return clean_json(first_part(_indented(value)))


def _indented(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def compact(value: Any) -> str:
    """*value* as JSON on one line, as much of it as a page shows."""
    return clean_json(first_part(msgspec.json.encode(value).decode()))


def short_id(value: UUID | None) -> str | None:
    """The parts of an id in which those of one moment differ, too."""
    return None if value is None else f"{str(value)[:8]}…{str(value)[-6:]}"


def cut(text: str | None, length: int = _CELL_MAX) -> str | None:
    """The beginning of *text*, for a cell: one line."""
    if text is None:
        return None
    line = " ".join(text[: length + 1].split())
    return line if len(text) <= length else f"{line[: length - 1]}…"


def first_part(text: str, length: int = SHOWN_MAX) -> str:
    """As much of *text* as a page shows."""
    return text if len(text) <= length else f"{text[:length]}\n… {len(text) - length:,} more characters"
