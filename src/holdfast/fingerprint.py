"""What errors have in common: a fingerprint of each, the same for those that happened for the same reason. Pure.

It is made of the exception's type, its message without what differs from case to case, and the innermost frame of its
traceback, where there is one: file and function, without the line, which moves with every change of the file.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

MESSAGE_LENGTH = 300
_QUOTED = re.compile(r"""(?<!\w)(['"`])(?:(?!\1).){0,500}?\1(?!\w)""", re.DOTALL)
_WORD = re.compile(r"\w+(?:[.:+-]\w+)*")
_SEVERAL = re.compile(r"#(?:[\s,;]+#)+")
_SEPARATOR = re.compile(r"[/\\]")
_FRAME = re.compile(r'^ {2}File "([^"\n]+)", line \d+, in (.+)$', re.MULTILINE)


class Fingerprint(NamedTuple):
    """
    What an error has in common with others.

    Attributes:
        digest: 12 hexadecimal digits; same digest, same reason.
        error: Type of the exception; empty where none is on record.
        message: Masked, without the type in front.
        frame: ``file.py: function``, or None.
    """

    digest: str
    error: str
    message: str
    frame: str | None


def fingerprint(error: str | None, message: str | None, traceback: str | None) -> Fingerprint:
    """
    The fingerprint of an error as an attempt keeps it.

    Args:
        error: Type of the exception.
        message: With or without the type in front.
        traceback: Whole, or its last part; None where none was kept.
    """
    kind = error or ""
    text = masked((message or "").removeprefix(f"{kind}: ") if message != kind else "")
    frame = innermost(traceback)
    return Fingerprint(_digest(kind, text, frame or ""), kind, text, frame)


@lru_cache(maxsize=1_024)
def _digest(*parts: str) -> str:
    return blake2b("\x1f".join(parts).encode("utf-8", "replace"), digest_size=6).hexdigest()


def masked(message: str) -> str:
    """
    *message* without what differs from case to case, in one line.

    What stands in quotes becomes ``'?'``; a word with a digit in it, be it a number, an id, a time or an address,
    becomes ``#``, and so do several of them in a row.
    """
    text = _QUOTED.sub("'?'", message)
    if any(map(str.isdigit, text)):
        text = _WORD.sub(lambda word: "#" if any(map(str.isdigit, word[0])) else word[0], text)
    return " ".join(_SEVERAL.sub("#", text).split())[:MESSAGE_LENGTH]


def innermost(traceback: str | None) -> str | None:
    """File and function of the frame that raised: the last one of the text."""
    frames = _FRAME.findall(traceback or "")
    if not frames:
        return None
    path, function = frames[-1]
    return f"{_SEPARATOR.split(path)[-1]}: {function}"
