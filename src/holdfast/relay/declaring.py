"""What ``bus.relay`` and ``bus.ingest`` declare: addresses are checked, names found, modules of brokers imported."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from holdfast.errors import ConfigurationError
from holdfast.names import check_subscription_name, check_tenant
from holdfast.relay.address import Address, default_name, kind_of, parse_address
from holdfast.relay.ingesting import Ingest
from holdfast.relay.relaying import Relay
from holdfast.subscription import Consumer, RetryPolicy, make_consumer

if TYPE_CHECKING:
    from holdfast.relay.message import Convert
    from holdfast.relay.ports import Destination, Format, Target
    from holdfast.stores.values import BehindRetention
    from holdfast.subscription import Start

BATCH, CONCURRENCY = 100, 4
_FORMATS = ("binary", "structured")


class RelayOptions(TypedDict, total=False):
    """Those options of ``subscribe`` that a relay has too, for type checkers."""

    ordering: Literal["key", "none"]
    partitions: int
    concurrency: int | None
    retry: RetryPolicy | None
    timeout: float
    start: Start
    on_dead: Literal["continue", "hold"]
    replayable: bool
    breaker: int | None
    behind_retention: BehindRetention


@dataclass(frozen=True, slots=True)
class Broker:
    """A `Target` that is a broker's address."""

    address: Address
    module: Any
    batch: int = BATCH
    format: Format = "binary"
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    @property
    def kind(self) -> str:
        return self.address.kind

    @property
    def target(self) -> str:
        return self.address.target

    @property
    def where(self) -> str:
        return str(self.address)

    def destination(self) -> Destination:
        made: Destination = self.module.destination(self.address)
        return made


def declare_relay(
    patterns: str | list[str], to: str | Target, *, name: str | None, batch: int | None, format: Format | None,
    source: str, options: RelayOptions,
) -> tuple[Consumer, Relay]:  # fmt: skip
    """
    The subscription that a relay is, and its handler. No I/O.

    Raises:
        ConfigurationError: The address, its options, or the format.
        MissingExtra: The broker's client is not installed.
        InvalidSubscription: As for ``subscribe``.
    """
    target = _target(to)
    if format not in (None, *_FORMATS):
        raise ConfigurationError(f"format is {str(format)[:20]!r}: use {' or '.join(_FORMATS)}")
    target.destination()  # options that break a rule are told here, and not to a worker
    name = default_name("relay", target.kind, target.target) if name is None else name
    relay = Relay(name, target, source=source, format=format or target.format)
    given: dict[str, Any] = {"concurrency": CONCURRENCY, "retry": target.retry, **options}
    if given["retry"] is None:
        given["retry"] = target.retry
    consumer = make_consumer(patterns, relay, name=name, batch=target.batch if batch is None else batch, **given)
    return consumer, relay


def declare_ingest(
    from_: str, *, name: str | None, tenant_id: str | None, convert: Convert | None, limit: int, require_tenant: bool
) -> Ingest:
    """
    An ingest. No I/O.

    Raises:
        ConfigurationError, MissingExtra, InvalidSubscription, InvalidEvent: As `declare_relay`; the last for the tenant.
    """
    address = parse_address(from_)
    module = _module(address.kind)
    name = check_subscription_name(default_name("ingest", address.kind, address.target) if name is None else name)
    if tenant_id is not None:
        check_tenant(tenant_id)
    source = partial(module.source, address, name=name)
    source()
    return Ingest(
        name, str(address), source, tenant_id=tenant_id, convert=convert, limit=limit, require_tenant=require_tenant
    )


def _target(to: str | Target) -> Target:
    if not isinstance(to, str):
        if not callable(getattr(to, "destination", None)):
            raise ConfigurationError(
                f"to= is of type {type(to).__name__}: give a URL, or a target such as Webhook(...)"
            )
        return to
    kind = kind_of(to)
    module = _module(kind)
    if kind == "webhook":
        target: Target = module.target(to)
        return target
    return Broker(parse_address(to), module)


def _module(kind: str) -> Any:
    return importlib.import_module(f"holdfast.relay.{kind}")
