"""Where an SQLite file may live: checked before it is opened, without opening it."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from holdfast.errors import ConfigurationError, PermissionDenied, WrongStore

# Locks, or the shared memory of the write-ahead log, do not work across the machines that share these.
NETWORK_TYPES = frozenset({
    "nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "coda", "ceph", "lustre", "glusterfs", "beegfs",
    "orangefs", "gfs2", "ocfs2", "davfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone",
    "fuse.davfs2", "fuse.curlftpfs", "fuse.gcsfuse",
})  # fmt: skip
_MOUNTS = Path("/proc/self/mounts")


def path_of(dsn: str) -> str | None:
    """
    The path in ``sqlite:///relative.db`` or ``sqlite:////absolute.db``; None, memory, for ``sqlite://``.

    Raises:
        ConfigurationError: It is none of these.
    """
    parts = urlsplit(dsn)
    if parts.scheme != "sqlite" or parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{dsn!r} is no DSN of an SQLite store: write sqlite:///relative.db, sqlite:////absolute/path.db "
            f"or sqlite:// (memory), with %3F for '?' and %23 for '#'"
        )
    path = unquote(parts.path.removeprefix("/"))
    return None if path in {"", ":memory:"} else path


def network_type(path: str, mounts: str) -> str | None:
    """
    The type of the network file system on which *path* lies, else None.

    Args:
        path: Absolute, links resolved.
        mounts: Text in the form of ``/proc/self/mounts``; of two mounts on one place the later is seen.
    """
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        place = fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        inside = path == place or path.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= len(best):
            best, kind = place, fields[2]
    return kind if kind in NETWORK_TYPES else None


def is_read_only(folder: Path) -> bool:
    """Whether the file system of *folder* is mounted read-only."""
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def check_place(path: str) -> None:
    """
    Raises:
        ConfigurationError: The directory does not exist, or the path is one.
        WrongStore: It lies on a network file system.
        PermissionDenied: The file or its directory is read-only.
    """
    file = Path(path).absolute()
    folder = file.parent
    if not folder.is_dir():
        raise ConfigurationError(f"{file}: the directory {folder} does not exist; make it, or give another path")
    if file.is_dir():
        raise ConfigurationError(f"{file} is a directory; give the path of a file")
    if _MOUNTS.exists() and (kind := network_type(os.path.realpath(file), _MOUNTS.read_text("utf-8", "replace"))):
        raise WrongStore(
            f"{file} lies on a network file system ({kind}), where SQLite's locks do not hold: put the file on a "
            f"disk of this machine, or use PostgreSQL"
        )
    if is_read_only(folder):
        raise PermissionDenied(f"{file} cannot be written: its file system is mounted read-only; give another path")
    for place in (file, folder):
        if place.exists() and not os.access(place, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise PermissionDenied(
                f"{file} cannot be written: {place} is read-only for this user; run  chmod u+w {place}  "
                f"or give another path"
            )
