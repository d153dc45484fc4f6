"""The site of the documentation is built without a warning, is whole, and asks nobody else for anything."""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import click
import pytest

import holdfast
from holdfast import errors
from holdfast.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
pytestmark = pytest.mark.timeout(300)  # the site is built once, beside all other tests
PICTURES = sorted((DOCS / "pictures").iterdir())
TELEPHONE, DESK = {"width": 375, "height": 800}, {"width": 1280, "height": 900}

_ID = re.compile(r'\s(?:id|name)="([^"]*)"')
_HREF = re.compile(r'<a\s[^>]*?\bhref="([^"]*)"')
_LOADED = re.compile(r'<(?:img|script|iframe|source|link)\s[^>]*?\b(?:src|srcset|href)="([^"]*)"')
_IN_CSS = re.compile(r"""url\(\s*["']?(?!data:|#)([^"')]+)|@import\s+([^;]+)""")
_CODE = re.compile(r"<pre.*?</pre>", re.DOTALL)
_LEFT = re.compile(r"^(?:[-*] |\| |::: |```).*", re.MULTILINE)


class Written(NamedTuple):
    """What a page of the site says of others. *loaded*: what a browser fetches by itself."""

    html: str
    ids: frozenset[str]
    links: list[str]
    loaded: list[str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Written]:
    """By place; but for the one that a server shows where there is none."""
    return {
        place: written(path.read_text("utf-8"))
        for path in sorted(site.rglob("*.html"))
        if (place := path.relative_to(site).as_posix()) != "404.html"
    }


def written(html: str) -> Written:
    ids = frozenset(map(unescape, _ID.findall(html)))
    return Written(html, ids, [*map(unescape, _HREF.findall(html))], [*map(unescape, _LOADED.findall(html))])


def fault(link: str, place: str, site: Path, pages: dict[str, Written]) -> str | None:
    """What is wrong with a link of the page at *place* to something in the site."""
    path, _, anchor = link.partition("#")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(place), unquote(path))) if path else place
    if path.startswith("/"):
        return "works at the root of a server only"
    if not (site / target).is_file():
        return "leads nowhere"
    return "has no such anchor" if anchor and target in pages and unquote(anchor) not in pages[target].ids else None


def test_every_link_and_every_anchor_leads_somewhere(site: Path, pages: dict[str, Written]) -> None:
    broken = [
        f"{place}: {link} {wrong}"
        for place, page in pages.items()
        for link in dict.fromkeys([*page.links, *page.loaded])
        if not re.match(r"[a-z]+:", link) and (wrong := fault(link, place, site, pages))
    ]
    assert broken == []
    assert sum(len(page.links) for page in pages.values()) > 1000


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[str, Written]) -> None:
    loaded = {
        f"{place}: {link}" for place, page in pages.items() for link in page.loaded if ":" in link or "//" in link
    }
    styles = {
        f"{path.name}: {found[0]}"
        for path in site.rglob("*.css")
        for found in _IN_CSS.finditer(path.read_text("utf-8"))
        if "//" in found[0]
    }
    assert loaded | styles == set()


def test_every_page_of_the_documentation_is_in_the_navigation_and_in_llms_txt(site: Path) -> None:
    listed = re.findall(r"^- \[[^\]]+\]\(([^)]+)\): \S", (site / "llms.txt").read_text("utf-8"), re.MULTILINE)
    shown = re.findall(
        r'class="md-nav__link"[^>]*href="([^"]+)"|href="([^"]+)"[^>]*class="md-nav__link',
        (site / "404.html").read_text("utf-8"),
    )
    navigation = {(one or other).lstrip("/") for one, other in shown}
    assert {path.name for path in DOCS.glob("*.md")} <= set(listed)
    assert {name.replace("README.md", "index.md").replace(".md", ".html") for name in listed} <= navigation
    assert len(listed) == len(set(listed))


