"""The API of tasks: Django's own from 6 on, its backport before."""

from __future__ import annotations

from holdfast.errors import ConfigurationError

try:
    from django.tasks import base, exceptions, signals
    from django.tasks.backends.base import BaseTaskBackend
except ImportError:
    try:
        from django_tasks import base, exceptions, signals
        from django_tasks.backends.base import BaseTaskBackend
    except ImportError as missing:
        raise ConfigurationError(
            "a backend for TASKS needs Django 6, or its backport before that: run  pip install django-tasks"
        ) from missing

__all__ = ["BaseTaskBackend", "base", "exceptions", "signals"]
