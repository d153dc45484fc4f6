"""What commands print: tables, JSON, progress. Nothing from the store can move the cursor or colour the terminal."""

from __future__ import annotations

import re
import shutil
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdfast.cli.table import Column, sentence_lines, table_lines
from holdfast.printable import clean, clean_json
from holdfast.wording import lasted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_PASSWORD = re.compile(r"(//[^:/@\s]*:)\S*(?=@)|(password=)(?:'[^']*'|[^\s&'\"]+)", re.IGNORECASE)
_COMMAND = re.compile(
    r"\bholdfast (?:(?:dead|subscriptions) (?:list|retry|discard|rename|remove|repartition)"
    r"|indexes add|doctor|erase|events?|leases|migrate|pause|replay|resume|retention|seal|skip|status|storage|subscriptions|verify|workers)\b"
)


def without_password(text: str) -> str:
    """*text* with whatever looks like the password of a DSN blanked."""
    return _PASSWORD.sub(lambda match: f"{match[1] or match[2]}***", text)


def advised(text: str) -> str:
    """*text* whose ``holdfast ...`` commands carry the options that lead to the store of this command."""
    context = click.get_current_context(silent=True)
    target = context.find_root().obj if context else None
    return _COMMAND.sub(lambda match: match[0] + target.options, text) if target else text


def show_json(value: Any) -> None:
    """Print *value* as JSON, indented."""
    click.echo(clean_json(msgspec.json.format(msgspec.json.encode(value), indent=2).decode()))


def show_table(columns: Sequence[Column | str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """Print a table: on a terminal to fit it, with ages in place of times; elsewhere as wide as it comes."""
    if not rows:
        click.echo(advised(empty))
        return
    width = terminal_width()
    texts = [[ago(cell) if width and isinstance(cell, datetime) else text_of(cell) for cell in row] for row in rows]
    named = [Column(column) if isinstance(column, str) else column for column in columns]
    for line in table_lines(named, texts, width):
        click.echo(line)


def show_sentence(begin: str, text: str) -> None:
    """Print *text* behind *begin*, and below it where it takes several lines."""
    indent = len(click.unstyle(begin))
    first, *others = sentence_lines(clean(text), terminal_width(), indent=indent)
    for line in (begin + first, *others):
        click.echo(line)


def terminal_width() -> int | None:
    """None where there is no terminal, and so no bound."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def text_of(value: Any) -> str:
    """A value as a cell."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
        case float():
            return lasted(value)
        case tuple() | list():
            return clean(", ".join(str(one) for one in value)) or "-"
        case _:
            return clean(str(value))


def ago(moment: datetime) -> str:
    """A time as seen from now."""
    seconds = round((datetime.now(UTC) - moment).total_seconds())
    if seconds == 0:
        return "now"
    return f"{lasted(seconds)} ago" if seconds > 0 else f"in {lasted(-seconds)}"


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is changed for good; aborts unless the answer is yes."""
    if not yes:
        click.confirm(clean(question), abort=True, err=True)


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, shown on a terminal only; the function given takes how many are done so far."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ModuleNotFoundError:
        with click.progressbar(length=total, label=label, file=sys.stderr) as bar:
            yield lambda done: bar.update(done - bar.pos)
        return
    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(label, total=total)
        yield lambda done: shown.update(task, completed=done)
