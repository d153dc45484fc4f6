# ruff: noqa: F403, F405 - the settings of the example, and what is tested beside it
"""The shop of the example, in another schema, with handlers and tasks that go wrong."""

from shop.settings import *

from holdfast import RetryPolicy

INSTALLED_APPS += ["harbour"]
ROOT_URLCONF = "shop.urls"
HOLDFAST = {"SPOOL": "off", "SCHEMA": "harbour_events", "AROUND": "harbour.around.noted"}
TASKS = {
    "default": {
        "BACKEND": "holdfast.integrations.django.tasks.HoldfastBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"retry": RetryPolicy(max_attempts=2, base=0)},
    }
}
