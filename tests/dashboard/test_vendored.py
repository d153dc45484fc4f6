"""What comes from elsewhere is as it was published, and small."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import holdfast

STATIC = Path(holdfast.__file__).parent / "dashboard" / "static"
VENDOR = STATIC / "vendor"


def test_vendored_files_are_those_of_the_packages_named_with_licence_and_version():
    rows = re.findall(
        r"\| `(\S+)` \| \[(\S+)\]\(https://\S+\) \| (\S+) \| \S+ `(\S+)` \| `(\w{64})` \|",
        (VENDOR / "README.md").read_text("utf-8"),
    )
    assert {row[0] for row in rows} == {path.name for path in VENDOR.iterdir() if path.suffix in {".js", ".css"}}
    for name, _, version, licence, digest in rows:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
        assert version in name
        assert (VENDOR / licence).stat().st_size > 500


def test_all_the_javascript_is_less_than_120_kilobytes():
    assert sum(path.stat().st_size for path in STATIC.rglob("*.js")) < 120_000


def test_the_templates_name_files_that_are_there_and_none_from_elsewhere():
    text = "".join(path.read_text("utf-8") for path in (STATIC.parent / "templates").glob("*.html"))
    named = re.findall(r"\{\{ root \}\}/static/([\w./-]+)", text)
    assert named
    assert [name for name in named if not (STATIC / name).exists()] == []
    assert re.findall(r"https?://", text) == []
