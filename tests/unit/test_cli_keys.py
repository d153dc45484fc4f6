"""``holdfast keys``, and what other commands show of encrypted payloads with and without the master keys."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from holdfast.cli import main
from holdfast.encryption import MasterKeys
from holdfast.stores import erasing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "master.keys"


@pytest.fixture
def run(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command on a store of its own; with the keys in the environment unless ``blind=True``."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOLDFAST_DSN", f"sqlite:///{tmp_path / 'shop.db'}")
    monkeypatch.setattr(erasing, "KEY_SECONDS", 0.0)
    monkeypatch.setattr(erasing, "_KEY_MARGIN_SECONDS", 0.0)

    def invoke(*arguments: str, code: int = 0, blind: bool = False) -> Result:
        environment: dict[str, Any] = {"HOLDFAST_MASTER_KEYS_FILE": None if blind else str(keys)}
        result = CliRunner().invoke(main, arguments, env=environment)
        assert result.exit_code == code, result.output
        return result

    return invoke


def test_a_key_is_made_for_its_user_alone_and_rotated(run: Callable[..., Result], keys: Path) -> None:
    run("keys", "make", "2026", "--file", str(keys))
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    event_id = run("publish", "order.placed", '{"mail": "ann@example.org"}', "--key", "ann").stdout.strip()
    assert json.loads(run("keys", "--json").stdout) == [{"master": "2026", "kept": 1, "erased": 0}]
    run("keys", "make", "2027", "--file", str(keys), "--first")
    assert MasterKeys.from_file(keys).current == "2027"
    assert "1 data key is under 2027 now" in run("keys", "rotate").stdout
    keys.write_text(keys.read_text("utf-8").splitlines()[0], "utf-8")
    assert "ann@example.org" in run("event", event_id).stdout
    assert [one["action"] for one in json.loads(run("audit", "--json").stdout)] == ["keys rotate"]


def test_seals_are_of_what_is_stored_whoever_has_the_keys(run: Callable[..., Result], keys: Path) -> None:
    run("keys", "make", "a", "--file", str(keys))
    run("publish", "order.placed", '{"mail": "ann@example.org"}', "--key", "ann")
    assert run("seal").stdout == "1 event sealed in 1 link.\n"
    assert run("verify").stdout == run("verify", blind=True).stdout
    assert "1 event as sealed" in run("verify").stdout


def test_a_name_is_given_once(run: Callable[..., Result], keys: Path) -> None:
    run("keys", "make", "a", "--file", str(keys))
    assert "again" in run("keys", "make", "a", "--file", str(keys), code=1).stderr
    run("keys", "make", "a b", code=1)
    run("keys", "make", "c", "--first", code=2)


def test_a_printed_key_is_one(run: Callable[..., Result]) -> None:
    assert MasterKeys.from_text(run("keys", "make", "a").stdout, "here").current == "a"


def test_without_the_keys_payloads_show_as_encrypted(run: Callable[..., Result], keys: Path) -> None:
    run("keys", "make", "a", "--file", str(keys))
    event_id = run("publish", "order.placed", '{"mail": "ann@example.org"}').stdout.strip()
    assert "ann@example.org" in run("event", event_id).stdout
    blind = run("event", event_id, blind=True).stdout
    assert "payload   encrypted, and there is no key for it here" in blind
    assert "ann@example.org" not in blind
    assert list(json.loads(run("event", event_id, "--json", blind=True).stdout)["payload"]) == ["holdfast.encrypted"]


def test_a_search_by_payload_says_that_it_cannot(run: Callable[..., Result], keys: Path) -> None:
    run("publish", "order.placed", '{"n": 1}', blind=True)
    assert "not searched" not in run("events", "--payload", "n=1", blind=True).stderr
    run("keys", "make", "a", "--file", str(keys))
    run("publish", "order.placed", '{"n": 1}')
    found = run("events", "--payload", "n=1", "--json")
    assert len(json.loads(found.stdout)["events"]) == 1
    assert "encrypted were not searched" in found.stderr


def test_erasing_says_which_keys_it_drops(run: Callable[..., Result], keys: Path) -> None:
    run("keys", "make", "a", "--file", str(keys))
    event_id = run("publish", "order.placed", '{"mail": "ann@example.org"}', "--key", "ann").stdout.strip()
    assert "1 data key would be dropped" in run("erase", "--key", "ann", "--dry-run").stdout
    told = run("erase", "--key", "ann", "--yes", blind=True).stdout
    assert "1 data key is dropped" in told
    assert "  backups and archives of subject_keys" in told
    assert "holdfast.erased" in run("event", event_id).stdout
    assert json.loads(run("keys", "--json").stdout) == [{"master": "a", "kept": 0, "erased": 1}]


def test_rotating_without_keys_is_wrong_usage_and_with_others_a_failure(run: Callable[..., Result], keys: Path) -> None:
    run("keys", "make", "a", "--file", str(keys))
    run("publish", "order.placed", "1")
    assert "HOLDFAST_MASTER_KEYS_FILE" in run("keys", "rotate", blind=True, code=2).stderr
    keys.unlink()
    run("keys", "make", "b", "--file", str(keys))
    assert "1 data key is under master keys that are not in the file" in run("keys", "rotate", code=1).stderr
    assert "'a'" in run("publish", "order.placed", "2", code=1).stderr


def test_a_file_of_keys_that_is_missing_stops_every_command(run: Callable[..., Result]) -> None:
    run("publish", "order.placed", "1", blind=True)
    assert "cannot be read" in run("status", code=1).stderr
