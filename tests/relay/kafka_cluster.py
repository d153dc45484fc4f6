"""librdkafka's mock cluster, reached through its C interface: real sockets and the real protocol, in this process."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

PRODUCE, OFFSET_COMMIT, FIND_COORDINATOR, JOIN_GROUP, HEARTBEAT = 0, 8, 10, 11, 12
_PRODUCER = 0


def _library() -> Any:
    package = Path(pytest.importorskip("confluent_kafka", reason="pip install 'holdfast[kafka]'").__file__).parent
    places = [package.parent / "confluent_kafka.libs", package / ".dylibs"]
    found = [path for place in places for path in place.glob("librdkafka*")]
    if not found:
        pytest.skip(f"no librdkafka in the wheel of confluent-kafka: looked in {', '.join(map(str, places))}")
    library = ctypes.CDLL(str(found[0]))
    for name in ("rd_kafka_new", "rd_kafka_mock_cluster_new", "rd_kafka_conf_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    library.rd_kafka_mock_get_requests.restype = ctypes.POINTER(ctypes.c_void_p)
    library.rd_kafka_mock_request_api_key.restype = ctypes.c_int16
    return library


class KafkaCluster:
    """Three brokers that keep records in memory for as long as this lives."""

    def __init__(self) -> None:
        self._library = _library()
        problem = ctypes.create_string_buffer(512)
        settings = ctypes.c_void_p(self._library.rd_kafka_conf_new())
        self._library.rd_kafka_conf_set(settings, b"log_level", b"0", problem, ctypes.c_size_t(512))
        handle = self._library.rd_kafka_new(_PRODUCER, settings, problem, ctypes.c_size_t(512))
        assert handle, problem.value
        self._handle = ctypes.c_void_p(handle)
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(self._handle, 3))
        self._library.rd_kafka_mock_start_request_tracking(self._cluster)
        # A group waits for members to come before it begins: not here, where each test has its own.
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, ctypes.c_int32(0))

    @property
    def servers(self) -> str:
        return str(self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode())

    def make_topic(self, name: str, partitions: int = 4) -> None:
        """Partitions are led by the three brokers in turn: the first, and each third after it, by broker 1."""
        self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 3)
        for one in range(partitions):
            self._library.rd_kafka_mock_partition_set_leader(
                self._cluster, name.encode(), ctypes.c_int32(one), ctypes.c_int32(1 + one % 3)
            )

    def kill(self, broker: int = -1) -> None:
        """Cut all connections of a broker, or of all, and take no new ones; records stay, as on disks."""
        self._library.rd_kafka_mock_broker_set_down(self._cluster, ctypes.c_int32(broker))

    def start(self, broker: int = -1) -> None:
        self._library.rd_kafka_mock_broker_set_up(self._cluster, ctypes.c_int32(broker))

    def fail(self, request: int, *errors: int) -> None:
        """The next requests of that kind are answered with these errors, in turn."""
        array = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(errors)), array
        )

    def asked(self, request: int) -> int:
        """How many requests of that kind have come."""
        count = ctypes.c_size_t(0)
        found = self._library.rd_kafka_mock_get_requests(self._cluster, ctypes.byref(count))
        kinds = [self._library.rd_kafka_mock_request_api_key(ctypes.c_void_p(found[n])) for n in range(count.value)]
        self._library.rd_kafka_mock_request_destroy_array(found, count)
        return kinds.count(request)

    def forget(self, request: int) -> None:
        """No more errors for requests of that kind."""
        self._library.rd_kafka_mock_clear_request_errors(self._cluster, ctypes.c_int16(request))

    def topic_error(self, topic: str, error: int) -> None:
        """What clients hear when they ask about the topic; 0 ends it."""
        self._library.rd_kafka_mock_topic_set_error(self._cluster, topic.encode(), ctypes.c_int(error))

    def close(self) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._handle)
