"""Mutants of the transport, and of what it shares with ingests."""

from __future__ import annotations

from tests.mutations.mutant import Change, Mutant

_RELAY = "src/holdfast/relay"
_DECLARING, _CLUSTER = "tests/transport/test_declaring.py", "tests/transport/test_cluster.py"

MUTANTS = (
    Mutant(
        "a message that was lost on its way is overlooked",
        "The acknowledgement of the next one stands for it too: it is never stored.",
        (
            Change(
                f"{_RELAY}/nats_taken.py",
                "        self.is_lost |= about.sequence.consumer != self._delivered + 1\n",
                "",
            ),
        ),
        tests=(f"{_DECLARING}::test_behind_a_message_that_was_lost_on_its_way_nothing_is_taken",),
    ),
    Mutant(
        "whoever takes over begins with what comes next",
        "What was not acknowledged is never stored.",
        (
            Change(
                f"{_RELAY}/nats_transport.py",
                "return await self._end_of(talk.stream, newest) + 1",
                "return await self._end_of(talk.stream, newest) + 1000",
            ),
        ),
        tests=(f"{_CLUSTER}::test_a_lost_acknowledgement_brings_messages_again_and_no_second_effect",),
    ),
    Mutant(
        "leases that may have run out count as held",
        "Two workers take the same partitions from each other, in turns.",
        (
            Change(
                f"{_RELAY}/transport.py",
                "live.worker is None or elapsed() >= live.worker.keeper.valid_until",
                "live.worker is None",
            ),
        ),
        tests=(f"{_DECLARING}::test_a_worker_whose_leases_may_have_run_out_takes_in_nothing",),
    ),
    Mutant(
        "what came in goes out again",
        "Two services send each event to each other for ever.",
        (
            Change(
                f"{_RELAY}/transport.py",
                ' and not (event.header(_HEADER) or "").startswith(self._prefix)',
                "",
            ),
        ),
        tests=(f"{_DECLARING}::test_what_came_in_over_the_same_stream_does_not_go_out_again_and_over_another_it_does",),
    ),
    Mutant(
        "the tenant does not count for the partition",
        "All tenants that use the same keys share a partition.",
        (Change(f"{_RELAY}/transport.py", '{message.tenant_id}\\x1f{own}"', '{own}"'),),
        tests=(f"{_DECLARING}::test_a_key_has_one_partition_and_keys_are_spread",),
    ),
    Mutant(
        "a new generation is not looked at by its store",
        "Two databases under one name each get a part of the events.",
        (Change(f"{_RELAY}/nats_transport.py", "if known.config.description != self._owner:", "if False:"),),
        tests=(f"{_CLUSTER}::test_another_store_under_the_same_name_is_refused_and_takes_nothing",),
    ),
    Mutant(
        "a header of the protocol makes a message a heartbeat",
        "Whoever sends it stops a partition of every service.",
        (
            Change(
                f"{_RELAY}/nats_taken.py",
                "if not message.reply:",
                'if (message.headers or {}).get("Status") is not None:',
            ),
        ),
        tests=(f"{_CLUSTER}::test_a_message_with_a_header_of_the_protocol_stops_no_partition",),
    ),
    Mutant(
        "where a partition of Kafka begins is not written down",
        "What comes before its first record was stored, while its members change, is missed.",
        (Change(f"{_RELAY}/kafka.py", "        if ends:\n            self._commit(ends)\n", ""),),
        tests=(
            "tests/relay/test_kafka.py::TestIn::test_begun_now_it_misses_nothing_of_a_partition_that_had_brought_nothing_yet",
        ),
    ),
)
