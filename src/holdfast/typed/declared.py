"""An event that was declared with a type: what `holdfast.event_types.EventType` asks of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from holdfast.errors import ConfigurationError, InvalidEvent
from holdfast.event_types import VERSION_HEADER, Outgoing
from holdfast.names import shown, type_name
from holdfast.typed.problems import Misfit
from holdfast.typed.registry import upcasters_of
from holdfast.typed.upcasting import brought_up, missing_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.event_types import Unknown
    from holdfast.subscription import Handler
    from holdfast.typed.kinds import Kind

Choice = str | Callable[[Any], Any] | None
"""A field of a value, or a function from a value; None: nothing is chosen."""


@dataclass(frozen=True, slots=True, eq=False)
class Declared:
    """See `holdfast.typed.event` for what its fields mean."""

    name: str
    version: int
    oldest: int
    cls: type
    kind: Kind
    key: Choice = None
    tenant: Choice = None

    def __str__(self) -> str:
        return f"{self.name}, version {self.version}"

    # Publishing

    def outgoing(
        self, given: Any, payload: Any, *, tenant_id: str | None, key: str | None,
        headers: Mapping[str, str] | None, index: int | None,
    ) -> Outgoing:  # fmt: skip
        value = self._value(given, payload, index)
        try:
            encodable = self.kind.dump(value)
        except Misfit as misfit:
            raise self._invalid(misfit, index) from None
        return Outgoing(
            encodable,
            self._chosen(self.tenant, value) if tenant_id is None else tenant_id,
            self._chosen(self.key, value) if key is None else key,
            self._headers(headers),
        )

    def _headers(self, given: Any) -> Any:
        """With the version; what is no mapping stays as it is, and is refused by the rules for headers."""
        version = {VERSION_HEADER: str(self.version)}
        return version if given is None else {**given, **version} if isinstance(given, Mapping) else given

    def _value(self, given: Any, payload: Any, index: int | None) -> Any:
        if given is not self.cls:
            if payload is not None:
                raise InvalidEvent("payload", f"is given beside a {self.cls.__qualname__}", "leave it out", index)
            return given
        if not self.kind.holds(payload):
            rule = f"give a value of {self.cls.__qualname__}"
            raise InvalidEvent("payload", f"is of type {type_name(payload)}", rule, index)
        return payload

    def _chosen(self, choice: Choice, value: Any) -> Any:
        if choice is None:
            return None
        found = self.kind.get(value, choice) if isinstance(choice, str) else choice(value)
        if isinstance(found, Enum):
            found = found.value
        return str(found) if isinstance(found, int | UUID) and not isinstance(found, bool) else found

    def require_valid(self, encoded: bytes, index: int | None) -> None:
        try:
            self.kind.decode(encoded)
        except Misfit as misfit:
            raise self._invalid(misfit, index) from None

    def _invalid(self, misfit: Misfit, index: int | None) -> InvalidEvent:
        rule = f"give what {self.cls.__qualname__} has there, for {self}"
        return InvalidEvent(misfit.path, misfit.problem, rule, index)

    # Handling

    def require_chain(self) -> None:
        steps = upcasters_of(self.name)
        if missing := missing_steps(steps, self.oldest, self.version):
            ways = " and ".join(f"from version {step} to {step + 1}" for step in missing)
            raise ConfigurationError(
                f"{self}: no upcaster leads {ways}; write @upcast({self.name!r}, from_version={missing[0]}), or say by "
                f"oldest= that events so old do not come any more"
            )
        if beyond := [step for step in steps if step >= self.version]:
            raise ConfigurationError(
                f"{self}: an upcaster leads from version {min(beyond)} to {min(beyond) + 1}: let @event say version="
            )

    def knows(self, version: int) -> bool:
        """Whether payloads of that version can be brought up to the type."""
        return self.oldest <= version <= self.version

    def decode(self, raw: bytes, version: int) -> Any:
        """
        The value of a stored payload of a *version* that it `knows`.

        Raises:
            Misfit: The payload is not what the type says.
        """
        if version != self.version:
            try:
                payload = msgspec.json.decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise Misfit("payload", f"is no JSON ({type_name(error)})") from None
            raw = self._encoded(brought_up(payload, upcasters_of(self.name), version, self.version))
        return self.kind.decode(raw)

    def _encoded(self, payload: dict[str, Any]) -> bytes:
        try:
            return msgspec.json.encode(payload)
        except (TypeError, ValueError, RecursionError) as error:
            raise Misfit("payload", f"was made by upcasters what JSON cannot say ({type_name(error)})") from None

    def decoding(
        self, handler: Handler, types: Sequence[Declared], *, is_async: bool, is_batch: bool, unknown: Unknown
    ) -> Handler:
        from holdfast.typed.handling import decoding

        return decoding(handler, types, is_async=is_async, is_batch=is_batch, unknown=unknown)


def version_in(header: str | None) -> int:
    """
    The version that a header says; 1 where there is none: whoever published the event knew of no versions.

    Raises:
        Misfit: It says something else.
    """
    if header is None:
        return 1
    if not (header.isascii() and header.isdigit() and len(header) <= 9 and int(header)):
        raise Misfit(f"headers.{VERSION_HEADER}", f"is {shown(header)}, and no version")
    return int(header)
