"""Lets go of what is two days old, and is killed right after it has brought its n-th page to the archive's disk."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from pathlib import Path

from holdfast.archive import Archive
from holdfast.counts import WorkerCounts
from holdfast.ids import new_id
from holdfast.ports import SYSTEM
from holdfast.spool_file import System
from holdfast.stores import make_store
from holdfast.worker.letting_go import LettingGo

A_DAY = 86_400.0


class Deadly(System):
    """An operating system that ends the process once so many files are on the disk."""

    def __init__(self, pages: int | None) -> None:
        self.left = pages

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        if self.left is not None and stat.S_ISREG(os.fstat(descriptor).st_mode):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


async def main(dsn: str, archive: str, pages: int | None) -> None:
    store = make_store(dsn, timeout=10)
    await store.open()
    threads = SYSTEM.threads("archive", 1)
    letting_go = LettingGo(store, Archive(Path(archive), Deadly(pages)), WorkerCounts(), threads, new_id)
    await letting_go.look(A_DAY)
    await store.maintain(retention=A_DAY)
    await store.close()


asyncio.run(main(**json.loads(sys.argv[1])))