def test_each_page_has_its_markdown_beside_it_and_all_are_in_one_text(site: Path) -> None:
    everything = (site / "llms-full.txt").read_text("utf-8")
    for path in DOCS.glob("*.md"):
        copy = (site / path.name).read_text("utf-8")
        assert copy.splitlines()[0] == path.read_text("utf-8").splitlines()[0]
        assert copy in everything
    assert "Declare a durable subscription" in everything
    assert "::: " not in everything


def test_no_markdown_is_left_in_what_is_shown(pages: dict[str, Written]) -> None:
    left = {place: found[0] for place, page in pages.items() if (found := _LEFT.search(_CODE.sub("", page.html)))}
    assert left == {}


def test_every_public_name_is_in_the_reference(pages: dict[str, Written]) -> None:
    ids = frozenset[str]().union(*(page.ids for place, page in pages.items() if place.startswith("reference/")))
    classes = [name for name in holdfast.__all__ if not name.startswith("global_")]
    assert [name for name in classes if not {f"holdfast.{name}", f"holdfast.errors.{name}"} & ids] == []
    kinds = [
        name for name, kind in vars(errors).items() if isinstance(kind, type) and kind.__module__ == errors.__name__
    ]
    assert [name for name in kinds if f"holdfast.errors.{name}" not in ids] == []


def commands(command: click.Command, path: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            assert inner is not None
            yield f"{path}-{name}"
            yield from commands(inner, f"{path}-{name}")


def test_every_command_describes_itself(pages: dict[str, Written]) -> None:
    page = pages["command-line.html"]
    assert set(commands(main, "holdfast")) <= page.ids
    assert "--subscription" in page.html


def test_each_promise_leads_to_the_lines_of_a_test(pages: dict[str, Written]) -> None:
    links = pages["guarantees.html"].links
    assert {f"#i{number}" for number in range(1, 10)} <= set(links)
    assert "tests/bus/test_handling.py.html#test_behind_a_dead_event_a_key_goes_on" in links


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_shown_is_named_and_brings_all_it_needs(picture: Path, pages: dict[str, Written]) -> None:
    root = ET.fromstring(picture.read_text("utf-8"))
    assert root[0].tag.endswith("title")
    assert root[0].text
    assert any(f"pictures/{picture.name}" in page.loaded for page in pages.values())
    assert "href" not in picture.read_text("utf-8")


@pytest.fixture
def visit(browser: Browser, site: Path) -> Iterator[Any]:
    """Opens pages from the disk; what the browser complains of, or fetches from a host, fails the test."""
    wrong: list[str] = []

    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on(
            "request",
            lambda asked: None if asked.url.startswith(("file:", "data:", "about:")) else wrong.append(asked.url),
        )
        page.on("console", lambda said: wrong.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))

        def open_page(place: str, size: Any = DESK) -> Any:
            page.set_viewport_size(size)
            page.goto((site / place).as_uri(), wait_until="load")
            return page

        yield open_page
    assert wrong == []


def test_search_works_from_the_disk(visit: Any) -> None:
    page = visit("concepts.html")
    page.locator("[data-md-component=search-query]").fill("unsettled poison")
    page.locator(".md-search-result__item").first.wait_for(state="attached")


def test_no_page_is_wider_than_a_telephone(visit: Any, pages: dict[str, Written]) -> None:
    wide = []
    for place in pages:
        if not place.startswith("tests/"):
            page = visit(place, TELEPHONE)
            if (width := page.evaluate("document.documentElement.scrollWidth")) > TELEPHONE["width"]:
                wide.append((place, width))
    assert wide == []


def test_every_picture_is_drawn(visit: Any) -> None:
    for place in ("concepts.html", "performance.html"):
        page = visit(place)
        sizes = page.evaluate("[...document.querySelectorAll('article img')].map(one => [one.naturalWidth, one.width])")
        assert len(sizes) >= len(PICTURES)
        assert all(natural > 0 and 0 < shown <= 1000 for natural, shown in sizes)
