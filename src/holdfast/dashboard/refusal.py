"""What a request is told that is not answered with a page."""

from __future__ import annotations


class Refusal(Exception):
    """
    Ends a request with *status* and a page of one sentence.

    Args:
        status: Of HTTP.
        title: What has happened, in a few words.
        text: What to do about it.
    """

    def __init__(self, status: int, title: str, text: str) -> None:
        super().__init__(status, title, text)
        self.status, self.title, self.text = status, title, text
