"""
One text for forge and site: a link is written once, as it works in the repository.

Files outside docs/ that a page links to, or the navigation names, become part of the site. Their place in it is their
path in the repository; that of a page of docs/ is its path without ``docs/``. Links are turned into these places.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File, InclusionLevel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = "docs/"
_CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)\s#]+)(?=[#)])")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    pages = [DOCS + file.src_uri for file in files.documentation_pages() if file.generated_by is None]
    named = [name for name in _named(config.nav) if files.get_file_from_path(name) is None]
    for path in sorted(_reached([*pages, *named])):
        place = str(ROOT / path)
        files.append(File.generated(config, path, abs_src_path=place, inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    place = page.file.src_uri
    path = place if page.file.abs_src_path == str(ROOT / place) else DOCS + place
    return _outside_of_code(
        markdown, lambda text: _LINK.sub(lambda link: _between(place, _target(link[1], path).removeprefix(DOCS)), text)
    )


def _named(nav: Any) -> Iterator[str]:
    """The pages that a part of the navigation names."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav or ():
            yield from _named(part)


def _reached(paths: Iterable[str]) -> set[str]:
    """Files outside docs/ among *paths*, and those to which links lead from there, one after the other."""
    seen: set[str] = set()
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if path in seen or not (ROOT / path).is_file():
            continue
        seen.add(path)
        if path.endswith(".md"):
            text = _CODE.sub("", (ROOT / path).read_text("utf-8"))
            waiting += [_target(link[1], path) for link in _LINK.finditer(text)]
    return {path for path in seen if not path.startswith(DOCS)}


def _target(link: str, path: str) -> str:
    """The path in the repository to which *link* leads from the file at *path*."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def _between(place: str, other: str) -> str:
    return posixpath.relpath(other, posixpath.dirname(place) or ".")


def _outside_of_code(markdown: str, changed: Callable[[str], str]) -> str:
    parts = _CODE.split(markdown)
    parts[::2] = map(changed, parts[::2])
    return "".join(parts)
