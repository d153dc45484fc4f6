"""In which steps a batch goes to a broker that answers message by message. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.relay.ports import Message


def rounds(messages: Sequence[Message]) -> list[list[Message]]:
    """
    *messages* cut so that a key occurs once in each part; a part is sent when the one before has been acknowledged.

    Sent all at once, the first message of a key could be refused and its second taken: the order of the key would be
    lost when the first is sent again. Messages without a key all go in the first round.
    """
    seen: Counter[tuple[str, str]] = Counter()
    parts: list[list[Message]] = []
    for message in messages:
        number = 0
        if message.key is not None:
            place = (message.tenant_id, message.key)
            number = seen[place]
            seen[place] += 1
        if number == len(parts):
            parts.append([])
        parts[number].append(message)
    return parts
