"""The command line ``holdfast``. Each command is imported when it is used, so that every start is quick."""

from __future__ import annotations

from holdfast.cli.commands import main

__all__ = ["main"]
