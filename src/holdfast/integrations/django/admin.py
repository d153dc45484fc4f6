"""Events, scheduled ones, dead letters and subscriptions in Django's admin: to look at. Acting has its commands, and leaves an audit row."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.paginator import Paginator
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join

from holdfast.integrations.django.models import Attempt, Delivery, Event, Receipt, Scheduled, Subscription
from holdfast.integrations.django.project import project_bus

_COUNTED_MAX = 10_000


class BoundedPaginator(Paginator):
    """Counts to a bound, and goes no further: a log of millions is neither counted nor paged through in an admin."""

    @cached_property
    def count(self) -> int:
        return int(self.object_list[:_COUNTED_MAX].count())


class ReadOnly(admin.ModelAdmin):
    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: Any) -> bool:  # noqa: ARG002 - Django's signatures
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:  # noqa: ARG002
        return False


class ByEventId(ReadOnly):
    """Searched by the whole id of an event, for which there is an index."""

    search_help_text = "The id of an event"
    search_fields = ("id",)  # or there is no field to search in
    id_field = "pk"

    def get_search_results(self, request: Any, queryset: Any, search_term: str) -> tuple[Any, bool]:  # noqa: ARG002
        if not (text := search_term.strip()):
            return queryset, False
        try:
            return queryset.filter(**{self.id_field: UUID(text)}), False
        except ValueError:
            return queryset.none(), False


class EventAdmin(ByEventId):
    list_display = ("event_name", "id", "event_key", "tenant_id", "status", "retries", "occurred_at", "processed_at")
    ordering = ("-id",)  # made in the order of time, and the index that there is
    readonly_fields = ("content", "consumers")
    exclude = ("payload", "headers")

    @admin.display(description="payload and headers")
    def content(self, event: Event) -> Any:
        return format_html("<pre>{}</pre><pre>{}</pre>", _indented(event.payload), _indented(event.headers))

    @admin.display(description="handled by")
    def consumers(self, event: Event) -> Any:
        rows = Receipt.objects.filter(event_id=event.pk).values_list("consumer_name", "processed_at")
        return format_html_join("", "{}, {}<br>", rows) or "-"


class ScheduledAdmin(ByEventId):
    list_display = ("event_name", "id", "event_key", "tenant_id", "due_at", "refused_at")
    ordering = ("due_at",)


class DeliveryAdmin(ByEventId):
    list_display = ("event_name", "subscription", "state", "attempts", "reason", "event_key", "tenant_id", "updated_at")
    list_filter = (
        "state",
        "subscription",
    )  # both lead the indexes of the table, which has what is off the fast path only
    list_select_related = ("subscription",)
    ordering = ("-id",)
    readonly_fields = ("event", "errors")
    exclude = ("event_id",)
    id_field = "event_id"

    def event(self, delivery: Delivery) -> Any:
        link = reverse("admin:holdfast_event_change", args=[delivery.event_id])
        return format_html('<a href="{}">{}</a>', link, delivery.event_id)

    def errors(self, delivery: Delivery) -> Any:
        failed = Attempt.objects.filter(event_id=delivery.event_id, subscription=delivery.subscription_id)
        rows = failed.values_list("attempt", "outcome", "message", "traceback")
        return format_html_join("", "<p>{}, {}: {}</p><pre>{}</pre>", rows) or "-"


class SubscriptionAdmin(ReadOnly):
    list_display = ("name", "partitions", "ordering", "on_dead", "paused_at", "paused_by", "created_at")


def _indented(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


if project_bus().database is not None:
    admin.site.register(Event, EventAdmin)
    admin.site.register(Scheduled, ScheduledAdmin)
    admin.site.register(Delivery, DeliveryAdmin)
    admin.site.register(Subscription, SubscriptionAdmin)
