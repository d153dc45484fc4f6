"""Columns as the two stores keep them: what has a type of its own in PostgreSQL is text in SQLite."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

from django.db import models
from django.utils import timezone


class EventId(models.UUIDField):
    """SQLite: a text with hyphens, where Django has one without."""

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:  # noqa: ARG002 - Django's signature
        found = self.to_python(value)
        return found if found is None or connection.features.has_native_uuid_field else str(found)


class Moment(models.DateTimeField):
    """Always aware, whatever ``USE_TZ`` says. SQLite: a text with T and Z, which sorts only beside its like."""

    def from_db_value(self, value: Any, *_: Any) -> Any:
        if value is None or timezone.is_aware(value):
            return value
        return timezone.make_aware(value, timezone.get_default_timezone())

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        moment = self.get_prep_value(value)
        if moment is None or connection.vendor != "sqlite":
            return super().get_db_prep_value(value, connection, prepared)
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Stored(models.Field):
    """What is JSON, or a list: read only, as Python has it."""

    def from_db_value(self, value: Any, _: Any, connection: Any) -> Any:
        return json.loads(value) if connection.vendor == "sqlite" and value is not None else value

    def get_internal_type(self) -> str:
        return "TextField"
