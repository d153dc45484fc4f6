"""A look at this machine's spool of a store from outside, as it lies on the disk."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.errors import ConfigurationError
from holdfast.spool import default_directory
from holdfast.stores.records import SpoolFolder


def usual_spool(address: str) -> SpoolFolder | None:
    """
    What processes of this machine and user have spooled in the usual place for the store at *address*.

    ``HOLDFAST_SPOOL`` counts as it does for a bus. None where there is no such place, or it changes as it is read.
    """
    try:
        return read_spool(usual_folder(address))
    except (ConfigurationError, OSError):  # no home folder, or a file that has just been drained
        return None


def usual_folder(address: str) -> Path:
    """
    Where processes of this machine and user spool for the store at *address*; it need not be there.

    Raises:
        ConfigurationError: There is no home directory.
    """
    folder = default_directory(address)
    if (chosen := os.environ.get("HOLDFAST_SPOOL", "")) not in {"", "memory", "off"}:
        folder = Path(chosen) / folder.name
    return folder


def read_spool(folder: Path) -> SpoolFolder:
    """What lies in the folder of a spool; nothing where there is none."""
    quarantine = folder / "quarantine.jsonl"
    return SpoolFolder(
        str(folder),
        sum(path.stat().st_size for path in folder.glob("*.spool")),
        sum(1 for line in quarantine.read_bytes().splitlines() if line.strip()) if quarantine.exists() else 0,
        sum(1 for _ in folder.glob("corrupt-*.bin")),
    )
