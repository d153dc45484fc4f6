"""Errors of one reason have one fingerprint, those of another reason another one."""

from __future__ import annotations

import time
import traceback

import pytest

from holdfast.fingerprint import fingerprint, innermost, masked


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("no customer 13", "no customer #"),
        ("no customer 7f3c2a90-1111-4222-8333-123456789abc of acme", "no customer # of acme"),
        ("no customer cus_8Hd9x!", "no customer #!"),
        ("key 'order-13' is missing", "key '?' is missing"),
        ('column "a b" and `c`', "column '?' and '?'"),
        ("can't reach the user's host", "can't reach the user's host"),
        ("at 2026-11-26T21:03:11.5+00:00 on 10.0.0.7:5432", "at # on #"),
        ("[1, 2, 3] and [4]", "[#] and [#]"),
        ("0xdeadbeef\n  failed", "# failed"),
        ("-1.5e3 apples.", "-# apples."),
        ("", ""),
    ],
)
def test_what_differs_is_masked(message: str, expected: str) -> None:
    assert masked(message) == expected


def test_type_message_and_frame_tell_reasons_apart() -> None:
    here = '  File "/srv/shop/app.py", line 7, in bill\n    raise\n'
    there = here.replace("bill", "ship")
    one = fingerprint("ValueError", "ValueError: no customer 13", here)
    assert one == fingerprint("ValueError", "no customer 14", here.replace("line 7", "line 9"))
    assert one == fingerprint("ValueError", "no customer 14", here.replace("/srv/shop", "/home/me"))
    others = [
        fingerprint("KeyError", "no customer 13", here),
        fingerprint("ValueError", "no supplier 13", here),
        fingerprint("ValueError", "no customer 13", there),
        fingerprint("ValueError", "no customer 13", None),
        fingerprint(None, None, None),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 6
    assert (one.error, one.message, one.frame) == ("ValueError", "no customer #", "app.py: bill")


def test_an_error_without_a_text_has_its_type_alone() -> None:
    assert fingerprint("TimeoutError", "TimeoutError", None)[1:] == ("TimeoutError", "", None)


def test_the_innermost_frame_is_that_of_the_error_that_came_out() -> None:
    def inner() -> None:
        raise KeyError(1)

    def outer() -> None:
        try:
            inner()
        except KeyError as error:
            raise ValueError("no") from error

    with pytest.raises(ValueError, match="no") as caught:
        outer()
    assert innermost("".join(traceback.format_exception(caught.value))) == "test_fingerprint.py: outer"
    assert innermost("no traceback") is None


@pytest.mark.parametrize(
    "text", ["'" * 2_000, "'a" * 1_000, "a" * 2_000, "a." * 1_000 + "!", "#, " * 600, "1 " * 1_000]
)
def test_a_hostile_message_takes_no_time(text: str) -> None:
    begun = time.process_time()
    masked(text)
    assert time.process_time() - begun < 0.2
