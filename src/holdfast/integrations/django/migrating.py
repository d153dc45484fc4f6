"""
``manage.py migrate`` brings the tables up by the store's own migrator, from the same SQL files as ``holdfast migrate``.

There is one migration of Django's, for all versions of the tables: whatever it finds, it leaves those of this release.
A project that has it applied gets the tables of a later release by the signal before each ``migrate``, so that no file
has to be added here when a SQL file is. When all migrations are through, what the project subscribes to is registered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.db import migrations, router
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState

from holdfast.integrations.django.project import project_bus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.migrations import Migration

LABEL = "holdfast"


class MakeTables(Operation):
    """Make or change the tables. There is no way back: they hold events."""

    reduces_to_sql: ClassVar[bool] = False
    reversible: ClassVar[bool] = False

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Nothing: models of views and of others' tables do not change with them."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:  # noqa: ARG002
        if _is_home(schema_editor.connection.alias):
            project_bus().migrate()

    def describe(self) -> str:
        return "Make the tables of Holdfast, or bring them to this release"


def models_as_they_are(models: Iterable[Any]) -> list[Any]:
    """Operations that tell Django's history of *models* what it shall know of them: what they say themselves."""
    states = [ModelState.from_model(model) for model in models]
    return [migrations.CreateModel(one.name, list(one.fields.items()), one.options) for one in states]


def before_migrating(*, using: str, plan: Iterable[tuple[Migration, bool]], **_: Any) -> None:
    """Bring tables that are there to this release, before a migration of the project may publish."""
    if _is_home(using) and not any(migration.app_label == LABEL for migration, _ in plan):
        project_bus().migrate()


def after_migrating(*, using: str, plan: Iterable[Any] | None = None, **_: Any) -> None:
    """Register what is declared; after ``flush``, which has no plan, it is registered still."""
    if plan is not None and _is_home(using):
        project_bus().migrate()


def _is_home(alias: str) -> bool:
    """Whether the tables are in this database."""
    return bool(alias == project_bus().database and router.allow_migrate(alias, LABEL))
