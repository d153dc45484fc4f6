"""From an empty folder to the first handled event, by the clock: ``python bench/first_event.py [--rounds 5]``."""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from holdfast.bench.machine import machine

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path) -> float:
    """Seconds that it takes."""
    begun = time.perf_counter()
    subprocess.run(command, cwd=cwd, capture_output=True, check=True)
    return time.perf_counter() - begun


def first_program() -> str:
    found = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def measured(wheel: Path, program: str) -> tuple[float, float, float]:
    """Seconds for an environment, for installing the wheel in it, and for the program."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = folder / "venv" / "bin" / "python"
        (folder / "app.py").write_text(program, "utf-8")
        return (
            run(sys.executable, "-m", "venv", "venv", cwd=folder),
            run(python, "-m", "pip", "install", wheel, cwd=folder),
            run(python, "app.py", cwd=folder),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, help="write it there too")
    given = parser.parse_args()
    program = first_program()
    lines = sum(bool(line.strip()) for line in program.splitlines())
    with tempfile.TemporaryDirectory() as name:
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", name, ROOT, cwd=ROOT)
        (wheel,) = Path(name).glob("*.whl")
        measured(wheel, program)  # the first one fills pip's cache
        rounds = [measured(wheel, program) for _ in range(given.rounds)]
    made, installed, ran = (statistics.median(one) for one in zip(*rounds, strict=True))
    whole = statistics.median(map(sum, rounds))
    facts = machine(Path(tempfile.gettempdir()))
    text = (
        f"From an empty folder to the first handled event: {whole:.1f} s, of which the environment takes {made:.1f}, "
        f"installing {installed:.1f}, the program of {lines} lines {ran:.2f}.\nMedians of {given.rounds} rounds, with pip's "
        f"cache warm; {facts['cores']} cores of {facts['processor']}, {facts['python']}.\n"
    )
    sys.stdout.write(text)
    if given.results is not None:
        given.results.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
