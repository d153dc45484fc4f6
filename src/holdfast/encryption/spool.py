"""A spool with nothing in it that can be read without the master key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.encryption.codec import Codec
    from holdfast.event import NewEvent
    from holdfast.spool import AnySpool


class EncryptedSpool:
    """
    A spool whose payloads are encrypted under a key of this process, which lies beside each of them, wrapped by the master
    key. Keys of subjects are in the store, which is away when there is something to spool. What is given back is still
    encrypted; the encrypted store decrypts it and encrypts it anew.

    What is not here goes to *spool* as it is.
    """

    def __init__(self, spool: AnySpool, codec: Codec) -> None:
        self._spool, self._codec = spool, codec

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spool, name)

    def append(self, events: Sequence[NewEvent]) -> None:
        self._spool.append(self._codec.sealed_for_spool(events))


def encrypted_spool(spool: AnySpool, codec: Codec) -> AnySpool:
    """*spool*, encrypted, as the publisher knows it."""
    return cast("AnySpool", EncryptedSpool(spool, codec))
