"""What people install: the wheel alone, in an empty environment, runs the first lines of the README."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_runs_the_first_lines_of_the_readme(tmp_path):
    run(sys.executable, "-m", "pip", "wheel", ROOT, "--no-deps", "--no-build-isolation", "-w", tmp_path, cwd=tmp_path)
    (wheel,) = tmp_path.glob("holdfast-*.whl")
    packed = zipfile.ZipFile(wheel).namelist()
    kinds = {".sql", ".html", ".css", ".js", ".svg", ".LICENSE"}
    files = [path for path in (ROOT / "src" / "holdfast").rglob("*") if path.suffix in kinds]
    ours = {path.relative_to(ROOT / "src").as_posix() for path in files}
    assert ours <= set(packed)
    assert "holdfast/py.typed" in packed

    run(sys.executable, "-m", "venv", tmp_path / "empty", cwd=tmp_path)
    python = tmp_path / "empty" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    first = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert first is not None
    assert len([line for line in first.group(1).splitlines() if line]) == 8
    (tmp_path / "app.py").write_text(first.group(1), "utf-8")
    assert "order" in run(python, "app.py", cwd=tmp_path)
