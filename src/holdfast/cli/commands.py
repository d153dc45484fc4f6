"""The group of all commands, and how errors end."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import click

from holdfast import __version__
from holdfast.cli.output import advised, without_password
from holdfast.errors import HoldfastError, InvalidInput
from holdfast.printable import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOMES = {
    "audit": "audit",
    "bench": "bench",
    "completion": "completion",
    "dashboard": "dashboard",
    "dead": "dead",
    "demo": "demo",
    "dev": "dev",
    "doctor": "doctor",
    "erase": "erase",
    "event": "status",
    "events": "status",
    "export": "export",
    "indexes": "indexes",
    "ingest": "relay",
    "keys": "keys",
    "leases": "status",
    "migrate": "migrate",
    "move": "move",
    "pause": "replay",
    "publish": "publish",
    "put-back": "putting_back",
    "relay": "relay",
    "replay": "replay",
    "resume": "replay",
    "retention": "retention",
    "roles": "roles",
    "schemas": "schemas",
    "seal": "seal",
    "scheduled": "schedules",
    "schedules": "schedules",
    "serve": "serve",
    "skip": "replay",
    "status": "status",
    "storage": "storage",
    "subscriptions": "subscriptions",
    "verify": "seal",
    "worker": "worker",
    "workers": "status",
}


class Failure(click.ClickException):
    """An error as a person at a terminal needs it: one line, nothing secret in it; exit code 1."""

    def __init__(self, message: str) -> None:
        super().__init__(advised(message))

    def show(self, file: Any = None) -> None:
        line = clean(without_password(" ".join(self.message.split())))
        click.echo(f"{click.style('holdfast:', fg='red')} {line}", file=file or sys.stderr, err=file is None)


class WrongUsage(Failure):
    """The same for what the person gave; exit code 2."""

    exit_code = 2


class Commands(click.Group):
    """A group whose commands are imported by name, and whose errors are one clear line."""

    homes: ClassVar[dict[str, str]] = _HOMES

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        return sorted(self.homes)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        home = self.homes.get(cmd_name)
        if home is None:
            return None
        module = importlib.import_module(f"holdfast.cli.{home}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.homes and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], self.homes, n=3)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _one_style():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _one_style():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click knows what to do, also where the reader of our output has left, as "head" does
        except Exception as error:
            if os.environ.get("HOLDFAST_DEBUG"):
                raise
            raise as_failure(error) from error


@contextmanager
def _one_style() -> Iterator[None]:
    """What click says of wrong usage is said as we say it."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "holdfast"
        raise WrongUsage(f"{error.format_message().rstrip('.')} ({path} --help tells more)") from error


def as_failure(error: Exception) -> Failure:
    """What a person is told about *error*."""
    if isinstance(error, HoldfastError):
        return (WrongUsage if isinstance(error, InvalidInput) else Failure)(str(error))
    return Failure(f"unexpected {type(error).__name__}: {error} (HOLDFAST_DEBUG=1 shows the traceback)")


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="holdfast")
def main() -> None:
    """Holdfast, a durable event bus: run workers, publish, look, act.

    The store is named by --dsn or HOLDFAST_DSN (default sqlite:///holdfast.db). Exit codes: 0 fine, 1 a finding or a
    failure, 2 wrong usage.
    """
