"""
A backend for ``django.tasks``, and for its backport ``django_tasks`` before Django 6: a task is an event, and the workers of
the bus run it.

::

    TASKS = {"default": {"BACKEND": "holdfast.integrations.django.tasks.HoldfastBackend"}}
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.apps import apps
from django.core import checks
from django.utils import timezone
from django.utils.module_loading import import_string

from holdfast.errors import IdConflict, Reject, Retry
from holdfast.integrations.django.project import project_bus
from holdfast.integrations.django.tasks_api import BaseTaskBackend, base, exceptions, signals
from holdfast.names import check_name
from holdfast.subscription import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from holdfast.event import Event
    from holdfast.integrations.django.project import ProjectBus
    from holdfast.subscription import Delivery

WORKER = "holdfast"
"""Stands in ``worker_ids`` once for each attempt: which worker it was is not kept."""

_APP = "holdfast.integrations.django"


class HoldfastBackend(BaseTaskBackend):
    """
    Enqueued inside of ``transaction.atomic``, a task commits with the rows. One that fails is tried again, as events are.

    With ``run_after`` it waits until then as a scheduled event, and `EventBus.cancel` of its result's id takes it back.

    Task *queue* of the backend *alias* is the event ``django.tasks.<alias>.<queue>``, its result's id the event's. What a task
    returns becomes an event, too, ``django.results.<alias>``, stored before the task counts as handled. Its id follows from the
    task's: of a repeat after a crash, the first answer stands.

    Args:
        alias: Its name in ``TASKS``.
        params: ``QUEUES`` as ever; ``OPTIONS`` are those of ``bus.subscribe``: ``retry``, ``concurrency``, ``timeout``.

    Raises:
        InvalidEvent: Alias or queue cannot be part of an event's name.
    """

    supports_async_task = True
    supports_defer = True
    supports_priority = False

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self._stem = f"django.tasks.{alias}"
        for queue in self.queues:
            check_name(f"{self._stem}.{queue}")
        self._retry: RetryPolicy = self.options.get("retry") or RetryPolicy()

    @property
    def supports_get_result(self) -> bool:
        """Whether Django's own connection leads to the events, and they can be read there."""
        bus = project_bus()
        return bus.database is not None and bus.encryption is None

    def subscribe(self, bus: ProjectBus) -> None:
        """Let the workers of *bus* run what is enqueued."""
        bus.subscribe(f"{self._stem}.**", self.run, name=self._stem, **self.options)

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """
        Raises:
            InvalidTask: As the API has it.
            TypeError, ValueError, InvalidEvent: An argument is nothing that JSON can say.
            As `EventBus.publish`.
        """
        self.validate_task(task)
        now, due_at = datetime.now(UTC), _aware(task.run_after)
        draft = self._result(task, "", base.TaskResultStatus.READY, args, kwargs, enqueued_at=now)
        content = {"task": task.module_path, "args": draft.args, "kwargs": draft.kwargs}
        if due_at is not None:
            content |= {"run_after": due_at, "enqueued_at": now}
        published = project_bus().publish(f"{self._stem}.{task.queue_name}", content, deliver_at=due_at)
        result = replace(draft, id=str(published.event_id))
        signals.task_enqueued.send(type(self), task_result=result)
        return result

    def run(self, event: Event, delivery: Delivery) -> None:
        """
        The handler: run the task of an event.

        Raises:
            ImportError: The task is not there (any more).
            Whatever the task raises.
        """
        begun, attempts = datetime.now(UTC), [WORKER] * delivery.attempt
        result = self._result(
            self._task_of(event.name, event.payload), str(event.id), base.TaskResultStatus.RUNNING,
            event.payload["args"], event.payload["kwargs"], enqueued_at=_enqueued_at(event),
            started_at=begun, last_attempted_at=begun, worker_ids=attempts,
        )  # fmt: skip
        signals.task_started.send(type(self), task_result=result)
        try:
            value = base.normalize_json(_called(result))
        except Exception as error:
            if self._is_final(error, delivery.attempt):
                self._finished(result, base.TaskResultStatus.FAILED)
            raise
        answer = {"return_value": value, "started_at": begun, "finished_at": datetime.now(UTC)}
        with suppress(IdConflict):  # the task was run before, and the process died: the first answer stands
            project_bus().publish(f"django.results.{self.alias}", answer, event_id=_answer_to(event.id))
        self._finished(result, base.TaskResultStatus.SUCCESSFUL, value)

    def get_result(self, result_id: str) -> Any:
        """
        Raises:
            TaskResultDoesNotExist: No such task of this backend, or retention has dropped it.
            NotImplementedError: `supports_get_result` is False.
        """
        if not self.supports_get_result:
            return super().get_result(result_id)
        # Not before all applications are there.
        from holdfast.integrations.django.models import Attempt, Delivery, Event, Scheduled

        meant = {"pk": _as_id(result_id), "event_name__startswith": f"{self._stem}."}
        # In this order: what becomes due between the two is found.
        event = Scheduled.objects.filter(**meant).first() or Event.objects.filter(**meant).first()
        if event is None or "task" not in event.payload:  # its personal data was erased
            raise exceptions.TaskResultDoesNotExist(result_id)
        if isinstance(event, Scheduled):
            return self._found(event, base.TaskResultStatus.READY)
        answer = Event.objects.filter(pk=_answer_to(event.pk)).first()
        ours = {"event_id": event.pk, "subscription__name": self._stem}
        failed = list(Attempt.objects.filter(**ours).exclude(outcome="put off"))
        delivery = Delivery.objects.filter(**ours).first()
        begun = [one.finished_at - timedelta(seconds=one.seconds) for one in failed]
        if answer is not None:
            begun.append(datetime.fromisoformat(answer.payload["started_at"]))
        result = self._found(
            event, _status(event, answer, delivery), started_at=min(begun, default=None),
            last_attempted_at=max(begun, default=None), finished_at=_finished_at(answer, delivery),
            errors=[_as_error(one) for one in failed], worker_ids=[WORKER] * len(begun),
        )  # fmt: skip
        return result if answer is None else _with_value(result, answer.payload["return_value"])

    def check(self, **options: Any) -> Iterable[checks.CheckMessage]:
        yield from super().check(**options)
        if not apps.is_installed(_APP):
            yield checks.Error(
                f"The backend {self.alias!r} of TASKS needs the application of Holdfast.",
                hint=f"Add {_APP!r} to INSTALLED_APPS.", id="holdfast.E001",
            )  # fmt: skip

    def _found(self, event: Any, status: Any, **facts: Any) -> Any:
        """The result of an event that a model has."""
        return self._result(
            self._task_of(event.event_name, event.payload), str(event.pk), status, event.payload["args"],
            event.payload["kwargs"], enqueued_at=_enqueued_at(event), **facts,
        )  # fmt: skip

    def _result(self, task: Any, id: str, status: Any, args: Any, kwargs: Any, **facts: Any) -> Any:
        empty: dict[str, Any] = {
            "started_at": None, "last_attempted_at": None, "finished_at": None, "errors": [], "worker_ids": [],
        }  # fmt: skip
        return base.TaskResult(
            task=task, id=id, status=status, args=args, kwargs=kwargs, backend=self.alias, **(empty | facts)
        )

    def _task_of(self, event_name: str, payload: Mapping[str, Any]) -> Any:
        queue = event_name.removeprefix(f"{self._stem}.")
        due_at = payload.get("run_after")
        run_after = None if due_at is None else datetime.fromisoformat(due_at)
        return import_string(payload["task"]).using(queue_name=queue, backend=self.alias, run_after=run_after)

    def _is_final(self, error: Exception, attempt: int) -> bool:
        if isinstance(error, Retry):
            return False
        return isinstance(error, Reject) or attempt >= self._retry.max_attempts or not self._retry.retries(error)

    def _finished(self, result: Any, status: Any, value: Any = None) -> None:
        ended = _with_value(replace(result, status=status, finished_at=datetime.now(UTC)), value)
        signals.task_finished.send(type(self), task_result=ended)


