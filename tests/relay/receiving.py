"""Receivers of webhooks, good and bad, on real sockets."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from tests.listener import Listener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path


class Request(msgspec.Struct):
    line: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers every request by ``answer``: bytes, or a function of the request; keeps what came."""

    def __init__(self) -> None:
        self.answer: bytes | Callable[[Request], bytes | Awaitable[bytes]] = status(204)
        self.requests: list[Request] = []
        self.connections = 0
        self.port = 0
        self.left = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks?token=in-the-query"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                request = await _read(reader)
                self.requests.append(request)
                answer = self.answer if isinstance(self.answer, bytes) else self.answer(request)
                writer.write(answer if isinstance(answer, bytes) else await answer)
                await writer.drain()
                if b"content-length" not in (answer if isinstance(answer, bytes) else b"content-length"):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()


def status(code: int, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {code} X", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(head[0], headers, body)


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    listener = Listener(receiver.serve)
    receiver.port = await listener.open(tls=tls)
    try:
        yield receiver
    finally:
        await listener.close()


def certificate_for(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What serves as *name*, and what trusts it."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", certificate,
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"],
        check=True, capture_output=True,
    )  # fmt: skip
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate, key)
    return serving, ssl.create_default_context(cafile=str(certificate))
