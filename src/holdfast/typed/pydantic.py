"""Events that are models, or dataclasses, of pydantic. Imported when such a type is declared, so pydantic is there."""

from __future__ import annotations

from functools import cached_property
from typing import Any, get_args

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError
from pydantic_core.core_schema import ErrorType

from holdfast.errors import ConfigurationError
from holdfast.names import type_name
from holdfast.typed.problems import Misfit

# Their words have the value in them, or are those of the model's own check.
_TELLING = {"value_error", "assertion_error", "union_tag_invalid", "uuid_parsing"}
_TELLING_NOTHING = frozenset(get_args(ErrorType)) - _TELLING


class PydanticKind:
    """A `holdfast.typed.kinds.Kind`. Aliases stand in the payload, as the model writes and reads them."""

    def __init__(self, cls: type) -> None:
        self._cls = cls
        self.fields = frozenset(getattr(cls, "__pydantic_fields__", ()))

    def holds(self, value: Any) -> bool:
        return type(value) is self._cls

    def get(self, value: Any, field: str) -> Any:
        return getattr(value, field, None)

    def dump(self, value: Any) -> Any:
        try:
            return self._adapter.dump_python(value, mode="json", by_alias=True, round_trip=True, warnings=False)
        except (PydanticSerializationError, RecursionError) as error:
            raise Misfit("payload", f"cannot be written as JSON ({type_name(error)})") from None

    def decode(self, raw: bytes) -> Any:
        try:
            return self._adapter.validate_json(raw)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise _misfit(found[0], others=len(found) - 1) from None

    def schema(self) -> dict[str, Any]:
        return self._adapter.json_schema(mode="validation", by_alias=True)

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        try:
            adapter = TypeAdapter[Any](self._cls)
            adapter.rebuild(raise_errors=True)
        except (PydanticUserError, NameError) as error:
            raise ConfigurationError(
                f"{self._cls.__module__}.{self._cls.__qualname__} cannot be an event: {error}"
            ) from error
        return adapter


def _misfit(first: ErrorDetails, others: int) -> Misfit:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    said = first["msg"] if first["type"] in _TELLING_NOTHING else "does not pass a check of the type's own"
    more = f", and {others} more" if others else ""
    return Misfit(f"payload{path}", f"is not as its type says: {said[0].lower()}{said[1:]}{more}")
