try:
    from django.tasks import task
except ImportError:  # Django 5.2
    from django_tasks import task

from .models import Order


@task
def pack(order_id: int) -> str:
    return f"packed: {Order.objects.get(pk=order_id).item}"
