"""Data keys as the statements of both stores take and give them. Pure."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.stores.repeats import as_uuid
from holdfast.stores.values import SubjectKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from holdfast.stores.values import Subject


def as_key(row: Sequence[Any]) -> SubjectKey:
    """From a row of ``find_keys`` or ``keys_to_wrap``."""
    key_id, tenant_id, key, master, wrapped, retired = row
    return SubjectKey(
        as_uuid(key_id), tenant_id, key, master, None if wrapped is None else a2b_base64(wrapped), bool(retired)
    )


def question(subjects: Iterable[Subject], ids: Iterable[UUID]) -> dict[str, str]:
    """Parameters of ``find_keys``."""
    return {
        "subjects": _json([{"tenant_id": one.tenant_id, "event_key": one.key} for one in subjects]),
        "ids": _json([str(one) for one in ids]),
    }


def additions(keys: Iterable[SubjectKey]) -> dict[str, str]:
    """Parameters of ``add_keys`` and ``rewrap_keys``."""
    rows = [
        {
            "id": str(one.id),
            "tenant_id": one.tenant_id,
            "event_key": one.key,
            "master": one.master,
            "wrapped": None if one.wrapped is None else b2a_base64(one.wrapped, newline=False).decode(),
        }
        for one in keys
    ]
    return {"keys": _json(rows)}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
