"""Which transaction an event belongs to."""

from __future__ import annotations

import threading

from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction
from django.test import TestCase, TransactionTestCase
from shop.models import Order

from holdfast.errors import BusStateError, NotInTransaction, TransactionAborted, TransactionError
from holdfast.integrations.django import apublish, bus, publish
from holdfast.integrations.django.models import Event
from holdfast.integrations.django.testing import drain
from holdfast.transactions import adapt


def stored(name: str) -> int:
    return Event.objects.filter(event_name=name).count()


class Stop(Exception):
    pass


class PublishingTests(TransactionTestCase):
    def tearDown(self):
        bus.close()

    def test_an_event_commits_with_the_rows(self):
        with transaction.atomic():
            Order.objects.create(customer="ann", item="anchor")
            publish("joining.committed")
            self.assertEqual(self.elsewhere("joining.committed"), 0)
        self.assertEqual((stored("joining.committed"), Order.objects.count()), (1, 1))

    def elsewhere(self, name):
        """What another connection sees."""
        found = []

        def look():
            try:
                found.append(stored(name))
            finally:
                connections.close_all()

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return found[0]

    def test_a_rollback_takes_both(self):
        with self.assertRaises(Stop), transaction.atomic():
            Order.objects.create(customer="ann", item="anchor")
            publish("joining.undone")
            raise Stop
        self.assertEqual((stored("joining.undone"), Order.objects.count()), (0, 0))

    def test_a_savepoint_that_rolls_back_takes_its_events(self):
        with transaction.atomic():
            publish("joining.outer")
            with self.assertRaises(Stop), transaction.atomic():
                publish("joining.inner")
                raise Stop
            publish("joining.outer")
        self.assertEqual((stored("joining.outer"), stored("joining.inner")), (2, 0))

    def test_outside_of_a_transaction_it_is_stored_at_once(self):
        self.assertEqual(publish("joining.alone").where, "store")
        self.assertEqual(stored("joining.alone"), 1)

    def test_several_are_joined_as_one_is(self):
        with self.assertRaises(Stop), transaction.atomic():
            bus.publish_many([{"name": "joining.many", "payload": n} for n in range(3)])
            self.assertEqual(stored("joining.many"), 3)
            raise Stop
        self.assertEqual(stored("joining.many"), 0)

    def test_the_transaction_is_joined_where_autocommit_is_off(self):
        transaction.set_autocommit(False)
        try:
            publish("joining.manual")
            transaction.rollback()
        finally:
            transaction.set_autocommit(True)
        self.assertEqual(stored("joining.manual"), 0)

    def test_tx_false_keeps_out_of_it(self):
        if connection.vendor == "sqlite":
            self.skipTest("there is one writer at a time")
        with self.assertRaises(Stop), transaction.atomic():
            publish("joining.apart", tx=False)
            raise Stop
        self.assertEqual(stored("joining.apart"), 1)

    def test_a_connection_of_django_is_a_transaction_to_name(self):
        for one in (connection, connections["default"]):
            with transaction.atomic():
                publish("joining.named", tx=one)
            with self.assertRaisesRegex(NotInTransaction, "transaction.atomic"):
                publish("joining.named", tx=one)
        self.assertEqual(stored("joining.named"), 2)

    def test_a_block_that_will_be_rolled_back_takes_nothing(self):
        with transaction.atomic():
            transaction.set_rollback(True)
            with self.assertRaisesRegex(TransactionAborted, "will be rolled back"):
                publish("joining.late")

    def test_a_connection_of_another_thread_is_refused(self):
        with transaction.atomic():
            refused = []

            def elsewhere(theirs):
                try:
                    publish("joining.threads", tx=theirs)
                except TransactionError as error:
                    refused.append(str(error))

            thread = threading.Thread(target=elsewhere, args=[connections["default"]])
            thread.start()
            thread.join()
        self.assertIn("thread", refused[0])

    def test_a_bus_of_another_database_is_told(self):
        other = "sqlite" if connection.vendor == "postgresql" else "postgresql"
        with self.assertRaisesRegex(TransactionError, f"this bus writes to {other}"):
            adapt(connection, other)

    async def test_async_code_publishes_too(self):
        await apublish("joining.async")
        self.assertEqual(await sync_to_async(stored)("joining.async"), 1)


class InATestCase(TestCase):
    """Two tests that would see each other's events."""

    def setUp(self):
        self.assertEqual(stored("joining.tested"), 0)
        publish("joining.tested")

    def test_one(self):
        self.assertEqual(Event.objects.get(event_name="joining.tested").status, "processed")  # nobody subscribes

    def test_other(self):
        self.assertEqual(stored("joining.tested"), 1)

    async def test_async_views_publish_into_the_same_transaction(self):
        await apublish("joining.tested")
        self.assertEqual(await sync_to_async(stored)("joining.tested"), 2)

    def test_draining_is_refused(self):
        with self.assertRaisesRegex(BusStateError, "TransactionTestCase"):
            drain()
