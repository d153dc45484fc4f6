"""What happens when something has happened. Django imports this module when it starts."""

from holdfast import Event
from holdfast.integrations.django import bus

from .models import Order


@bus.subscribe("order.placed", name="receipts")
def send_receipt(event: Event) -> None:
    Order.objects.filter(pk=event.payload["order_id"]).update(receipt_sent=True)
    print("receipt for order", event.payload["order_id"], flush=True)
