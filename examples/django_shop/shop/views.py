from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST

from holdfast.integrations.django import publish

from .models import Order
from .tasks import pack


@require_POST
def place(request: HttpRequest) -> JsonResponse:
    with transaction.atomic():
        order = Order.objects.create(customer=request.POST["customer"], item=request.POST["item"])
        publish("order.placed", {"order_id": order.pk, "item": order.item}, key=order.customer)
        packing = pack.enqueue(order.pk)
        if order.item == "albatross":  # neither the order nor its event nor its task has ever been
            transaction.set_rollback(True)
            return JsonResponse({"sorry": "none is left"}, status=409)
    return JsonResponse({"id": order.pk, "packing": packing.id}, status=201)


def look(_: HttpRequest, number: int) -> JsonResponse:
    order = get_object_or_404(Order, pk=number)
    return JsonResponse({"id": order.pk, "item": order.item, "receipt_sent": order.receipt_sent})
