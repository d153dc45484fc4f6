"""The clock of a test's store: it goes as the machine's does, and can be moved ahead."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from holdfast.errors import ConfigurationError
from holdfast.names import shown_value
from holdfast.stores.sqlite.session import system_clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

_SECONDS_MAX = 1e9


class Clock:
    """
    What time it is for the store of a test, and so when retries are due.

    It goes as the machine's clock does. `advance` moves it ahead. `EventBus.drain` does so too, once all that is left
    waits for its time: no retry is waited for in real time. How long handlers may take, limits and the breaker go by
    the machine's own clock.
    """

    def __init__(self) -> None:
        self._ahead = timedelta()
        self._told: list[Callable[[], None]] = []
        self._server: str | None = None

    def now(self) -> datetime:
        """The store's time, as an aware datetime."""
        return system_clock() + self._ahead

    @property
    def ahead(self) -> float:
        """Seconds that it has been moved in all."""
        return self._ahead.total_seconds()

    def advance(self, seconds: float) -> None:
        """
        Let so many seconds pass at once. What falls due runs then; `EventBus.drain` waits for it.

        Raises:
            ConfigurationError: It is no number of seconds, or the store is PostgreSQL, which has a clock of its own.
        """
        given: Any = seconds
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= _SECONDS_MAX:
            raise ConfigurationError(f"advance({shown_value(given)}): give seconds, 0 or more; time does not go back")
        if self._server is not None:
            raise ConfigurationError(
                f"the clock of {self._server} is the server's own and cannot be moved: test what takes time in memory, "
                f"or with RetryPolicy(base=0)"
            )
        self._ahead += timedelta(seconds=seconds)
        for tell in self._told:
            tell()

    def tell(self, moved: Callable[[], None]) -> None:
        """Call *moved* whenever the clock has been moved. Internal."""
        self._told.append(moved)

    def belongs_to(self, server: str) -> None:
        """The store goes by a server's clock. Internal."""
        self._server = server
