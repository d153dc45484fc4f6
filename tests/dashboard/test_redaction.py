from __future__ import annotations

import pytest

from holdfast.dashboard.redaction import HIDDEN, Redaction
from holdfast.errors import ConfigurationError

PAYLOAD = {
    "id": 1,
    "card": {"number": "4111", "expires": {"year": 30}},
    "items": [{"price": 1, "sku": "a"}, {"price": 2, "sku": "b"}],
    "codes": [7, 8],
}


@pytest.mark.parametrize(
    ("rule", "changed"),
    [
        ("payload.card.number", {"card": {"number": HIDDEN, "expires": {"year": 30}}}),
        ("payload.CARD.Number", {"card": {"number": HIDDEN, "expires": {"year": 30}}}),
        ("payload.card.*", {"card": {"number": HIDDEN, "expires": HIDDEN}}),
        ("payload.card", {"card": HIDDEN}),
        ("payload.*.number", {"card": {"number": HIDDEN, "expires": {"year": 30}}}),
        ("payload.card.**", {"card": HIDDEN}),
        ("payload.items.price", {"items": [{"price": HIDDEN, "sku": "a"}, {"price": HIDDEN, "sku": "b"}]}),
        ("payload.items.*.price", {"items": [{"price": HIDDEN, "sku": "a"}, {"price": HIDDEN, "sku": "b"}]}),
        ("payload.items.1", {"items": [{"price": 1, "sku": "a"}, HIDDEN]}),
        ("payload.codes.*", {"codes": [HIDDEN, HIDDEN]}),
        ("payload.nothing", {}),
        ("headers.card", {}),
    ],
)
def test_a_rule_hides_what_it_names_and_no_more(rule, changed):
    rules = Redaction([rule])
    assert rules.payload(PAYLOAD) == PAYLOAD | changed
    assert rules.hides(PAYLOAD) == bool(changed)


def test_the_whole_payload_and_headers():
    rules = Redaction(["payload", "headers.authorization"])
    assert rules.payload([1, 2]) == HIDDEN
    assert rules.headers({"Authorization": "x", "source": "web"}) == {"Authorization": HIDDEN, "source": "web"}
    assert rules.headers(None) is None


@pytest.mark.parametrize(
    ("rule", "path", "covered"),
    [
        ("payload.card.number", "card.number", True),
        ("payload.card.number", "Card.Number", True),
        ("payload.card.number", "card", True),
        ("payload.card", "card.number.first", True),
        ("payload.card.*", "card.cvc", True),
        ("payload.items.price", "items.0.price", True),
        ("payload.items.*.price", "items.0.price", True),
        ("payload.**", "anything.at.all", True),
        ("payload.card.number", "card.holder", False),
        ("payload.card.number", "order.id", False),
        ("headers.id", "id", False),
    ],
)
def test_what_is_hidden_cannot_be_asked_for_either(rule, path, covered):
    assert Redaction([rule]).covers(path.split(".")) is covered


@pytest.mark.parametrize("rule", ["", "card.number", "payload.", "payload..x", "payload.**.x", "body.x"])
def test_a_rule_that_would_hide_nothing_is_refused(rule):
    with pytest.raises(ConfigurationError, match="redaction"):
        Redaction([rule])
