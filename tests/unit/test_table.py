"""Tables in terminals of any width."""

from __future__ import annotations

import subprocess
from pathlib import Path
from uuid import UUID

import pytest

from holdfast.cli.table import Column, display_width, sentence_lines, shortened, table_lines

ID = str(UUID(int=7))
LETTERS = (
    Column("event"), Column("subscription"), Column("name", spare=2, cut=True), Column("attempts", spare=3, quiet=True),
    Column("key", spare=1, cut=True), Column("died"), Column("reason", cut=True),
)  # fmt: skip


def letter(**cells: str) -> list[str]:
    named = {
        "event": ID, "subscription": "billing", "name": "order.placed", "attempts": "2", "key": "order-13",
        "died": "3 min ago", "reason": "RuntimeError: there is no such customer here",
    }  # fmt: skip
    return [*(named | cells).values()]


@pytest.mark.parametrize("width", range(70, 200, 7))
def test_no_line_is_wider_than_the_terminal_and_no_id_or_time_is_cut(width):
    lines = table_lines(LETTERS, [letter(), letter(subscription="mail", reason="short")], width)
    assert max(map(display_width, lines)) <= width
    assert all(any(text in line for line in lines) for text in (ID, "3 min ago", "billing", "mail"))


def test_where_there_is_no_terminal_all_is_shown():
    heading, line = table_lines(LETTERS, [letter(reason="x" * 300)], None)
    assert heading.split() == ["EVENT", "SUBSCRIPTION", "NAME", "ATTEMPTS", "KEY", "DIED", "REASON"]
    assert line.endswith("x" * 300)


def test_spare_columns_go_before_a_text_is_cut_too_short():
    heading, line = table_lines(LETTERS, [letter()], 100)
    assert heading.split() == ["EVENT", "SUBSCRIPTION", "KEY", "DIED", "REASON"]
    assert "RuntimeError: there is no" in line
    assert line.endswith("…")


def test_what_does_not_fit_at_all_is_shown_in_blocks_with_every_column():
    lines = table_lines(LETTERS, [letter(), letter()], 60)
    assert lines[:7] == [
        f"EVENT         {ID}",
        "SUBSCRIPTION  billing",
        "NAME          order.placed",
        "ATTEMPTS      2",
        "KEY           order-13",
        "DIED          3 min ago",
        "REASON        RuntimeError: there is no such customer here",
    ]
    assert lines[7] == ""


def test_a_quiet_column_waits_until_a_row_has_something_to_say():
    marked = [Column("subscription"), Column("retrying", quiet=True)]
    assert table_lines(marked, [["a", "0"], ["b", "-"]], 80) == ["SUBSCRIPTION", "a", "b"]
    assert table_lines(marked, [["a", "0"], ["b", "3"]], 80)[2] == "b             3"


def test_wide_characters_take_two_cells_and_combining_marks_none():
    assert [display_width(text) for text in ("東京", "é", "e\u0301", "ab")] == [4, 1, 1, 2]
    lines = table_lines([Column("tenant"), Column("n")], [["東京", "1"], ["acme", "2"]], 80)
    assert [display_width(line) for line in lines] == [9, 9, 9]
    assert shortened("東京東京", 6) == "東京…"


def test_a_sentence_breaks_between_words_and_never_inside_a_command():
    text = "start a worker that declares it, or forget it with  holdfast subscriptions remove shop.archive  and go on"
    assert sentence_lines(text, 60, indent=4) == [
        "start a worker that declares it, or forget it with",
        "    holdfast subscriptions remove shop.archive  and go on",
    ]
    assert "holdfast subscriptions remove shop.archive" in "\n".join(sentence_lines(text, 20, indent=4))
    assert sentence_lines(text, None, indent=4) == [text]
    assert sentence_lines("", 60, indent=4) == [""]


def test_the_help_of_make_fits_a_terminal_of_80_columns():
    root = Path(__file__).parents[2]
    shown = subprocess.run(
        ["make", "--no-print-directory", "-C", root, "help"], capture_output=True, text=True, check=True
    )
    assert "make demo" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
