"""A project as small as it can be with an admin."""

import os

import django
from psycopg.conninfo import conninfo_to_dict

SECRET_KEY = os.environ.get("SHOP_SECRET", "only for trying it out")
DEBUG = True
ROOT_URLCONF = "shop.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "holdfast.integrations.django",
    "shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

if dsn := os.environ.get("SHOP_POSTGRES"):
    server = conninfo_to_dict(dsn)
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": server["dbname"],
            "USER": server.get("user", ""),
            "PASSWORD": server.get("password", ""),
            "HOST": server.get("host", ""),
            "PORT": server.get("port", ""),
            "CONN_MAX_AGE": 60,
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": "shop.sqlite3",
            "OPTIONS": {"transaction_mode": "IMMEDIATE"},  # who reads first and writes then is never too late
            "TEST": {"NAME": "test_shop.sqlite3"},  # a worker shares no database in memory
        }
    }

HOLDFAST = {"SPOOL": "off"}  # the rows need the database, too
TASKS = {"default": {"BACKEND": "holdfast.integrations.django.tasks.HoldfastBackend"}}
if django.VERSION < (6,):
    INSTALLED_APPS.append("django_tasks")  # what Django has itself from 6 on
