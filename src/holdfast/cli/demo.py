"""The demonstration."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("demo")
@click.option(
    "--jsonl", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Events of your own, one a line."
)
def demo_command(jsonl: Path | None) -> None:
    """Watch events survive a killed worker, a lost database, rivals and failing handlers. Needs nothing set up."""
    from holdfast.demo import main as demonstrate

    raise click.exceptions.Exit(demonstrate(jsonl))
