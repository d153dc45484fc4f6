from __future__ import annotations

import re
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import InvalidSubscription
from holdfast.patterns import PATTERN_RULE, Matcher, check_pattern, check_patterns, matches, to_regex

segments = st.sampled_from(["a", "b", "order", "a-b", "x:/_", "A", "0"])
names = st.lists(segments, min_size=1, max_size=5).map(".".join)
patterns = st.builds(
    lambda parts, last: ".".join([*parts, last]),
    st.lists(segments | st.just("*"), max_size=4),
    segments | st.sampled_from(["*", "**"]),
)


def oracle(pattern: list[str], name: list[str]) -> bool:
    """The definition, word for word."""
    if not pattern or not name:
        return not pattern and not name
    if pattern == ["**"]:
        return len(name) >= 1
    return pattern[0] in ("*", name[0]) and oracle(pattern[1:], name[1:])


class TestMatching:
    @given(patterns, names)
    def test_all_ways_of_matching_agree_with_the_definition(self, pattern, name):
        check_pattern(pattern)
        expected = oracle(pattern.split("."), name.split("."))
        assert matches(pattern, name) == expected
        assert (re.fullmatch(to_regex(pattern), name) is not None) == expected
        assert (re.search(to_regex(pattern), name) is not None) == expected
        assert Matcher([pattern])(name) == expected

    @given(st.lists(patterns, min_size=1, max_size=8), st.lists(names, max_size=8))
    def test_a_matcher_is_any_of_its_patterns(self, several, many):
        matcher = Matcher(several)
        for name in many * 2:  # the second time from its cache
            assert matcher(name) == any(matches(pattern, name) for pattern in several)

    @pytest.mark.parametrize(
        ("pattern", "name", "expected"),
        [
            ("order.placed", "order.placed", True),
            ("order.placed", "orderXplaced", False),
            ("order.placed", "order.placed.late", False),
            ("order", "Order", False),
            ("order.*", "order.placed", True),
            ("order.*", "order", False),
            ("order.*", "order.placed.late", False),
            ("*.placed", "order.placed", True),
            ("a.*.c", "a.b.c", True),
            ("a.*.c", "a.b.b.c", False),
            ("*", "order", True),
            ("*", "order.placed", False),
            ("**", "order", True),
            ("**", "a.b.c.d", True),
            ("a.**", "a", False),
            ("a.**", "a.b", True),
            ("a.**", "a.b.c", True),
            ("a.**", "ab.c", False),
            ("*.**", "a", False),
            ("*.**", "a.b", True),
        ],
    )
    def test_examples(self, pattern, name, expected):
        assert matches(pattern, name) is expected
        assert Matcher((pattern,))(name) is expected

    @given(patterns, st.text("ab.*\n", max_size=6))
    def test_broken_names_are_seen_alike_by_all(self, pattern, name):
        found = matches(pattern, name)
        assert (re.fullmatch(to_regex(pattern), name) is not None) == found
        assert Matcher([pattern])(name) == found

    def test_a_hundred_wildcards_against_a_near_miss_take_no_time_to_speak_of(self):
        pattern = check_pattern(".".join(["*"] * 99) + ".**")
        near_miss = ".".join(["a"] * 99)
        assert not Matcher([pattern])(near_miss)
        assert not matches(pattern, near_miss)
        assert Matcher([pattern])(near_miss + ".a")

    def test_the_regexes_as_they_are_sent_to_the_database(self):
        assert to_regex("order.placed") == r"^order\.placed$"
        assert to_regex("*.placed") == r"^[^.]+\.placed$"
        assert to_regex("a.**") == r"^a\.[^.]+(?:\.[^.]+)*$"


class Pattern(StrEnum):
    ORDERS = "order.*"


class TestRules:
    @given(patterns)
    def test_valid_patterns_come_back(self, pattern):
        assert check_pattern(pattern) == pattern

    @pytest.mark.parametrize(
        ("pattern", "problem"),
        [
            ("", "is empty"),
            ("a..b", "'a..b' has an empty segment"),
            (".a", "'.a' has an empty segment"),
            ("a.", "'a.' has an empty segment"),
            ("a*", "'a*' has the segment 'a*'"),
            ("a.*b.c", "'a.*b.c' has the segment '*b'"),
            ("***", "'***' has the segment '***'"),
            ("**.a", "'**.a' has '**' before its end"),
            ("a.**.**", "'a.**.**' has '**' before its end"),
            ("^a.+$", "has the segment '^a'"),
            ("a|b", "has the segment 'a|b'"),
            ("[a-z]", "has the segment '[a-z]'"),
            ("a b", "has the segment 'a b'"),
            ("a\n", "has the segment 'a\\n'"),
            ("a%", "has the segment 'a%'"),
            ("\ud800", "has the segment '\\ud800'"),
            ("a" * 201, "has 201 characters"),
            (".".join(["*"] * 1000), "has 1999 characters"),
            (None, "is of type NoneType"),
            (b"a", "is of type bytes"),
        ],
    )
    def test_what_is_refused(self, pattern, problem):
        with pytest.raises(InvalidSubscription) as caught:
            check_pattern(pattern)
        assert caught.value.field == "patterns"
        assert problem in caught.value.problem
        assert caught.value.rule == PATTERN_RULE
        assert len(str(caught.value)) < 400

    def test_one_or_several(self):
        assert check_patterns("order.*") == ("order.*",)
        assert check_patterns(["b", "a", "b", "**"]) == ("b", "a", "**")
        assert check_patterns(("a",)) == ("a",)

    def test_a_member_of_a_str_enum_becomes_a_plain_string(self):
        assert [type(one) for one in (*check_patterns(Pattern.ORDERS), *check_patterns([Pattern.ORDERS]))] == [str, str]

    def test_a_hundred_different_ones(self):
        hundred = [f"n{number}" for number in range(100)]
        assert check_patterns(hundred * 2) == tuple(hundred)

    @pytest.mark.parametrize(
        ("given", "field", "problem", "rule"),
        [
            ([], "patterns", "has 0 patterns", "1 to 100"),
            ([f"n{number}" for number in range(101)], "patterns", "has 101 patterns", "1 to 100"),
            (None, "patterns", "is of type NoneType", "one pattern or a list"),
            ({"a": 1}, "patterns", "is of type dict", "one pattern or a list"),
            (len, "patterns", "is a function", "with an event name"),
            (["a", "b", "c", "d*"], "patterns[3]", "'d*' has the segment 'd*'", PATTERN_RULE),
            (["a", ["b"]], "patterns[1]", "is of type list", PATTERN_RULE),
        ],
    )
    def test_lists_that_are_refused(self, given, field, problem, rule):
        with pytest.raises(InvalidSubscription) as caught:
            check_patterns(given)
        assert (caught.value.field, caught.value.problem) == (field, problem)
        assert rule in caught.value.rule