def _called(result: Any) -> Any:
    task = result.task
    context = [base.TaskContext(task_result=result)] if task.takes_context else []
    return task.call(*context, *result.args, **result.kwargs)


def _with_value(result: Any, value: Any) -> Any:
    object.__setattr__(result, "_return_value", value)  # as the API's own backends do: it is frozen
    return result


def _aware(moment: datetime | None) -> datetime | None:
    """Without ``USE_TZ`` it is told in the project's own time zone."""
    if moment is None or timezone.is_aware(moment):
        return moment
    made: datetime = timezone.make_aware(moment)
    return made


def _enqueued_at(event: Any) -> datetime:
    """Of one that has waited for its time, the event's own is that time."""
    enqueued: str | None = event.payload.get("enqueued_at")
    if enqueued is not None:
        return datetime.fromisoformat(enqueued)
    found: datetime = event.occurred_at
    return found


def _answer_to(event_id: UUID) -> UUID:
    """The id of the event that says what a task returned: the task's, one bit of its random part turned."""
    return UUID(int=event_id.int ^ 1)


def _as_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise exceptions.TaskResultDoesNotExist(text) from None


def _status(event: Any, answer: Any, delivery: Any) -> Any:
    if answer is not None:
        return base.TaskResultStatus.SUCCESSFUL
    if _is_over(delivery):
        return base.TaskResultStatus.FAILED
    return base.TaskResultStatus.RUNNING if event.status == "processing" else base.TaskResultStatus.READY


def _finished_at(answer: Any, delivery: Any) -> Any:
    if answer is not None:
        return datetime.fromisoformat(answer.payload["finished_at"])  # by the clock that it was started by
    return delivery.updated_at if _is_over(delivery) else None


def _is_over(delivery: Any) -> bool:
    return delivery is not None and delivery.state in ("dead", "discarded")


def _as_error(attempt: Any) -> Any:
    path = attempt.error if "." in attempt.error else f"builtins.{attempt.error}"
    return base.TaskError(exception_class_path=path, traceback=attempt.traceback or "")
