"""Upcasters, one after the other: the same as all of them at once; and what a bad one says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.typed.problems import Misfit
from holdfast.typed.upcasting import brought_up, missing_steps

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = st.sampled_from("abcd")
PAYLOADS = st.dictionaries(NAMES, st.integers(), max_size=4)


def add(name: str, value: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda payload: {name: value} | payload


def rename(old: str, new: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(payload: dict[str, Any]) -> dict[str, Any]:
        if old in payload:  # in place, as an upcaster may
            payload[new] = payload.pop(old)
        return payload

    return change


def drop(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda payload: {key: value for key, value in payload.items() if key != name}


STEPS = st.lists(
    st.builds(add, NAMES, st.integers()) | st.builds(rename, NAMES, NAMES) | st.builds(drop, NAMES), max_size=6
)


@given(payload=PAYLOADS, steps=STEPS, data=st.data())
def test_a_payload_of_any_version_takes_every_step_from_there_on_once(
    payload: dict[str, Any], steps: list[Any], data: st.DataObject
) -> None:
    version = data.draw(st.integers(1, len(steps) + 1))
    expected = dict(payload)
    for step in steps[version - 1 :]:
        expected = step(expected)
    chain = dict(enumerate(steps, 1))
    assert brought_up(dict(payload), chain, version, len(steps) + 1) == expected


@given(payload=PAYLOADS, steps=STEPS, data=st.data())
def test_to_stop_on_the_way_and_go_on_is_the_same_as_to_go_through(
    payload: dict[str, Any], steps: list[Any], data: st.DataObject
) -> None:
    chain, to = dict(enumerate(steps, 1)), len(steps) + 1
    middle = data.draw(st.integers(1, to))
    halfway = brought_up(dict(payload), chain, 1, middle)
    assert brought_up(halfway, chain, middle, to) == brought_up(dict(payload), chain, 1, to)


@given(steps=st.sets(st.integers(1, 12)), oldest=st.integers(1, 12), version=st.integers(1, 12))
def test_a_chain_is_whole_if_and_only_if_every_version_can_be_brought_up(
    steps: set[int], oldest: int, version: int
) -> None:
    chain = dict.fromkeys(steps, dict)
    missing = missing_steps(steps, oldest, version)
    for start in range(oldest, version):
        if any(step >= start for step in missing):
            with pytest.raises(KeyError):
                brought_up({}, chain, start, version)
        else:
            assert brought_up({}, chain, start, version) == {}


@pytest.mark.parametrize(
    ("upcaster", "said"),
    [
        (
            lambda payload: payload["secret"],
            r"made the upcaster from version 1 raise KeyError at line \d+ of test_upcasting",
        ),
        (lambda payload: payload.clear(), "was made NoneType by the upcaster from version 1: return a dict"),
        (lambda payload: [payload], "was made list by the upcaster from version 1"),
    ],
)
def test_an_upcaster_that_fails_is_named_without_the_payload(upcaster: Any, said: str) -> None:
    with pytest.raises(Misfit, match=said) as failed:
        brought_up({"a": "secret"}, {1: upcaster}, 1, 2)
    assert "'secret'" not in str(failed.value)
    assert failed.value.__context__ is None or failed.value.__suppress_context__


@pytest.mark.parametrize("payload", [None, [], "text", 5])
def test_only_objects_are_brought_up(payload: Any) -> None:
    with pytest.raises(Misfit, match="is no object, which upcasters take"):
        brought_up(payload, {1: dict}, 1, 2)
