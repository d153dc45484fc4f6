from __future__ import annotations

import base64
import json
import math
import pickle
from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.errors import InvalidEvent, PayloadTooLarge
from holdfast.payload import DEPTH_MAX, encode_headers, encode_payload

LIMIT = 1 << 20
SECRET = "hunter2-never-shown"


def encode(value):
    return encode_payload(value, limit=LIMIT)


def decoded(value):
    return msgspec.json.decode(encode(value))


def refused(value, *, index=None) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        encode_payload(value, limit=LIMIT, index=index)
    assert caught.value.index == index
    return caught.value


def nested(depth: int, innermost: object = 0):
    value = innermost
    for _ in range(depth):
        value = [value]
    return value


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=20
)


class TestWhatIsStored:
    @given(documents)
    def test_a_json_value_comes_back_equal_and_of_the_same_types(self, value):
        assert repr(decoded(value)) == repr(value)

    @given(st.floats(allow_nan=False, allow_infinity=False))
    @example(-0.0)
    @example(5e-324)
    @example(1.7976931348623157e308)
    @example(0.1 + 0.2)
    def test_a_float_comes_back_bit_for_bit(self, value):
        back = decoded(value)
        assert type(back) is float
        assert (back, math.copysign(1, back)) == (value, math.copysign(1, value))

    @given(documents)
    def test_both_passes_give_the_same_text(self, value):
        at = datetime(2026, 1, 2, tzinfo=UTC)
        slow = encode([value, at])
        assert slow == encode([value, at.isoformat()])

    @pytest.mark.parametrize("value", [2**63 - 1, -(2**63)])
    def test_the_ends_of_64_bits_are_kept(self, value):
        assert decoded({"n": value}) == {"n": value}

    @pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "a\\u0000b\\"])
    def test_six_characters_that_only_look_like_nul_are_kept(self, text):
        assert decoded({"text": text, text: 1}) == {"text": text, text: 1}

    def test_text_of_any_script_and_size_is_kept(self):
        value = {"Straße 😀": "\u2028\x7f\x01" * 10_000}
        assert decoded(value) == value

    @pytest.mark.parametrize("depth", [0, 1, DEPTH_MAX])
    def test_containers_may_be_nested_64_deep(self, depth):
        assert decoded(nested(depth)) == nested(depth)
        assert encode(nested(depth, date(2026, 1, 2))) == encode(nested(depth, "2026-01-02"))

    def test_the_same_object_twice_is_no_cycle(self):
        shared = {"a": [1]}
        assert decoded([shared, shared]) == [shared, shared]


class Colour(Enum):
    RED = "red"
    MOMENT = datetime(2026, 1, 2, tzinfo=UTC)
    BROKEN = float("nan")


class Level(IntEnum):
    HIGH = 3


class Kind(StrEnum):
    ORDER = "order"


class OldKind(str, Enum):  # noqa: UP042 - the form whose str() is not its text
    ORDER = "order"


class Text(str):  # noqa: SLOT000 - a subclass that lies about itself is the point
    def __str__(self):
        return "something else"


class Number(int):
    def __int__(self):
        return 7


class Measure(float):
    def __float__(self):
        return 7.0


Point = namedtuple("Point", "x y")  # noqa: PYI024 - an untyped one is enough


class TestConversions:
    @pytest.mark.parametrize(
        ("given", "stored"),
        [
            (datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), "2026-01-02T03:04:05.678901+00:00"),
            (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00+00:00"),
            (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "9999-12-31T23:59:59.999999+00:00"),
            (datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-5))), "2026-01-02T00:00:00-05:00"),
            (date(2026, 1, 2), "2026-01-02"),
            (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
            (Decimal("12.3400"), "12.3400"),
            (Decimal("1E+3"), "1E+3"),
            (Decimal(2**70), str(2**70)),
            (Colour.RED, "red"),
            (Colour.MOMENT, "2026-01-02T00:00:00+00:00"),
            (Level.HIGH, 3),
            (Kind.ORDER, "order"),
            (OldKind.ORDER, "order"),
            (Text("real"), "real"),
            (Number(5), 5),
            (Measure(0.5), 0.5),
            (Point(1, 2), [1, 2]),
            ((1, (2,)), [1, [2]]),
            (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
            (MappingProxyType({"a": UUID(int=1)}), {"a": str(UUID(int=1))}),
            (UserDict(a=1), {"a": 1}),
            ({Kind.ORDER: 1, Text("k"): 2}, {"order": 1, "k": 2}),
        ],
    )
    def test_documented_types_become_json(self, given, stored):
        assert decoded(given) == stored
        assert decoded({"inside": [given]}) == {"inside": [stored]}

    def test_the_callers_objects_are_left_alone(self):
        value = {"at": datetime(2026, 1, 2, tzinfo=UTC), "tags": ("a",)}
        encode(value)
        assert value == {"at": datetime(2026, 1, 2, tzinfo=UTC), "tags": ("a",)}


