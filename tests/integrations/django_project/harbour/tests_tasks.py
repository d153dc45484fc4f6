"""Tasks of Django, run by the workers of the bus."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from django.core.checks import run_checks
from django.core.management import call_command
from django.db import transaction
from django.test import TestCase, TransactionTestCase

from holdfast.errors import InvalidEvent
from holdfast.integrations.django import bus
from holdfast.integrations.django.models import Event, Scheduled
from holdfast.integrations.django.tasks import HoldfastBackend
from holdfast.integrations.django.tasks_api import base, exceptions, signals
from holdfast.integrations.django.testing import drain

from .tasks import add, fail, try_again, unsayable, wave

REFUSED = getattr(exceptions, "InvalidTask", None) or exceptions.InvalidTaskError
READY, FAILED, SUCCESSFUL = (getattr(base.TaskResultStatus, name) for name in ("READY", "FAILED", "SUCCESSFUL"))


class RunningTests(TransactionTestCase):
    def test_what_a_task_returns_is_found_by_its_id(self):
        enqueued = add.enqueue(1, b=2)
        self.assertEqual((enqueued.status, enqueued.attempts), (READY, 0))
        self.assertEqual(add.get_result(enqueued.id).status, READY)
        drain()
        enqueued.refresh()
        self.assertEqual((enqueued.status, enqueued.return_value, enqueued.attempts), (SUCCESSFUL, 3, 1))
        self.assertLessEqual(enqueued.started_at, enqueued.finished_at)
        found = add.get_result(enqueued.id)
        self.assertEqual((found.args, found.kwargs, found.errors, found.task), ([1], {"b": 2}, [], add))

    def test_a_task_that_fails_is_tried_again(self):
        enqueued = try_again.enqueue()
        drain()
        enqueued.refresh()
        self.assertEqual((enqueued.return_value, enqueued.attempts), (2, 2))
        self.assertIs(enqueued.errors[0].exception_class, OSError)
        self.assertIn("not yet", enqueued.errors[0].traceback)

    def test_one_that_fails_for_good_is_failed(self):
        ended = []

        def note(task_result, **_):
            ended.append(task_result.status)

        signals.task_finished.connect(note)
        try:
            enqueued = [fail.enqueue(), unsayable.enqueue()]
            drain()
        finally:
            signals.task_finished.disconnect(note)
        for one, error in zip(enqueued, (ValueError, TypeError), strict=True):
            one.refresh()
            self.assertEqual((one.status, one.attempts), (FAILED, 2))
            self.assertIs(one.errors[-1].exception_class, error)
            self.assertIsNotNone(one.finished_at)
        self.assertEqual(ended, [FAILED, FAILED])

    def test_async_tasks_run(self):
        enqueued = wave.enqueue("ann")
        drain()
        self.assertEqual(wave.get_result(enqueued.id).return_value, "hello ann")

    def test_a_task_is_enqueued_with_the_rows_or_not_at_all(self):
        with transaction.atomic():
            enqueued = add.enqueue(1, 2)
            transaction.set_rollback(True)
        with self.assertRaises(exceptions.TaskResultDoesNotExist):
            add.get_result(enqueued.id)


class WaitingTests(TransactionTestCase):
    def test_a_task_waits_for_its_time_and_is_run_then(self):
        due_at = datetime.now(UTC) + timedelta(hours=1)
        enqueued = add.using(run_after=due_at).enqueue(1, 2)
        drain()
        found = add.get_result(enqueued.id)
        self.assertEqual((found.status, found.task.run_after), (READY, due_at))
        self.assertEqual(abs(found.enqueued_at - enqueued.enqueued_at), timedelta(0))
        self.assertTrue(bus.reschedule(enqueued.id, delay=0))
        drain()
        enqueued.refresh()
        self.assertEqual((enqueued.status, enqueued.return_value), (SUCCESSFUL, 3))
        self.assertEqual(add.get_result(enqueued.id).enqueued_at, found.enqueued_at)

    def test_one_that_is_taken_back_is_gone(self):
        enqueued = add.using(run_after=datetime.now(UTC) + timedelta(hours=1)).enqueue(1, 2)
        self.assertTrue(bus.cancel(enqueued.id))
        with self.assertRaises(exceptions.TaskResultDoesNotExist):
            add.get_result(enqueued.id)

    def test_of_one_whose_data_was_erased_there_is_no_result(self):
        enqueued = add.using(run_after=datetime.now(UTC) + timedelta(hours=1)).enqueue(1, 2)
        call_command("holdfast", "erase", "--tenant", "default", "--yes")
        with self.assertRaises(exceptions.TaskResultDoesNotExist):
            add.get_result(enqueued.id)
        self.assertTrue(bus.cancel(enqueued.id))

    def test_it_is_enqueued_with_the_rows_or_not_at_all(self):
        with transaction.atomic():
            add.using(run_after=datetime.now(UTC) + timedelta(hours=1)).enqueue(1, 2)
            transaction.set_rollback(True)
        self.assertFalse(Scheduled.objects.exists())


class ApiTests(TestCase):
    def test_the_flags_say_what_is_there(self):
        backend = add.get_backend()
        flags = ("supports_get_result", "supports_async_task", "supports_defer", "supports_priority")
        self.assertEqual([getattr(backend, flag) for flag in flags], [True, True, True, False])

    def test_what_is_not_supported_is_refused_as_the_api_has_it(self):
        for unsupported in ({"priority": 5}, {"run_after": datetime(2030, 1, 1)}, {"queue_name": "none"}):  # noqa: DTZ001
            with self.assertRaises(REFUSED):
                add.using(**unsupported)

    def test_arguments_that_json_cannot_say_are_refused(self):
        with self.assertRaises(TypeError):
            add.enqueue(object(), 1)
        with self.assertRaises(InvalidEvent):
            add.enqueue(2**70, 1)
        self.assertFalse(Event.objects.filter(event_name__startswith="django.tasks.").exists())

    def test_no_result_is_invented(self):
        for unknown in (str(uuid4()), "of another backend"):
            with self.assertRaises(exceptions.TaskResultDoesNotExist):
                add.get_result(unknown)

    def test_another_task_does_not_answer(self):
        with self.assertRaises(exceptions.TaskResultMismatch):
            fail.get_result(add.enqueue(1, 2).id)

    def test_a_queue_is_a_part_of_a_name(self):
        with self.assertRaises(InvalidEvent):
            HoldfastBackend("default", {"QUEUES": ["no spaces"]})

    def test_the_checks_find_nothing(self):
        self.assertEqual([one for one in run_checks() if one.id and one.id.startswith("holdfast.")], [])

    async def test_async_code_enqueues(self):
        enqueued = await add.aenqueue(1, 2)
        self.assertEqual((await add.aget_result(enqueued.id)).status, READY)
