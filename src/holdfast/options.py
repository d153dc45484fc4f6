"""What a bus is told when it is made, checked at the door. No I/O."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from holdfast.errors import ConfigurationError
from holdfast.names import shown_value, type_name
from holdfast.ports import utc_now
from holdfast.quotas import check_quota
from holdfast.stores import make_store, no_store
from holdfast.stores.sql import check_schema_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from holdfast.encryption import KeyProvider
    from holdfast.quotas import Quota
    from holdfast.stores.base import Store
    from holdfast.subscription import Around
    from holdfast.worker import Worker

_SCHEMES = ("postgresql", "postgres", "sqlite")
DEFAULT_DSN = "sqlite:///holdfast.db"

RequireTx = Literal["strict", "warn", "allow"]


@dataclass(frozen=True, slots=True)
class BusOptions:
    """
    Settings of a bus; see `holdfast.EventBus` for what each one means. Times are seconds.

    The last three make what the bus works with, and are nobody's to give but `holdfast.testing`'s.
    """

    dsn: str
    schema: str = "holdfast"
    auto_migrate: bool = False
    spool: str | Path | None = None
    spool_limit: int = 256 * 2**20
    lease_ttl: float = 30.0
    poll_interval: float = 0.04
    store_timeout: float = 2.0
    stop_timeout: float = 25.0
    max_payload: int = 2**20
    retention: timedelta | None = timedelta(days=30)
    require_tx: RequireTx = "allow"
    require_tenant: bool = False
    encryption: KeyProvider | None = None
    archive: str | Path | None = None
    archive_dropped: bool = False
    retention_warning: timedelta | None = None
    quota: Quota | Callable[[str], Quota | None] | None = None
    around: Around | None = None
    transport: str | None = None
    service: str | None = None
    new_store: Callable[..., Store] = make_store
    now: Callable[[], datetime] = utc_now
    new_worker: Callable[..., Worker] | None = None  # None: a `Worker`, imported when it is needed

    def __post_init__(self) -> None:
        for name, text in (("dsn", self.dsn), ("schema", self.schema)):
            given: Any = text  # callers without a type checker give other things
            if not isinstance(given, str):
                raise ConfigurationError(f"{name} is of type {type_name(given)}: give a text")
        check_schema_name(self.schema)
        scheme = self.dsn.partition("://")[0].lower()
        if "://" not in self.dsn or scheme not in _SCHEMES:
            raise no_store(self.dsn)
        for name in ("auto_migrate", "require_tenant", "archive_dropped"):
            if not isinstance(switch := getattr(self, name), bool):
                raise ConfigurationError(f"{name} is {shown_value(switch)}: use True or False")
        spool: Any = self.spool
        if spool is not None and (not isinstance(spool, str | Path) or not str(spool)):
            raise ConfigurationError(f'spool is {shown_value(spool)}: give a directory, "memory" or "off"')
        provider: Any = self.encryption
        if provider is not None and not all(hasattr(provider, name) for name in ("current", "wrap", "unwrap")):
            raise ConfigurationError(
                f"encryption is of type {type_name(provider)}: give MasterKeys or another KeyProvider (holdfast.encryption)"
            )
        _within("lease_ttl", self.lease_ttl, 1, 3600)
        _within("poll_interval", self.poll_interval, 0.001, 60)
        _within("store_timeout", self.store_timeout, 0.01, 3600)
        _within("stop_timeout", self.stop_timeout, 0, 86_400)
        _within("max_payload", self.max_payload, 1, 2**30, unit="bytes", whole=True)
        _within("spool_limit", self.spool_limit, 4096, 2**50, unit="bytes", whole=True)
        retention: Any = self.retention  # callers without a type checker give other things
        if retention is not None and (not isinstance(retention, timedelta) or retention < timedelta(minutes=1)):
            raise ConfigurationError(
                f"retention is {self.retention!r}: give a timedelta of at least a minute, or None to keep events for ever"
            )
        self._check_archive()
        check_quota(self.quota)
        if self.around is not None and not callable(self.around):
            raise ConfigurationError(
                f"around is of type {type_name(self.around)}: give a function from handler to handler"
            )
        if self.require_tx not in ("strict", "warn", "allow"):
            raise ConfigurationError(f'require_tx is {shown_value(self.require_tx)}: use "strict", "warn" or "allow"')

    def _check_archive(self) -> None:
        archive: Any = self.archive  # as above
        if archive is not None and (not isinstance(archive, str | Path) or not str(archive)):
            raise ConfigurationError(f"archive is {shown_value(archive)}: give a directory")
        if self.archive_dropped and archive is None:
            raise ConfigurationError("archive_dropped is True, and this bus has no archive: give archive= a directory")
        warning: Any = self.retention_warning
        if warning is None:
            return
        if not isinstance(warning, timedelta) or not timedelta(0) <= warning <= (self.retention or timedelta.max):
            raise ConfigurationError(
                f"retention_warning is {warning!r}: give a timedelta of no less than nothing and no more than retention"
            )

    @property
    def warning_seconds(self) -> float:
        """How long before retention; unless it is given, a tenth of that."""
        if self.retention_warning is not None:
            return self.retention_warning.total_seconds()
        return (self.retention_seconds or 0.0) / 10

    @property
    def retention_seconds(self) -> float | None:
        return None if self.retention is None else self.retention.total_seconds()


def _within(name: str, value: Any, low: float, high: float, *, unit: str = "seconds", whole: bool = False) -> None:
    # Compared before anything else: NaN is within no bounds, and a huge integer is no float.
    kinds = int if whole else int | float
    if not (isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high):
        raise ConfigurationError(f"{name} is {shown_value(value)}: use {low:g} to {high:g} {unit}")


def check_timeout(timeout: Any) -> None:
    """Raises ConfigurationError unless *timeout* is None or a number of seconds."""
    if timeout is not None:
        _within("timeout", timeout, 0, 31_536_000)


def from_environment(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """
    The options that the environment sets: ``HOLDFAST_DSN``, ``HOLDFAST_AUTO_MIGRATE``, ``HOLDFAST_SPOOL``,
    ``HOLDFAST_ARCHIVE``, master keys.
    """
    variables = os.environ if environment is None else environment
    found: dict[str, Any] = {"dsn": variables.get("HOLDFAST_DSN") or DEFAULT_DSN}
    if migrate := variables.get("HOLDFAST_AUTO_MIGRATE"):
        found["auto_migrate"] = truth("HOLDFAST_AUTO_MIGRATE", migrate)
    if spool := variables.get("HOLDFAST_SPOOL"):
        found["spool"] = spool
    if archive := variables.get("HOLDFAST_ARCHIVE"):
        found["archive"] = archive
    if variables.get("HOLDFAST_MASTER_KEYS_FILE") or variables.get("HOLDFAST_MASTER_KEYS"):
        from holdfast.encryption import MasterKeys

        found["encryption"] = MasterKeys.from_environment(variables)
    return found


def truth(name: str, value: str) -> bool:
    """Read a switch of the environment.

    Raises:
        ConfigurationError: It is neither on nor off.
    """
    lowered = value.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off", ""}:
        return False
    raise ConfigurationError(f"{name} is {value!r}: use 1 or 0")
