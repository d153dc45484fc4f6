"""Help for tests, of Holdfast itself and of programs that use it."""

from __future__ import annotations

from holdfast.testing.postgres import LocalPostgres, find_binaries

__all__ = ["LocalPostgres", "find_binaries"]
