"""The models of the engine in their small form; `make model` searches the large one, and all mutants."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

SPEC = Path(__file__).parents[2] / "spec"


def _load(path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = module  # dataclasses look their module up
    found.loader.exec_module(module)
    return module


check = _load(SPEC / "check.py")
MODELS = [path.stem for path in check.models()]


@pytest.fixture(autouse=True)
def spin() -> None:
    if packages := check.missing():
        pytest.skip(f"not run: the models need Spin and a C compiler; on Debian: apt install {' '.join(packages)}")


def test_there_is_a_model_of_each_topic() -> None:
    assert MODELS == ["keys", "leases", "retention", "spool", "windows"]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_holds_its_promise_in_every_state(name: str) -> None:
    model = SPEC / f"{name}.pml"
    result = check.search(model, check.parameters(model, "small"))
    assert not result.error
    assert result.states > 1000


@pytest.mark.parametrize("name", MODELS)
def test_a_model_with_its_first_defect_does_not(name: str) -> None:
    model = SPEC / f"{name}.pml"
    assert check.search(model, [*check.parameters(model, "small"), f"-D{check.mutants(model)[0]}"]).error
