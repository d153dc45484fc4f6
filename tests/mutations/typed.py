"""Mutants of typed events."""

from __future__ import annotations

from tests.mutations.mutant import Change, Mutant

_HANDLING = "tests/typed/test_handling.py"

MUTANTS = (
    Mutant(
        "store a value unchecked",
        "What no handler can decode is stored, and every delivery of it ends dead.",
        (
            Change(
                "src/holdfast/composing.py",
                "    if kind is not None:\n        kind.require_valid(encoded, index)\n",
                "",
            ),
        ),
        tests=("tests/typed/test_whole_way.py::test_an_invalid_value_is_refused_with_its_path_and_nothing_is_stored",),
    ),
    Mutant(
        "take a newer version for the present one",
        "A payload of a later release is read as one of this release, or is dead, in place of being held.",
        (
            Change(
                "src/holdfast/typed/handling.py", "            if declared.knows(version):\n", "            if True:\n"
            ),
        ),
        tests=(f"{_HANDLING}::test_a_newer_event_is_held_without_an_attempt_and_its_key_waits",),
    ),
    Mutant(
        "retry what cannot be decoded",
        "It holds its key back through all its attempts, and trips the breaker.",
        (
            Change(
                "src/holdfast/typed/problems.py",
                "class UndecodableEvent(MalformedEvent):",
                "class UndecodableEvent(HoldfastError):",
            ),
            Change("src/holdfast/typed/problems.py", "import MalformedEvent, Retry", "import HoldfastError, Retry"),
        ),
        tests=(f"{_HANDLING}::test_an_event_that_cannot_be_decoded_is_dead_at_once_and_says_why",),
    ),
    Mutant(
        "correct an event without its version",
        "The corrected payload is taken for one of version 1, and goes through upcasters that are not for it.",
        (
            Change(
                "src/holdfast/stores/correcting.py",
                "        headers[VERSION_HEADER] = version  # who corrects a payload keeps to the version that it has\n",
                "        pass\n",
            ),
        ),
        tests=(f"{_HANDLING}::test_an_event_that_corrects_another_is_of_its_version",),
    ),
)
