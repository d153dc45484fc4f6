"""Text that came from elsewhere, made fit for a terminal or a log: nothing in it moves the cursor or forges a line."""

from __future__ import annotations

import unicodedata


def clean(text: str, *, lines: bool = False) -> str:
    """*text* with control, bidirectional and unassigned characters escaped; with *lines*, line ends and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(one) if _is_unsafe(one) and not (lines and one in "\n\t") else one for one in text)


def clean_json(text: str) -> str:
    """The same for JSON text, where such characters stand in strings only and are written by number."""
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(_escaped_in_json(one) if one != "\n" and _is_unsafe(one) else one for one in text)


def _is_unsafe(character: str) -> bool:
    # Cc control, Cf format (bidi overrides), Cs lone surrogates, Co private, Cn unassigned; Zl, Zp line ends
    category = unicodedata.category(character)
    return category[0] == "C" or category in {"Zl", "Zp"}


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _escaped_in_json(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
