"""Tests that a page names, as `tests/…::test_…`, can be read in the site: the name becomes a link to the test's lines."""

from __future__ import annotations

import ast
import posixpath
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# A name without a file is of the one that was named last.
_NAME = re.compile(r"<code>(?:(tests/[\w/]+\.py)((?:::\w+)*)|((?:::\w+)?::test_\w+))</code>")
_NAMED: set[str] = set()


def on_page_content(html: str, *, page: Page, **_: Any) -> str:
    last = ""

    def linked(name: re.Match[str]) -> str:
        nonlocal last
        last = name[1] or last
        _NAMED.add(last)
        source = posixpath.relpath(f"{last}.html", posixpath.dirname(page.file.dest_uri) or ".")
        return f'<a href="{source}#{(name[2] or name[3] or "").removeprefix("::")}">{name[0]}</a>'

    return _NAME.sub(linked, html)


def on_post_build(*, config: MkDocsConfig) -> None:
    for path in _NAMED:
        target = Path(config.site_dir, f"{path}.html")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_page(path, (ROOT / path).read_text("utf-8")), "utf-8")


def _page(path: str, source: str) -> str:
    """The source, with an anchor for each test."""
    up = posixpath.relpath(".", posixpath.dirname(path))
    anchors = dict(_lines(ast.parse(source)))
    lines = [
        f'<span id="{anchors[number]}">{escape(line)}</span>' if number in anchors else escape(line)
        for number, line in enumerate(source.splitlines(), 1)
    ]
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        f'<title>{path}</title>\n<link rel="stylesheet" href="{up}/assets/source.css">\n'
        f'<p><a href="{up}/index.html">Holdfast</a> / {path}</p>\n<pre>{chr(10).join(lines)}</pre>\n</html>\n'
    )


def _lines(tree: ast.AST, within: str = "") -> Iterator[tuple[int, str]]:
    """(line, name) of classes, of their functions, and of functions, named as pages do."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, within + node.name
            if isinstance(node, ast.ClassDef):
                yield from _lines(node, f"{node.name}::")