@dataclass
class Order:
    secret: str = SECRET


class Struct(msgspec.Struct):
    secret: str = SECRET


class Model:
    def model_dump(self): ...


OFFENDERS = [
    ({SECRET}, "is of type set", "sorted("),
    (frozenset({SECRET}), "is of type frozenset", "sorted("),
    (float("nan"), "is NaN or infinite", "finite"),
    (float("inf"), "is NaN or infinite", "finite"),
    (-math.inf, "is NaN or infinite", "finite"),
    (Decimal("NaN"), "is NaN or infinite", "finite"),
    (Decimal("sNaN"), "is NaN or infinite", "finite"),
    (Decimal("-Infinity"), "is NaN or infinite", "finite"),
    (Colour.BROKEN, "is NaN or infinite", "finite"),
    (2**63, "beyond 64 bits", "2**63 - 1"),
    (2**64 - 1, "beyond 64 bits", "2**63 - 1"),
    (-(2**63) - 1, "beyond 64 bits", "2**63 - 1"),
    (Number(2**63), "beyond 64 bits", "2**63 - 1"),
    (SECRET + "\0", f"U+0000 at position {len(SECRET)}", "U+0000"),
    ("\ud800" + SECRET, "lone surrogate U+D800 at position 0", "surrogates"),
    (Text("a\udfff"), "lone surrogate U+DFFF at position 1", "surrogates"),
    ({1: SECRET}, "has a key of type int", "strings"),
    ({None: SECRET}, "has a key of type NoneType", "strings"),
    ({True: SECRET}, "has a key of type bool", "strings"),
    ({UUID(int=1): SECRET}, "has a key of type uuid.UUID", "strings"),
    ({Colour.RED: SECRET}, "has a key of type", "strings"),
    (datetime(2026, 1, 2), "is a naive datetime", "aware"),  # noqa: DTZ001 - naive is the point
    (timedelta(1), "is of type datetime.timedelta", "use dict"),
    (datetime(2026, 1, 2, tzinfo=UTC).timetz(), "is of type datetime.time", "use dict"),
    (1j, "is of type complex", "use dict"),
    (object(), "is of type object", "use dict"),
    (object, "is of type type", "use dict"),
    (iter(()), "is of type tuple_iterator", "use dict"),
    (memoryview(b"1"), "is of type memoryview", "base64"),
    (Order(), "Order", "dataclasses.asdict"),
    (Struct(), "Struct", "msgspec.to_builtins"),
    (msgspec.Raw(b"NaN"), "is of type msgspec.Raw", "use dict"),
    (Model(), "Model", "model_dump"),
]
steps = st.integers(0, 3) | st.sampled_from(["items", "a b", "", "1st", "größe", 'quo"te', "x.y", "_", "class"]) | texts


def expected_path(path) -> str:
    shown = []
    for step in path:
        if isinstance(step, int):
            shown.append(f"[{step}]")
        elif step.isascii() and step.isidentifier() and len(step) <= 40:
            shown.append("." + step)
        else:
            shown.append("[" + json.dumps(step if len(step) <= 40 else step[:40] + "...") + "]")
    return "payload" + "".join(shown)


def planted(path, offender):
    value = offender
    for step in reversed(path):
        if isinstance(step, int):
            value = [*[SECRET, 1.5, None][:step], value, SECRET]
        else:
            value = {"before" + SECRET: 1, step: value, SECRET: [SECRET]}
    return value


