# ruff: noqa: DJ001 - the tables have nulls where there is nothing
"""
What the store says, as models to look at: events, scheduled ones, receipts, deliveries, attempts, subscriptions. See docs/sql-contract.md.

Django neither makes nor changes what is behind them, and nothing is to be saved or deleted through them: publishing,
retrying and discarding have ways of their own.
"""

from __future__ import annotations

from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models

from holdfast.integrations.django.conf import conf
from holdfast.integrations.django.fields import EventId, Moment, Stored


def table(name: str) -> str:
    """The name of a table or view for ``db_table``: with its schema, where there are schemas."""
    vendor = connections[conf().database or DEFAULT_DB_ALIAS].vendor
    return f'"{conf().schema}"."{name}"' if vendor == "postgresql" else name


class StoreManager(models.Manager):
    """Looks into the database of the store, whatever the project's routers say of others."""

    def get_queryset(self) -> Any:
        return super().get_queryset().using(self._db or conf().database or DEFAULT_DB_ALIAS)


class Subscription(models.Model):
    id = models.IntegerField(primary_key=True)
    name = models.TextField()
    patterns = Stored()
    partitions = models.IntegerField()
    ordering = models.TextField()
    on_dead = models.TextField()
    replayable = models.BooleanField()
    paused_at = Moment(null=True)
    paused_by = models.TextField(null=True)
    created_at = Moment()
    updated_at = Moment()

    objects = StoreManager()

    class Meta:
        managed = False
        db_table = table("subscriptions")
        default_permissions = ("view",)
        ordering = ("name",)

    def __str__(self) -> str:
        return str(self.name)


class Event(models.Model):
    """The status is found out for each event that is asked for: ask for some, by id or by the newest, not for all."""

    id = EventId(primary_key=True)
    tenant_id = models.TextField()
    event_name = models.TextField()
    event_key = models.TextField(null=True)
    payload = Stored()
    headers = Stored(null=True)
    status = models.TextField()
    retries = models.IntegerField()
    occurred_at = Moment()
    processed_at = Moment(null=True)

    objects = StoreManager()

    class Meta:
        managed = False
        db_table = table("event_store")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.event_name} {self.id}"


class Scheduled(models.Model):
    """An event that waits for its time, or was refused when it was due."""

    id = EventId(primary_key=True)
    due_at = Moment()
    published_at = Moment()
    tenant_id = models.TextField()
    event_name = models.TextField()
    event_key = models.TextField(null=True)
    payload = Stored()
    headers = Stored(null=True)
    refused_at = Moment(null=True)

    objects = StoreManager()

    class Meta:
        managed = False
        db_table = table("scheduled")
        default_permissions = ("view",)
        verbose_name = "scheduled event"

    def __str__(self) -> str:
        return f"{self.event_name} {self.id}"


class Receipt(models.Model):
    """That a subscription has handled an event."""

    pk = models.CompositePrimaryKey("event_id", "consumer_name")
    event_id = EventId()
    consumer_name = models.TextField()
    processed_at = Moment()
    attempts = models.IntegerField()

    objects = StoreManager()

    class Meta:
        managed = False
        db_table = table("event_consumers")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return str(self.consumer_name)


class Delivery(models.Model):
    """An event for a subscription that is not on the fast path: retrying, held, dead, discarded."""

    class State(models.TextChoices):
        PENDING = "pending"
        RETRYING = "retrying"
        RUNNING = "running"
        DEAD = "dead"
        DISCARDED = "discarded"

    id = models.BigIntegerField(primary_key=True)
    subscription = models.ForeignKey(
        Subscription, models.DO_NOTHING, db_column="subscription", db_constraint=False, related_name="deliveries"
    )
    event_id = EventId()
    event_name = models.TextField()
    event_key = models.TextField(null=True)
    tenant_id = models.TextField()
    state = models.TextField(choices=State.choices)
    attempts = models.IntegerField()
    reason = models.TextField(null=True)
    due_at = Moment()
    created_at = Moment()
    updated_at = Moment()

    objects = StoreManager()

    class Meta:
        managed = False
        db_table = table("deliveries")
        default_permissions = ("view",)
        verbose_name_plural = "deliveries"

    def __str__(self) -> str:
        return f"{self.event_name} {self.event_id}"


class Attempt(models.Model):
    """An attempt that failed, and of what."""

    id = models.BigIntegerField(primary_key=True)
    subscription = models.ForeignKey(
        Subscription, models.DO_NOTHING, db_column="subscription", db_constraint=False, related_name="failed_attempts"
    )
    event_id = EventId()
    attempt = models.IntegerField()
    outcome = models.TextField()
    error = models.TextField()
    message = models.TextField()
    traceback = models.TextField(null=True)
    seconds = models.FloatField()
    finished_at = Moment()

    objects = StoreManager()

    class Meta:
        managed = False
        db_table = table("attempts")
        default_permissions = ("view",)
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.attempt}: {self.error}"
