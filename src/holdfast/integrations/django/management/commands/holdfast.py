"""``manage.py holdfast …``: the command line of Holdfast, on the project's bus."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand

from holdfast.integrations.commands import BusCommands
from holdfast.integrations.django.project import project_bus

_HELP = "Look after the bus of this project: run workers, look, act."


class Command(BaseCommand):
    """What stands behind ``holdfast`` goes to its command line as it is, exit codes included."""

    help = _HELP
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="COMMAND ...", help="--help lists them")

    def run_from_argv(self, argv: list[str]) -> None:
        if argv[2:] in ([], ["--help"], ["-h"]):  # those of Django would hide those of Holdfast
            argv = [*argv[:2], "--", "--help"]
        super().run_from_argv(argv)

    def handle(self, *, arguments: list[str], **_: Any) -> None:
        """Raises SystemExit: The command's exit code, unless that is 0."""
        commands = BusCommands(project_bus(), help=_HELP)
        try:
            commands.main(args=_without_djangos(arguments), prog_name="manage.py holdfast")
        except SystemExit as end:
            if end.code:
                raise


def _without_djangos(arguments: list[str]) -> list[str]:
    """``--settings`` and ``--pythonpath`` may stand anywhere: Django has acted on them before any command began."""
    djangos = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    djangos.add_argument("--settings")
    djangos.add_argument("--pythonpath")
    return djangos.parse_known_args(arguments[1:] if arguments[:1] == ["--"] else arguments)[1]