class TestWhatIsRefused:
    @pytest.mark.parametrize(("offender", "problem", "rule"), OFFENDERS)
    def test_as_the_whole_payload(self, offender, problem, rule):
        error = refused(offender, index=3)
        assert error.field == "payload"
        assert problem in error.problem
        assert rule in error.rule
        assert str(error).startswith("item 3: payload ")

    @given(st.lists(steps, max_size=8), st.sampled_from(OFFENDERS))
    def test_the_path_leads_to_the_offender_and_no_value_is_shown(self, path, planted_offender):
        offender, problem, rule = planted_offender
        error = refused(planted(path, offender))
        assert error.field == expected_path(path)
        assert problem in error.problem
        assert rule in error.rule
        assert SECRET not in str(error)
        assert SECRET not in repr(error.args)

    def test_an_integer_too_long_to_be_shown(self):
        assert "beyond 64 bits" in refused([10**5000]).problem

    def test_the_documented_forms_of_a_path(self):
        assert refused({"items": [1, 2, 3, {"price": math.nan}]}).field == "payload.items[3].price"
        assert refused({"a b": math.nan}).field == 'payload["a b"]'

    @pytest.mark.parametrize("value", [b"1", bytearray(b"1")])
    def test_bytes_inside_a_payload(self, value):
        error = refused({"data": [value]})
        assert (error.field, error.problem) == ("payload.data[0]", f"is of type {type(value).__name__}")
        assert "base64" in error.rule
        assert decoded(base64.b64encode(value).decode()) == "MQ=="

    @pytest.mark.parametrize(
        ("key", "field", "problem"),
        [
            ("a\0b", 'payload.x["a\\u0000b"]', "is a key that has the character U+0000 at position 1"),
            ("\udc00", 'payload.x["\\udc00"]', "is a key that has the lone surrogate U+DC00 at position 0"),
        ],
    )
    def test_keys_that_no_store_can_hold(self, key, field, problem):
        error = refused({"x": {"ok": 1, key: SECRET}})
        assert (error.field, error.problem) == (field, problem)
        assert "U+0000" in error.rule
        str(error).encode()

    def test_two_keys_with_the_same_text(self):
        class Distinct(str):
            __slots__ = ()
            __hash__ = object.__hash__

            def __eq__(self, other):
                return self is other

        error = refused({Distinct("a"): 1, Distinct("a"): 2})
        assert (error.field, error.problem) == ("payload.a", "is a key that appears twice")

    @pytest.mark.parametrize("innermost", [0, date(2026, 1, 2)])
    def test_depth_over_64(self, innermost):
        error = refused(nested(DEPTH_MAX + 1, innermost))
        assert error.field == "payload" + "[0]" * DEPTH_MAX
        assert error.problem == "is nested deeper than 64"
        assert "64" in error.rule

    @pytest.mark.parametrize("width", [1, 2, 50])
    def test_a_container_that_holds_itself_ends_at_the_depth(self, width):
        items: list = []
        items.extend([items] * width)
        members: dict = {}
        members.update({str(n): members for n in range(width)})
        for value in (items, members):
            assert refused(value).problem == "is nested deeper than 64"

    def test_very_deep_nesting(self):
        assert refused(nested(50_000)).problem == "is nested deeper than 64"

    def test_long_keys_are_cut_in_the_path(self):
        assert len(refused({"k" * 100_000: math.nan}).field) < 100

    def test_the_error_survives_pickling(self):
        error = refused({"a": [math.nan]}, index=2)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


class TestSize:
    def test_the_limit_counts_bytes_of_json(self):
        value = {"text": "ü" * 10}
        size = len(msgspec.json.encode(value))
        assert len(encode_payload(value, limit=size)) == size
        with pytest.raises(PayloadTooLarge) as caught:
            encode_payload(value, limit=size - 1, index=7)
        assert (caught.value.size, caught.value.limit, caught.value.index) == (size, size - 1, 7)
        assert (caught.value.field, "max_payload" in caught.value.rule) == ("payload", True)

    def test_it_holds_for_converted_payloads_and_for_json_text(self):
        for value in (date(2026, 1, 2), b'"2026-01-02"'):
            assert encode_payload(value, limit=12) == b'"2026-01-02"'
            with pytest.raises(PayloadTooLarge) as caught:
                encode_payload(value, limit=11)
            assert caught.value.size == 12

    def test_large_json_text_is_refused_before_it_is_parsed(self):
        with pytest.raises(PayloadTooLarge):
            encode_payload(b"[" * 1000, limit=999)


