"""What Django does with Holdfast when it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.conf import settings
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate, pre_migrate
from django.utils.module_loading import autodiscover_modules, import_string

from holdfast.integrations.django.migrating import after_migrating, before_migrating
from holdfast.integrations.django.project import project_bus

if TYPE_CHECKING:
    from holdfast.integrations.django.project import ProjectBus


class HoldfastConfig(AppConfig):
    """``INSTALLED_APPS = [..., "holdfast.integrations.django"]``."""

    name = "holdfast.integrations.django"
    label = "holdfast"
    verbose_name = "Holdfast"

    def ready(self) -> None:
        """Import ``events`` of every application, so that whoever publishes or works knows all subscriptions."""
        bus = project_bus()
        autodiscover_modules("events")
        _subscribe_tasks(bus)
        pre_migrate.connect(before_migrating, sender=self)
        post_migrate.connect(after_migrating, sender=self)
        connection_created.connect(_let_go)


def _subscribe_tasks(bus: ProjectBus) -> None:
    for alias, parameters in (getattr(settings, "TASKS", None) or {}).items():
        backend = import_string(parameters["BACKEND"])
        if hasattr(backend, "subscribe"):
            backend(alias, parameters).subscribe(bus)


def _let_go(*, connection: Any, **_: Any) -> None:
    """A connection to no database is how Django makes, copies and drops those of tests: with us on it, it cannot."""
    if connection.alias == NO_DB_ALIAS:
        project_bus().close()
