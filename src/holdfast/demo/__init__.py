"""``holdfast demo``: a few thousand events survive a killed worker, a lost database, rivals and failing handlers.

Everything is for real: worker processes, SIGKILL, a database that goes away. Handlers write what they handle into a
plain file of their own (`ledger`), and every claim of the closing table is counted from it (`audit`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.demo.show import main

__all__ = ["main"]


def __getattr__(name: str) -> Any:
    """Import the show when it is asked for: the demo's worker processes start without it."""
    if name == "main":
        from holdfast.demo.show import main

        return main
    raise AttributeError(f"module 'holdfast.demo' has no attribute {name!r}")