class TestJsonText:
    @given(documents, st.sampled_from([None, 1]), st.booleans())
    def test_it_is_kept_as_written_and_every_reader_agrees(self, value, indent, ascii_only):
        raw = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
        assert encode(raw) == encode(bytearray(raw)) == raw
        assert repr(msgspec.json.decode(encode(raw))) == repr(value)

    @given(st.binary(max_size=12) | st.text('[]{},:"\\u01e-.nulltrefas \n', max_size=12).map(str.encode))
    @example(b"\xef\xbb\xbf1")
    @example(b"1e5")
    @example(b"-0")
    @example(b"1e-999")
    def test_what_is_accepted_can_be_read(self, raw):
        try:
            kept = encode(raw)
        except InvalidEvent:
            return
        assert kept == raw
        assert msgspec.json.decode(kept) == json.loads(raw)

    @pytest.mark.parametrize("raw", [b' {"b" : 1.10,\n"a":1E2} ', b'"\\ud83d\\ude00"', b'"\\\\u0000"', b"null"])
    def test_spelling_is_kept(self, raw):
        assert encode(raw) == raw

    @pytest.mark.parametrize(
        ("raw", "field", "problem"),
        [
            (b"", "payload", "is not JSON at character 0"),
            (b"{'a': 1}", "payload", "is not JSON at character 1"),
            (b'{"a": 1,}', "payload", "is not JSON at character"),
            (b"1 2", "payload", "is not JSON at character 2"),
            (b"\xef\xbb\xbf1", "payload", "is not JSON at character 0"),
            (b'"a\nb"', "payload", "is not JSON at character 2"),
            (b'"\xff"', "payload", "is not UTF-8 at byte 1"),
            (b'"\xed\xa0\x80"', "payload", "is not UTF-8 at byte 1"),
            ('"ä"'.encode("utf-16"), "payload", "is not UTF-8 at byte 0"),
            (b'{"a": [NaN]}', "payload.a[0]", "is NaN or infinite"),
            (b'{"a": -Infinity}', "payload.a", "is NaN or infinite"),
            (b'{"a": 1e999}', "payload.a", "is NaN or infinite"),
            (b"[9223372036854775808]", "payload[0]", "beyond 64 bits"),
            (b"[-9223372036854775809]", "payload[0]", "beyond 64 bits"),
            (b"[" + b"9" * 10_000 + b"]", "payload[0]", "beyond 64 bits"),
            (b'[{"x": {"a": 1, "b": 2, "a": 1}}]', "payload[0].x.a", "is a key that appears twice"),
            (b'{"a": 1, "\\u0061": 2}', "payload.a", "is a key that appears twice"),
            (b'{"a": "x\\u0000"}', "payload.a", "has the character U+0000 at position 1"),
            (b'{"\\u0000": 1}', 'payload["\\u0000"]', "is a key that has the character U+0000"),
            (b'["\\ud800"]', "payload[0]", "has the lone surrogate U+D800"),
            (b"[" * 65 + b"]" * 65, "payload" + "[0]" * 64, "is nested deeper than 64"),
            (b"[" * 200_000 + b"]" * 200_000, "payload", "is nested deeper than 64"),
            (b'{"a":' * 150_000 + b"1" + b"}" * 150_000, "payload", "is nested deeper than 64"),
        ],
    )
    def test_what_is_refused(self, raw, field, problem):
        error = refused(raw)
        assert error.field == field
        assert problem in error.problem
        assert error.rule

    def test_no_part_of_the_text_is_shown(self):
        for raw in (f'{{"a": "{SECRET}" oops}}', f'["{SECRET}\\q"]', f'["{SECRET}\\u12"]', f"[{SECRET}]"):
            assert SECRET not in repr(refused(raw.encode()).args)


header_names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200)


class TestHeaders:
    @given(st.dictionaries(header_names, texts, min_size=1, max_size=5))
    def test_they_come_back_equal(self, headers):
        encoded = encode_headers(headers)
        assert encoded is not None
        assert msgspec.json.decode(encoded) == headers

    @pytest.mark.parametrize("nothing", [None, {}, MappingProxyType({})])
    def test_no_headers_are_none(self, nothing):
        assert encode_headers(nothing) is None

    def test_the_largest_allowed(self):
        headers = {f"{n:0200}": "ü" * 4096 for n in range(64)}
        encoded = encode_headers(MappingProxyType(headers))
        assert encoded is not None
        assert msgspec.json.decode(encoded) == headers

    def test_string_subclasses_become_strings(self):
        assert encode_headers({Kind.ORDER: OldKind.ORDER, "t": Text("real")}) == b'{"order":"order","t":"real"}'

    @pytest.mark.parametrize(
        ("headers", "field", "problem"),
        [
            ([("a", "b")], "headers", "is of type list"),
            ("", "headers", "is of type str"),
            ({str(n): "" for n in range(65)}, "headers", "has 65 entries"),
            ({"": "x"}, 'headers[""]', "is a name of 0 characters"),
            ({"k" * 201: "x"}, f'headers["{"k" * 40}..."]', "is a name of 201 characters"),
            ({1: "x"}, "headers", "has a key of type int"),
            ({"x-a": 1}, 'headers["x-a"]', "is of type int"),
            ({"a": None}, "headers.a", "is of type NoneType"),
            ({"a": b"x"}, "headers.a", "is of type bytes"),
            ({"a": "x" * 4097}, "headers.a", "has 4097 characters"),
            ({"a": "x\0"}, "headers.a", "has the character U+0000 at position 1"),
            ({"a": "\ud800"}, "headers.a", "has the lone surrogate U+D800 at position 0"),
            ({"a\0": "x"}, 'headers["a\\u0000"]', "is a key that has the character U+0000 at position 1"),
            ({"\ud800": "x"}, 'headers["\\ud800"]', "is a key that has the lone surrogate U+D800 at position 0"),
        ],
    )
    def test_what_is_refused(self, headers, field, problem):
        with pytest.raises(InvalidEvent) as caught:
            encode_headers(headers, index=5)
        assert (caught.value.field, caught.value.problem, caught.value.index) == (field, problem, 5)
        assert caught.value.rule
