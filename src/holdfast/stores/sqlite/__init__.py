"""The store in one SQLite file, or in memory: one machine, any number of processes, nothing to install."""

from holdfast.stores.sqlite.rows import slot_of
from holdfast.stores.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore", "slot_of"]
