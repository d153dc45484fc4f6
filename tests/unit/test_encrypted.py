"""What encrypted payloads look like, and who has the keys: pure parts of the encryption."""

from __future__ import annotations

import asyncio
import base64
import pickle
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from holdfast.encrypted import (
    CHANGED,
    NO_KEY,
    NO_KEYS,
    Sealed,
    Spooled,
    decoded,
    encoded,
    encoded_for_spool,
    is_encrypted,
    locked,
    same_content,
    unreadable,
)
from holdfast.encryption import MasterKeys, WrappedKey, new_master_key
from holdfast.encryption import keyring as keyrings
from holdfast.encryption.codec import Codec, bound_to, opened_payload, sealed
from holdfast.encryption.keyring import DataKey, Keyring, Locked, rewrapped
from holdfast.erased import MASK
from holdfast.errors import ConfigurationError, KeysUnavailable, MalformedEvent, PayloadLocked
from holdfast.event import Event, NewEvent, Row
from holdfast.ids import new_id
from holdfast.stores.values import KEY_SECONDS, Subject, SubjectKey

if TYPE_CHECKING:
    from collections.abc import Sequence

A_KEY = base64.b64encode(b"k" * 32).decode()
ID = UUID("01a2093d-4f8d-7561-b503-8a7c48b6e058")
DATA_KEY = DataKey(bytes(range(16)), AESGCM(b"k" * 32), b"c" * 32)

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
payloads = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


def event(payload: bytes = b'{"a":1}', **fields: Any) -> NewEvent:
    return NewEvent(**{"id": ID, "tenant_id": "acme", "name": "order.placed", "key": "k", "payload": payload} | fields)


def open_with(key: DataKey | Locked, one: NewEvent) -> bytes:
    token = decoded(one.payload)
    assert isinstance(token, Sealed)
    return opened_payload(token, key, bound_to(one.id.bytes, one))


class TestTokens:
    @given(payload=payloads, tenant=texts, key=st.none() | texts)
    def test_what_was_encrypted_comes_back_as_it_was_written(self, payload: Any, tenant: str, key: str | None) -> None:
        raw = msgspec.json.encode(payload)
        one = sealed(event(raw, tenant_id=tenant, key=key), DATA_KEY)
        assert is_encrypted(one.payload)
        assert list(msgspec.json.decode(one.payload)) == ["holdfast.encrypted"]
        assert open_with(DATA_KEY, one) == raw

    @pytest.mark.parametrize(
        "other", [{"id": new_id()}, {"tenant_id": "other"}, {"name": "order.paid"}, {"key": "l"}, {"key": None}]
    )
    def test_under_another_id_tenant_name_or_key_it_cannot_be_read(self, other: dict[str, Any]) -> None:
        one = sealed(event(), DATA_KEY)._replace(**other)
        assert open_with(DATA_KEY, one) == locked(CHANGED)

    def test_what_tenant_and_key_have_in_common_cannot_be_moved_between_them(self) -> None:
        assert bound_to(ID.bytes, event(tenant_id="a", key="bc")) != bound_to(ID.bytes, event(tenant_id="ab", key="c"))

    @given(place=st.integers(0), bit=st.integers(0, 7))
    def test_a_bit_that_flipped_is_noticed(self, place: int, bit: int) -> None:
        one = sealed(event(), DATA_KEY)
        token = decoded(one.payload)
        assert isinstance(token, Sealed)
        body = bytearray(token.nonce + token.sealed)
        body[place % len(body)] ^= 1 << bit
        flipped = one._replace(payload=encoded(token._replace(nonce=bytes(body[:12]), sealed=bytes(body[12:]))))
        assert open_with(DATA_KEY, flipped) == locked(CHANGED)

    @given(raw=st.binary(max_size=80))
    def test_any_other_payload_is_none(self, raw: bytes) -> None:
        text = b'{"holdfast.encrypted":"' + base64.b64encode(raw) + b'"}'
        token = decoded(text)
        if isinstance(token, Sealed):
            assert encoded(token) == text
        elif isinstance(token, Spooled):
            assert raw[:1] == b"\x02"
        assert decoded(raw) is None

    @given(raw=st.binary(max_size=60))
    def test_the_form_of_the_spool_comes_back(self, raw: bytes) -> None:
        spooled = Spooled("a name", raw, b"n" * 12, b"s" * 20)
        assert decoded(encoded_for_spool(spooled)) == spooled

    def test_the_same_payload_looks_different_each_time(self) -> None:
        assert sealed(event(), DATA_KEY).payload != sealed(event(), DATA_KEY).payload


