"""Checks the Promela models beside this file with Spin, and that each of their mutants is caught.

    python spec/check.py [--small] [model ...]

A model's header names its parameters (``small:``, ``large:``) and its mutants (``mutant NAME: what it breaks``).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
NEEDED = {"spin": "spin", "gcc": "gcc"}
"""Programs, and the Debian packages that have them."""
_MEGABYTES = 8000


@dataclass(frozen=True)
class Result:
    """What one search found; ``error`` is empty where every promise held in every state."""

    error: str
    states: int
    depth: int
    seconds: float
    megabytes: float


def missing() -> list[str]:
    """Debian packages to install first."""
    return [package for program, package in NEEDED.items() if shutil.which(program) is None]


def models() -> list[Path]:
    return sorted(HERE.glob("*.pml"))


def parameters(model: Path, size: str) -> list[str]:
    found = re.search(rf"^{size}: (.*)$", model.read_text(), re.MULTILINE)
    assert found is not None, f"{model} has no {size} parameters"
    return found[1].split()


def mutants(model: Path) -> list[str]:
    return re.findall(r"^mutant (\w+):", model.read_text(), re.MULTILINE)


def search(model: Path, flags: list[str]) -> Result:
    """Look at every state that *model* can reach, up to the first error.

    Raises:
        RuntimeError: The search did not come to its end.
    """
    with tempfile.TemporaryDirectory() as folder:
        _run(["spin", "-a", *flags, str(model)], folder)
        _run(["gcc", "-O1", "-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={_MEGABYTES}", "-o", "pan", "pan.c"], folder)
        output = _run(["./pan", "-m1000000", "-w22"], folder)
    if "max search depth too small" in output or "out of memory" in output or "errors: " not in output:
        raise RuntimeError(f"the search of {model.name} was cut short:\n{output}")
    error = re.search(r"^pan:\d+: (.*)", output, re.MULTILINE)
    return Result(
        error[1] if error else "",
        int(_number(output, r"(\d+) states, stored")),
        int(_number(output, r"depth reached (\d+)")),
        _number(output, r"elapsed time ([\d.]+)"),
        _number(output, r"([\d.]+)\s+total actual memory"),
    )


def _run(command: list[str], folder: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode and command[0] != "./pan":
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _number(output: str, pattern: str) -> float:
    found = re.search(pattern, output)
    return float(found[1]) if found else 0.0


def main(arguments: list[str]) -> int:
    if packages := missing():
        print(f"Not run: the models need Spin and a C compiler; on Debian:  apt install {' '.join(packages)}")
        return 1
    size = "small" if "--small" in arguments else "large"
    named = {name for name in arguments if not name.startswith("-")}
    failed = False
    print("| model | states | depth | seconds | MB | |\n| --- | ---: | ---: | ---: | ---: | --- |", flush=True)
    for model in models():
        if named and model.stem not in named:
            continue
        flags = parameters(model, size)
        for mutant in ("", *mutants(model)):
            result = search(model, [*flags, f"-D{mutant}"] if mutant else flags)
            good = bool(result.error) == bool(mutant)
            failed |= not good
            verdict = (
                (f"caught: {result.error}" if mutant else "holds") if good else f"WRONG: {result.error or 'not caught'}"
            )
            figures = f"{result.states:,} | {result.depth:,} | {result.seconds:.1f} | {result.megabytes:.0f}"
            print(f"| {mutant or model.stem} | {figures} | {verdict} |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
