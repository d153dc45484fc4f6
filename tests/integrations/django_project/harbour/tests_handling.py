"""What stands round handlers, and what is left when they are through."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.test import TransactionTestCase
from django.utils import timezone
from shop.models import Order

from holdfast.integrations.django import publish
from holdfast.integrations.django.models import Attempt, Delivery, Event, Receipt, Subscription
from holdfast.integrations.django.testing import drain

from .around import seen


class HandlingTests(TransactionTestCase):
    def setUp(self):
        seen.clear()

    def test_handlers_use_the_orm_and_leave_no_connection(self):
        publish("harbour.entered", {"ship": "Argo"})
        drain()
        self.assertEqual(sorted(Order.objects.values_list("item", flat=True)), ["berth", "tug"])
        (used,) = (one[1] for one in seen if one[0] == "plain")
        self.assertIsNot(used, connection.connection)
        with self.assertRaises(Exception):  # noqa: B017 - each driver has its own for a closed connection
            used.cursor()

    def test_the_projects_own_around_is_within(self):
        publish("harbour.told")
        drain()
        self.assertEqual(seen, ["before", ("told", False)])

    def test_what_an_async_handler_publishes_is_caused_by_its_event(self):
        publish("harbour.entered", {"ship": "Argo"})
        drain()
        self.assertIn(("told", True), seen)

    def test_the_models_show_what_the_store_says(self):
        before = timezone.now() - timedelta(minutes=1)
        event_id = publish("harbour.storm", {"wind": 12}, key="north", headers={"source": "buoy"}).event_id
        drain()
        event = Event.objects.get(pk=event_id, occurred_at__gte=before, occurred_at__lt=timezone.now())
        self.assertEqual((event.payload, event.headers, event.status), ({"wind": 12}, {"source": "buoy"}, "dead"))
        self.assertIsNotNone(event.occurred_at.tzinfo)
        delivery = Delivery.objects.select_related("subscription").get(event_id=event_id)
        self.assertEqual((delivery.state, delivery.subscription.patterns), (Delivery.State.DEAD, ["harbour.storm"]))
        self.assertEqual(Attempt.objects.get(event_id=event_id).message, "RuntimeError: the mast is broken")
        told = publish("harbour.told").event_id
        drain()
        self.assertEqual(Receipt.objects.get(event_id=told).pk, (told, "told"))
        self.assertGreater(Subscription.objects.count(), 3)


class AdminTests(TransactionTestCase):
    def setUp(self):
        self.client.force_login(get_user_model().objects.create_superuser("staff", password=None))
        self.event_id = publish("harbour.storm", {"wind": 12}).event_id
        drain()
        self.delivery = Delivery.objects.get(event_id=self.event_id)

    def test_dead_letters_are_found_with_the_reason(self):
        storms = Subscription.objects.get(name="storms").pk
        page = self.client.get(f"/admin/holdfast/delivery/?state__exact=dead&subscription__id__exact={storms}")
        self.assertContains(page, "harbour.storm")
        self.assertNotContains(self.client.get("/admin/holdfast/delivery/?state__exact=pending"), "harbour.storm")
        page = self.client.get(f"/admin/holdfast/delivery/{self.delivery.pk}/change/")
        self.assertContains(page, "the mast is broken")
        self.assertContains(page, f"/admin/holdfast/event/{self.event_id}/change/")

    def test_an_event_is_found_by_its_id(self):
        for where in ("event", "delivery"):
            page = self.client.get(f"/admin/holdfast/{where}/?q={self.event_id}")
            self.assertContains(page, "harbour.storm")
            self.assertNotContains(self.client.get(f"/admin/holdfast/{where}/?q=storm"), "harbour.storm")
        page = self.client.get(f"/admin/holdfast/event/{self.event_id}/change/")
        self.assertContains(page, "&quot;wind&quot;: 12")
        self.assertContains(self.client.get("/admin/holdfast/subscription/"), "storms")

    def test_nothing_can_be_added_changed_or_deleted(self):
        for model, key in (("event", self.event_id), ("delivery", self.delivery.pk)):
            for path in ("add/", f"{key}/change/", f"{key}/delete/"):
                answer = self.client.post(f"/admin/holdfast/{model}/{path}", {"event_name": "x"})
                self.assertEqual(answer.status_code, 403, path)
            self.assertNotContains(self.client.get(f"/admin/holdfast/{model}/"), "delete_selected")

    def test_the_filters_go_by_an_index(self):
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("set enable_seqscan = off")  # the table is small: would there be an index?
        dead = Delivery.objects.filter(state="dead").order_by("-id")
        for found in (dead.filter(subscription=1), Delivery.objects.filter(subscription=1).order_by("-id")):
            self.assertRegex(found[:50].explain(), r"(?i)index \S*deliveries_|using \S*deliveries_")


class CommandTests(TransactionTestCase):
    def test_the_models_need_no_migration(self):
        call_command("makemigrations", "--check", "--dry-run", stdout=StringIO())

    def test_a_command_that_finds_something_ends_as_it_does_elsewhere(self):
        call_command("holdfast", "dead", "list", "--json")
        with self.assertRaises(SystemExit) as ended:
            call_command("holdfast", "event", "0190b2a4-7c1e-7d3a-9b7e-2f6c1d0e5a41")
        self.assertEqual(ended.exception.code, 1)
