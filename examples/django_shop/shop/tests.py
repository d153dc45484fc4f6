"""How a project tests what it publishes, and what its handlers do."""

from django.contrib.auth import get_user_model
from django.test import TestCase, TransactionTestCase

from holdfast.integrations.django.models import Event
from holdfast.integrations.django.testing import drain

from .models import Order
from .tasks import pack


class PlacingTests(TestCase):
    """Quick: all of it is rolled back with the test, events too. No handler runs."""

    def test_an_order_is_placed_with_its_event(self) -> None:
        answer = self.client.post("/orders/", {"customer": "ann", "item": "anchor"})
        self.assertEqual(answer.status_code, 201)
        event = Event.objects.get(event_name="order.placed")
        self.assertEqual(event.payload, {"order_id": answer.json()["id"], "item": "anchor"})
        self.assertEqual(event.status, "pending")

    def test_what_is_sold_out_leaves_nothing(self) -> None:
        answer = self.client.post("/orders/", {"customer": "ann", "item": "albatross"})
        self.assertEqual(answer.status_code, 409)
        self.assertFalse(Order.objects.exists())
        self.assertFalse(Event.objects.exists())


class HandlingTests(TransactionTestCase):
    """Real commits, and a worker that handles them."""

    def test_the_receipt_is_sent_and_the_order_is_packed(self) -> None:
        placed = self.client.post("/orders/", {"customer": "ann", "item": "anchor"}).json()
        drain()
        self.assertTrue(self.client.get(f"/orders/{placed['id']}/").json()["receipt_sent"])
        self.assertEqual(pack.get_result(placed["packing"]).return_value, "packed: anchor")

    def test_the_staff_sees_what_has_happened(self) -> None:
        self.client.post("/orders/", {"customer": "ann", "item": "anchor"})
        drain()
        self.client.force_login(get_user_model().objects.create_superuser("staff", password=None))
        page = self.client.get("/admin/holdfast/event/")
        self.assertContains(page, "order.placed")
        self.assertContains(page, "processed")
