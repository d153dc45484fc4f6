"""The demonstration."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("demo", short_help="Watch events survive kills, outages and failing handlers.")
@click.option(
    "--jsonl", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Events of your own, one a line."
)
@click.option("--only", type=click.Choice(["sqlite", "postgres"]), help="Play on one store only.")
@click.option("--quick", is_flag=True, help="A shorter run with fewer events.")
@click.option("--keep", is_flag=True, help="Keep the files of the run and say where they are.")
def demo_command(jsonl: Path | None, only: str | None, *, quick: bool, keep: bool) -> None:
    """Watch events survive a killed worker, a lost database, rivals and failing handlers. Needs nothing set up."""
    from holdfast.demo import main as demonstrate

    status = demonstrate(
        jsonl, sqlite=only != "postgres", postgres=None if only is None else only == "postgres", quick=quick, keep=keep
    )
    raise click.exceptions.Exit(status)
