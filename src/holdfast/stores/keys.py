"""What people are told of data keys, and what operators do with them: parts of `Inspector` and `Operator`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeAlias

    from holdfast.encryption import KeyProvider
    from holdfast.event import NewEvent

    Sealing: TypeAlias = Callable[[Sequence[NewEvent]], Awaitable[Sequence[NewEvent]]]


@dataclass(frozen=True, slots=True)
class MasterKeyRecord:
    """A master key, by what is under it: data keys that are kept, and rows of those that were erased."""

    master: str
    kept: int
    erased: int


@dataclass(frozen=True, slots=True)
class Rotated:
    """What `Operator.rotate_keys` did. ``left``: keys under a master key that the provider does not have."""

    wrapped: int
    left: int


class KeyInspector(Protocol):
    """The part of `Inspector` that looks at data keys."""

    async def keys(self) -> list[MasterKeyRecord]:
        """Each master key that data keys are, or were, under; none where nothing was ever encrypted. Reads all keys."""
        ...


class KeyOperator(Protocol):
    """
    The part of `Operator` that has to do with data keys.

    Attributes:
        sealed: Encrypts what is published; gives it back as it is where nothing else was put here.
    """

    sealed: Sealing

    async def rotate_keys(
        self, provider: KeyProvider, *, actor: str, progress: Callable[[int], None] | None = None
    ) -> Rotated:
        """
        Wrap every data key anew that is not under the provider's current master key. Payloads stay as they are.

        Broken off, it is finished by being called again. An audit row, whose count grows.

        Args:
            provider: Has the current master key, and those that were before it.
            progress: Told how many keys were looked at.

        Raises:
            KeysUnavailable: The provider failed.
            PermissionDenied: The role may not change keys.

        Cost: reads and writes each such key once, 500 in a transaction.
        """
        ...
