"""A copy of the tree, in which one mutant at a time is let loose."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.mutations.mutant import Change

ROOT = Path(__file__).parents[2]
_COPIED = ("src", "tests", "docs", "bench")


class Scratch:
    """A folder with the package, its tests, and what they read. Everything that runs in it imports from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in _COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in ROOT.iterdir():
            if path.is_file() and not path.name.startswith("."):
                shutil.copy(path, folder)
        loaded = self.run(["-c", "import holdfast; print(holdfast.__file__)"], timeout=60).stdout.strip()
        assert Path(loaded).is_relative_to(folder), f"the engine that runs is not the copy but {loaded}"

    @contextmanager
    def changed(self, changes: Sequence[Change]) -> Iterator[None]:
        """All *changes* while inside. Raises: ValueError: One of them does not fit; nothing is changed then."""
        texts: dict[Path, str] = {}
        for change in changes:
            path = self.folder / change.file
            texts[path] = change.apply(texts.get(path) or path.read_text(encoding="utf-8"))
        before = {path: path.read_text(encoding="utf-8") for path in texts}
        try:
            for path, text in texts.items():
                path.write_text(text, encoding="utf-8")
            yield
        finally:
            for path, text in before.items():
                path.write_text(text, encoding="utf-8")

    def run(self, arguments: Sequence[str], *, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run Python here. Nothing that it compiles is kept: the next mutant may change the same file at once."""
        environment = os.environ | {
            "PYTHONPATH": str(self.folder / "src"), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "400",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip


@contextmanager
def scratch() -> Iterator[Scratch]:
    """A scratch copy that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-mutations-"))
    folder.chmod(0o755)  # tests of what a user may not read run the package as somebody else
    try:
        yield Scratch(folder)
    finally:
        shutil.rmtree(folder)