class TestTheSameContent:
    @given(payload=payloads, other=payloads)
    def test_is_known_without_a_key_and_other_content_too(self, payload: Any, other: Any) -> None:
        one, two = (sealed(event(msgspec.json.encode(each)), DATA_KEY).payload for each in (payload, other))
        alike = msgspec.json.encode(payload, order="sorted") == msgspec.json.encode(other, order="sorted")
        assert same_content(one, two) is alike

    def test_however_it_is_written(self) -> None:
        one, two = (sealed(event(each), DATA_KEY).payload for each in (b'{"a":1,"b":2}', b'{ "b": 2, "a": 1 }'))
        assert same_content(one, two) is True

    def test_of_another_event_it_is_not_recognised(self) -> None:
        one, two = sealed(event(), DATA_KEY).payload, sealed(event(id=new_id()), DATA_KEY).payload
        assert same_content(one, two) is False

    def test_after_an_erasure_nothing_is_left_to_compare(self) -> None:
        later = DataKey(b"l" * 16, AESGCM(b"l" * 32), b"l" * 32)
        assert same_content(sealed(event(b"1"), DATA_KEY).payload, sealed(event(b"2"), later).payload) is True

    @pytest.mark.parametrize("plain", [b"1", MASK, b'{"holdfast.encrypted":"AAAA"}'])
    def test_is_not_asked_of_plain_ones(self, plain: bytes) -> None:
        assert same_content(sealed(event(), DATA_KEY).payload, plain) is None


class TestReadingWithoutAKey:
    def test_says_what_is_missing_and_survives_pickling(self) -> None:
        row = Row(1, ID.bytes, 0, 0, 0, "acme", "a", None, sealed(event(), DATA_KEY).payload, None)
        with pytest.raises(PayloadLocked, match="has no keys") as caught:
            _ = Event(row).payload
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

    @pytest.mark.parametrize(
        ("payload", "kind"),
        [
            (locked(NO_KEY), PayloadLocked),
            (locked(NO_KEYS), PayloadLocked),
            (locked(CHANGED), MalformedEvent),
            (b'{"holdfast.encrypted":"?"}', MalformedEvent),
            (b'{"holdfast.encrypted":null,"because":"\\u001b[2J"}', MalformedEvent),
        ],
    )
    def test_what_was_changed_is_malformed_for_good(self, payload: bytes, kind: type[Exception]) -> None:
        error = unreadable(ID, payload)
        assert type(error) is kind
        assert "\x1b" not in str(error)

    def test_a_dropped_key_leaves_the_mask(self) -> None:
        assert open_with(Locked(erased=True), sealed(event(), DATA_KEY)) == MASK


