from __future__ import annotations

try:
    from django.tasks import task
except ImportError:  # Django 5.2
    from django_tasks import task


@task
def add(a: int, b: int) -> int:
    return a + b


@task
async def wave(to: str) -> str:
    return f"hello {to}"


@task(takes_context=True)
def try_again(context) -> int:
    if context.attempt < 2:
        raise OSError("not yet")
    return context.attempt


@task(queue_name="mail")
def fail() -> None:
    raise ValueError("never")


@task
def unsayable() -> object:
    return object()
