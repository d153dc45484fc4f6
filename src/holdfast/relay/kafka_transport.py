"""A topic of Kafka as a transport: a service is a consumer group, which shares the topic's partitions among its members.

``kafka://broker-1,broker-2/shop`` names the topic ``shop``. What the options mean: docs/transport.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from holdfast.errors import ConfigurationError, MissingExtra
from holdfast.relay.kafka import KafkaDestination, KafkaSource

try:
    from confluent_kafka import TopicPartition
except ImportError as missing:
    raise MissingExtra("confluent-kafka", "kafka", "a transport over Kafka") from missing

if TYPE_CHECKING:
    from holdfast.relay.address import Address
    from holdfast.relay.transport import Home

_PARTITIONS = 8  # of the way out; those of the topic are Kafka's
_IN = ("prefetch", "start")
_OF_MEMBERS = ("fetch.", "group.", "heartbeat.", "max.poll.", "partition.assignment.", "session.")


def partitions(address: Address) -> int:
    """
    By how many the way out is shared.

    Raises:
        ConfigurationError: The address names a group, whose name is the service's.
    """
    if "group" in address.options:
        raise ConfigurationError(f"{address}: leave option group out: the consumer group is named by service=")
    return _PARTITIONS


def destination(address: Address) -> KafkaDestination:
    """Where the way out sends to. Connects at the first `send`."""
    options = {
        name: value
        for name, value in address.options.items()
        if name not in _IN and not name.startswith(_OF_MEMBERS)
    }  # fmt: skip
    return KafkaDestination(replace(address, options=options))


def source(address: Address, *, service: str, home: Home) -> KafkaMember:  # noqa: ARG001 - the group shares by itself
    """Where the way in takes from. Connects in `receive`."""
    return KafkaMember(address, service)


class KafkaMember(KafkaSource):
    """A source that knows how much waits for it."""

    _behind: dict[int, int] | None = None

    @property
    def waiting(self) -> int | None:
        """Records of this member's partitions behind those that it has got, as brokers said with these."""
        return None if self._behind is None else sum(self._behind.values())

    def _consume(self) -> list[Any]:
        found = super()._consume()
        last = {record.partition(): record.offset() for record in found if record.error() is None}
        if last:
            mine = {one.partition for one in self._member.assignment()}
            behind = {number: left for number, left in (self._behind or {}).items() if number in mine}
            self._behind = behind | {number: self._end_of(number) - offset - 1 for number, offset in last.items()}
        return found

    def _end_of(self, number: int) -> int:
        _, end = self._member.get_watermark_offsets(TopicPartition(self._topic.name, number), cached=True)
        return int(end)
