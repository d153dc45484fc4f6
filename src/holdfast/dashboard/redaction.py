"""Rules that keep parts of payloads and headers from being shown. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HIDDEN = "[redacted]"

_ROOTS = ("payload", "headers")
_Rule = tuple[str, ...]


class Redaction:
    """
    Which fields nobody sees in the dashboard.

    Args:
        rules: Paths such as ``payload.card.number``: ``*`` is any one name, ``**`` at the end everything below. Names
            are compared whatever their case. A list may be passed over: ``payload.items.price`` and
            ``payload.items.*.price`` both mean the price of every item.

    Raises:
        ConfigurationError: A rule does not begin with ``payload`` or ``headers``.
    """

    def __init__(self, rules: Iterable[str] = ()) -> None:
        self._rules = [_parsed(rule) for rule in rules]

    def payload(self, value: Any) -> Any:
        """*value* as it may be shown."""
        return self._shown(value, self._of("payload"))

    def headers(self, value: Any) -> Any:
        """*value* as it may be shown."""
        return self._shown(value, self._of("headers"))

    def hides(self, value: Any) -> bool:
        """Whether any part of this payload is hidden."""
        return bool(self.payload(value) != value)

    def covers(self, path: Sequence[str]) -> bool:
        """Whether what lies at *path* of a payload, or below it, may be hidden: asking for its value would tell it."""
        steps = [name.casefold() for name in path]
        names = [step for step in steps if not step.isdigit()]  # a rule may pass over lists
        return any(_meet(rule, steps) or _meet(rule, names) for rule in self._of("payload"))

    def _of(self, root: str) -> list[_Rule]:
        return [rule[1:] for rule in self._rules if rule[0] == root]

    def _shown(self, value: Any, rules: list[_Rule]) -> Any:
        if any(rule in {(), ("**",)} for rule in rules):
            return HIDDEN
        if not rules:
            return value
        if isinstance(value, list):
            return [self._shown(one, rules + _below(rules, str(index))) for index, one in enumerate(value)]
        if isinstance(value, dict):
            return {name: self._shown(one, _below(rules, name)) for name, one in value.items()}
        return value


def _parsed(rule: str) -> _Rule:
    parts = tuple(rule.casefold().split("."))
    if parts[0] not in _ROOTS or "" in parts or "**" in parts[:-1]:
        raise ConfigurationError(
            f"the redaction rule {rule!r} is of no use: begin with payload or headers, as in payload.card.* ; "
            f"** only at the end"
        )
    return parts


def _below(rules: Sequence[_Rule], name: str) -> list[_Rule]:
    """What is left of the rules one step down, at *name*."""
    wanted = name.casefold()
    return [("**",) if rule[0] == "**" else rule[1:] for rule in rules if rule and rule[0] in {"*", "**", wanted}]


def _meet(rule: _Rule, path: Sequence[str]) -> bool:
    """Whether *rule* reaches *path*, something above it, or something below it."""
    return all(one in {"*", "**", step} for one, step in zip(rule, path, strict=False))