class TestMasterKeys:
    def test_a_made_line_is_read_back(self, tmp_path: Any) -> None:
        path = tmp_path / "keys"
        path.write_text(f"# the current one\n{new_master_key('2027')}\n\n{new_master_key('2026')}  # old\n", "utf-8")
        keys = MasterKeys.from_file(path)
        assert keys.current == "2027"
        assert repr(keys) == "<MasterKeys 2027, 2026>"

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "# nothing",
            "a",
            "a !",
            "a AAAA",
            f"a {'A' * 44}",
            "a " + "QUFB" * 20,
            f"a {A_KEY}\na {A_KEY}",
        ],
    )
    def test_what_is_no_master_key_is_refused_without_being_shown(self, text: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            MasterKeys.from_text(text, "here")
        for word in text.split():
            assert len(word) < 8 or word not in str(caught.value)

    @pytest.mark.parametrize("keys", [{}, {"a": b"short"}, {"": b"k" * 32}, {"a b": b"k" * 32}, {"a" * 201: b"k" * 32}])
    def test_wrong_ones_are_refused(self, keys: dict[str, bytes]) -> None:
        with pytest.raises(ConfigurationError):
            MasterKeys(keys)

    def test_a_file_that_is_missing_is_named(self) -> None:
        with pytest.raises(ConfigurationError, match="/nowhere"):
            MasterKeys.from_environment({"HOLDFAST_MASTER_KEYS_FILE": "/nowhere"})

    def test_the_environment_may_have_them_itself(self) -> None:
        found = MasterKeys.from_environment({"HOLDFAST_MASTER_KEYS": new_master_key("now")})
        assert found is not None
        assert found.current == "now"
        assert MasterKeys.from_environment({}) is None

    async def test_a_wrapped_key_opens_for_its_subject_and_its_master_key_alone(self) -> None:
        keys, other = MasterKeys({"m": b"m" * 32}), MasterKeys({"m": b"x" * 32})
        (wrapped,) = await keys.wrap([(b"d" * 32, b"acme\0ann")])
        assert await keys.unwrap([wrapped]) == [b"d" * 32]
        moved = wrapped._replace(subject=b"acme\0ben")
        renamed = wrapped._replace(master="n")
        assert await keys.unwrap([moved, renamed, wrapped._replace(wrapped=b"")]) == [None] * 3
        assert await other.unwrap([wrapped]) == [None]


class Shelf:
    """A `KeyStore` in memory that counts what it is asked."""

    def __init__(self) -> None:
        self.rows: dict[UUID, SubjectKey] = {}
        self.asked: list[int] = []

    async def find_keys(self, subjects: Sequence[Subject], ids: Sequence[UUID]) -> list[SubjectKey]:
        self.asked.append(len(subjects) + len(ids))
        return [one for one in self.rows.values() if one.id in ids or (one.subject in subjects and not one.retired)]

    async def add_keys(self, keys: Sequence[SubjectKey]) -> list[SubjectKey]:
        used = {one.subject for one in self.rows.values() if not one.retired}
        self.rows |= {one.id: one for one in keys if one.subject not in used}
        return await self.find_keys([one.subject for one in keys], ())


class Away:
    """A provider that does not answer."""

    current = "away"

    async def wrap(self, keys: Any) -> Any:
        raise OSError("no route")

    async def unwrap(self, keys: Any) -> Any:
        raise OSError("no route")


class TestTheKeyring:
    @pytest.fixture
    def shelf(self) -> Shelf:
        return Shelf()

    def keyring(self, shelf: Shelf, now: list[float] | None = None) -> Keyring:
        times = now or [0.0]
        return Keyring(shelf, MasterKeys({"m": b"m" * 32}), clock=lambda: times[0])

    async def test_asks_once_for_all_subjects_that_it_does_not_know(self, shelf: Shelf) -> None:
        keyring = self.keyring(shelf)
        subjects = [Subject("acme", f"k{n}") for n in range(100)]
        first = await keyring.for_sealing(subjects)
        assert shelf.asked == [100, 100]  # looked for, and read back after they were added
        assert await keyring.for_sealing(subjects) == first
        assert shelf.asked == [100, 100]
        other = self.keyring(shelf)
        ids = [key.id for key in first.values()]
        opened = await other.for_opening(ids)
        assert {one: opened[one].content for one in ids} == {key.id: key.content for key in first.values()}
        await other.for_opening(ids)
        assert shelf.asked == [100, 100, 100]

    async def test_a_key_that_is_erased_before_it_is_read_back_is_made_again(
        self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add, gone = shelf.add_keys, list[SubjectKey]()

        async def erased_at_first(keys: Sequence[SubjectKey]) -> list[SubjectKey]:
            if gone:
                return await add(keys)
            gone.extend(keys)
            shelf.rows |= {one.id: one._replace(wrapped=None, retired=True) for one in keys}
            return []

        monkeypatch.setattr(shelf, "add_keys", erased_at_first)
        subject = Subject("acme", "k")
        assert (await self.keyring(shelf).for_sealing([subject]))[subject].id not in {one.id.bytes for one in gone}
        assert len(gone) == 1

    async def test_what_it_knows_counts_for_some_seconds_only(self, shelf: Shelf) -> None:
        now = [0.0]
        keyring, subject = self.keyring(shelf, now), Subject("acme", None)
        (key,) = (await keyring.for_sealing([subject])).values()
        row = shelf.rows[UUID(bytes=key.id)]
        shelf.rows[row.id] = row._replace(retired=True)
        now[0] = KEY_SECONDS - 0.1
        assert (await keyring.for_sealing([subject]))[subject] == key
        now[0] = KEY_SECONDS
        assert (await keyring.for_sealing([subject]))[subject].id != key.id
        assert isinstance((await keyring.for_opening([key.id]))[key.id], DataKey)
        shelf.rows[row.id] = row._replace(retired=True, wrapped=None)
        now[0] = 3 * KEY_SECONDS
        assert await keyring.for_opening([key.id]) == {key.id: Locked(erased=True)}

    async def test_two_who_meet_have_one_key(self, shelf: Shelf) -> None:
        subject = Subject("acme", "k")
        both = await asyncio.gather(*(self.keyring(shelf).for_sealing([subject]) for _ in range(2)))
        assert both[0][subject].id == both[1][subject].id

    async def test_memory_is_bounded(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(keyrings, "REMEMBERED", 50)
        keyring = self.keyring(shelf)
        subjects = [Subject("acme", f"k{n}") for n in range(300)]
        assert len(await keyring.for_sealing(subjects)) == 300
        assert max(len(keyring._by_id), len(keyring._by_subject), len(keyring._proposed)) <= 50

    async def test_a_provider_that_fails_is_away(self, shelf: Shelf) -> None:
        keyring = Keyring(shelf, Away())
        with pytest.raises(KeysUnavailable, match="no route"):
            await keyring.for_sealing([Subject("acme", None)])

    async def test_a_master_key_that_is_not_here_keeps_from_publishing_and_is_named(self, shelf: Shelf) -> None:
        await self.keyring(shelf).for_sealing([Subject("acme", None)])
        other = Keyring(shelf, MasterKeys({"n": b"n" * 32}))
        with pytest.raises(ConfigurationError, match="'m'"):
            await other.for_sealing([Subject("acme", None)])
        (key_id,) = shelf.rows
        assert await other.for_opening([key_id.bytes]) == {key_id.bytes: Locked(erased=False)}

    async def test_rewrapping_leaves_out_what_cannot_be_opened(self, shelf: Shelf) -> None:
        await self.keyring(shelf).for_sealing([Subject("acme", None)])
        (row,) = shelf.rows.values()
        both = MasterKeys({"n": b"n" * 32, "m": b"m" * 32})
        (anew,) = await rewrapped(both, [row, row._replace(wrapped=None), row._replace(master="gone")])
        assert (anew.id, anew.master) == (row.id, "n")
        opened = await MasterKeys({"n": b"n" * 32}).unwrap([WrappedKey("n", anew.wrapped or b"", b"acme\0")])
        assert opened != [None]


async def test_a_codec_leaves_masks_and_plain_rows_alone() -> None:
    codec = Codec(Shelf(), MasterKeys({"m": b"m" * 32}))
    (one, mask) = await codec.sealed([event(), event(MASK)])
    assert mask.payload == MASK
    rows = [
        Row(1, ID.bytes, 0, 0, 0, "acme", "order.placed", "k", payload, None) for payload in (one.payload, MASK, b"3")
    ]
    assert [row.payload for row in await codec.opened(rows)] == [b'{"a":1}', MASK, b"3"]


async def test_what_a_spool_is_given_cannot_be_read_and_comes_back() -> None:
    shelf, keys = Shelf(), MasterKeys({"m": b"m" * 32})
    codec = Codec(shelf, keys)
    await codec.open_spool()
    (spooled,) = codec.sealed_for_spool([event(b'"secret"')])
    assert b"secret" not in base64.b64decode(msgspec.json.decode(spooled.payload)["holdfast.encrypted"])
    (again,) = await Codec(shelf, keys).sealed([spooled])  # another process sends it
    assert (
        open_with((await codec.keyring.for_sealing([Subject("acme", "k")]))[Subject("acme", "k")], again) == b'"secret"'
    )
    with pytest.raises(PayloadLocked):
        await Codec(shelf, MasterKeys({"n": b"n" * 32})).sealed([spooled])
