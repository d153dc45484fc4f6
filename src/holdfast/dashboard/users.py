"""Users with passwords, from a file or a text: one ``name:role:hash`` a line. Hashes are scrypt's."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from holdfast.dashboard.access import Actor, Role
from holdfast.errors import ConfigurationError
from holdfast.names import text_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

# 32 MiB and about a quarter of a second: guessing is expensive, and signing in is not.
_COST, _BLOCK, _PARALLEL = 2**15, 8, 3
_COST_MIN, _COST_MAX = 2**14, 2**20
_MEMORY_MAX = 2**30
_PASSWORD_BYTES_MAX = 1024
_RULE = "write  name:role:scrypt$...  as  holdfast dashboard --hash-password NAME  prints it"


@dataclass(frozen=True, slots=True)
class _Hash:
    cost: int
    block: int
    parallel: int
    salt: bytes
    digest: bytes

    def matches(self, password: str) -> bool:
        return hmac.compare_digest(self.digest, _derived(password, self.salt, self.cost, self.block, self.parallel))


class Users:
    """
    People who sign in with a name and a password.

    Args:
        lines: ``name:role:hash``, one a line; empty lines and those that begin with ``#`` are passed over.
        source: What to call it in errors.

    Raises:
        ConfigurationError: A line is not of that form; its number is named, never its content.
    """

    how = "Sign in."

    def __init__(self, lines: str, *, source: str = "users") -> None:
        self._known: dict[str, tuple[Actor, _Hash]] = {}
        for number, line in enumerate(lines.splitlines(), 1):
            if not (text := line.strip()) or text.startswith("#"):
                continue
            actor, hashed = _parsed(text, f"{source}, line {number}")
            if actor.name in self._known:
                raise ConfigurationError(f"{source}, line {number}: {actor.name!r} is there already")
            self._known[actor.name] = actor, hashed
        if not self._known:
            raise ConfigurationError(f"{source} names nobody: {_RULE}")
        # Whoever does not exist costs as much time as whoever does.
        self._nobody = _Hash(_COST, _BLOCK, _PARALLEL, b"\0" * 16, b"\0" * 32)
        self._one_at_a_time = asyncio.Semaphore(2)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read *path*. Raises ConfigurationError where it cannot be read, or others may write to it."""
        place = Path(path)
        try:
            text, mode = place.read_text("utf-8"), place.stat().st_mode
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"the users file {place} cannot be read: {error}") from error
        if mode & 0o022:
            raise ConfigurationError(f"others may write to the users file {place}: run  chmod go-w {place}")
        return cls(text, source=str(place))

    @classmethod
    def from_environment(cls, variables: Mapping[str, str], name: str = "HOLDFAST_DASHBOARD_USERS") -> Self | None:
        """The users in a variable, separated by line ends or semicolons; None where it is not set."""
        text = variables.get(name)
        return cls(text.replace(";", "\n"), source=name) if text else None

    def actor(self, name: str) -> Actor | None:
        """Who has signed in as *name*; None if that is nobody any more."""
        found = self._known.get(name)
        return found[0] if found else None

    async def check(self, name: str, password: str) -> Actor | None:
        """Who that is, if the password is right. Cost: about a quarter of a second of a thread, and 32 MiB."""
        actor, hashed = self._known.get(name, (None, self._nobody))
        if len(password.encode("utf-8", "replace")) > _PASSWORD_BYTES_MAX:
            return None
        async with self._one_at_a_time:
            right = await asyncio.to_thread(hashed.matches, password)
        return actor if right else None


def hash_password(password: str) -> str:
    """*password* as a users file keeps it. Raises ConfigurationError where it is too short or too long."""
    if len(password) < 12:
        raise ConfigurationError(f"the password has {len(password)} characters: use 12 or more")
    if len(password.encode()) > _PASSWORD_BYTES_MAX:
        raise ConfigurationError(f"the password is too long: use at most {_PASSWORD_BYTES_MAX} bytes")
    salt = secrets.token_bytes(16)
    digest = _derived(password, salt, _COST, _BLOCK, _PARALLEL)
    return f"scrypt${_COST}${_BLOCK}${_PARALLEL}${_text(salt)}${_text(digest)}"


def _derived(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    given = password.encode("utf-8", "replace")
    return hashlib.scrypt(given, salt=salt, n=cost, r=block, p=parallel, maxmem=_MEMORY_MAX, dklen=32)


def _parsed(line: str, where: str) -> tuple[Actor, _Hash]:
    name, _, rest = line.partition(":")
    role, _, hashed = rest.partition(":")
    if not name or len(name) > 255 or text_problem(name) is not None:
        raise ConfigurationError(f"{where}: the name is of no use; {_RULE}")
    if role not in set(Role):
        raise ConfigurationError(f"{where}: the role of {name!r} is none of {', '.join(Role)}")
    try:
        kind, cost, block, parallel, salt, digest = hashed.split("$")
        found = _Hash(int(cost), int(block), int(parallel), _bytes(salt), _bytes(digest))
    except ValueError as error:
        raise ConfigurationError(f"{where}: the hash of {name!r} cannot be read; {_RULE}") from error
    weak = not (_COST_MIN <= found.cost <= _COST_MAX and found.cost & (found.cost - 1) == 0)
    if kind != "scrypt" or weak or not (8 <= found.block <= 32 and 1 <= found.parallel <= 16):
        raise ConfigurationError(f"{where}: the hash of {name!r} is no scrypt of useful cost; {_RULE}")
    if len(found.salt) < 16 or len(found.digest) != 32:
        raise ConfigurationError(f"{where}: the hash of {name!r} is not whole; {_RULE}")
    return Actor(name, Role(role)), found


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
