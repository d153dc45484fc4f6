"""
The site for programs that read: llms.txt, a list of the pages with what each is about, as https://llmstxt.org has it;
llms-full.txt, all of them in one; and beside each page its Markdown. Made of the navigation and of docs/index.md.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reference import spelled_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.nav import Navigation
    from mkdocs.structure.pages import Page

DOCS = Path(__file__).parents[1] / "docs"
_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_ITEM = re.compile(r"^- \[[^\]]+\]\(([^)]+)\): (.+(?:\n  .+)*)", re.MULTILINE)
_PARAGRAPH = re.compile(r"^(?![#|<>!:\s]|- |\d+\. ).+(?:\n.+)*", re.MULTILINE)
_SENTENCE = re.compile(r".+?\.(?=\s|$)")
_NAV: dict[str, Navigation] = {}


def on_nav(nav: Navigation, **_: Any) -> None:
    _NAV["of the site"] = nav


def on_env(env: Any, *, config: MkDocsConfig, files: Files) -> None:  # noqa: ARG001 - by their names
    """All pages have been read, and none is written."""
    folder, about = Path(config.site_dir), _told_by_index()
    texts = {file.src_uri: _text(file.page) for file in files.documentation_pages()}
    for name, text in texts.items():
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text, "utf-8")
    parts, listed = [f"# {config.site_name}", f"> {config.site_description}"], []
    for section in _NAV["of the site"].items:
        entries = []
        for page in _pages(section):
            name = page.file.src_uri
            listed.append(texts[name])
            entries.append(f"- [{page.title}]({name}): {about.get(name) or _first_sentence(texts[name])}")
        parts.append(f"## {section.title}\n\n" + "\n".join(entries))
    (folder / "llms.txt").write_text("\n\n".join(parts) + "\n", "utf-8")
    (folder / "llms-full.txt").write_text("\n\n".join(listed), "utf-8")


def _pages(item: Any) -> Iterator[Page]:
    if item.is_page:
        yield item
    for inner in item.children or ():
        yield from _pages(inner)


def _text(page: Any) -> str:
    return spelled_out(_COMMENT.sub("", page.markdown)).strip() + "\n"


def _told_by_index() -> dict[str, str]:
    """What docs/index.md says of the pages that it lists."""
    return {name: _plain(text) for name, text in _ITEM.findall((DOCS / "index.md").read_text("utf-8"))}


def _first_sentence(text: str) -> str:
    paragraph = _PARAGRAPH.search(_CODE.sub("", text))
    words = _plain(paragraph[0]) if paragraph else ""
    sentence = _SENTENCE.match(words)
    return sentence[0] if sentence else words


def _plain(text: str) -> str:
    return " ".join(_LINK.sub(r"\1", text).split())
