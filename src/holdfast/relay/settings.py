"""The options behind the ``?`` of a relay's address: read one by one, what is left over is refused. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from holdfast.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.relay.address import Address

_YES_OR_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


class Settings:
    """
    Reads the options of an address, as in ``amqp://rabbit/orders?timeout=10&declare=quorum``.

    Each method takes the default for an option that is not given, and raises ConfigurationError for a value that
    breaks the rule; `done` raises it for an option that nobody asked for.
    """

    def __init__(self, address: Address) -> None:
        self._where = str(address)
        self._left = dict(address.options)
        self._known: list[str] = []

    def text(self, name: str, default: str | None = None) -> str | None:
        self._known.append(name)
        return self._left.pop(name, default)

    def seconds(self, name: str, default: float, low: float = 0.1, high: float = 3600) -> float:
        given = self.text(name)
        if given is None:
            return default
        try:
            value = float(given)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            self._refuse(name, given, f"use {low:g} to {high:g} seconds")
        return value

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        given = self.text(name)
        if given is None:
            return default
        value = int(given) if given.isascii() and given.isdigit() else low - 1
        if not low <= value <= high:
            self._refuse(name, given, f"use a whole number from {low} to {high}")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        given = self.text(name)
        if given is None:
            return default
        if given.lower() not in _YES_OR_NO:
            self._refuse(name, given, "use yes or no")
        return _YES_OR_NO[given.lower()]

    def one_of(self, name: str, default: str, *choices: str) -> str:
        given = self.text(name, default)
        if given not in (default, *choices):
            self._refuse(name, str(given), "use " + " or ".join(dict.fromkeys((default, *choices))))
        return str(given)

    def matching(self, wanted: Callable[[str], bool]) -> dict[str, str]:
        """The options whose names are *wanted*, as they were given."""
        return {name: self._left.pop(name) for name in list(self._left) if wanted(name)}

    def done(self) -> None:
        """
        Everything has been asked for.

        Raises:
            ConfigurationError: An option is left over.
        """
        for name in self._left:
            raise ConfigurationError(
                f"{self._where}: there is no option {name!r}; there are {', '.join(sorted(self._known))}"
            )

    def _refuse(self, name: str, given: str, rule: str) -> NoReturn:
        raise ConfigurationError(f"{self._where}: option {name} is {given[:60]!r}; {rule}")
