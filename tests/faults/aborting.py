"""A client that goes away before it has heard the answer."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Departure", "send_and_leave"]

_LONGEST_STAY = 0.05  # seconds
_PATIENCE = 30  # seconds
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Departure:
    """When and how a client leaves.

    Attributes:
        sent: Which part of the request it sends, from 0 to 1.
        lines: For how many lines of the response's body it waits.
        stay: How long it stays then, in seconds.
        is_rude: Whether it resets the connection, instead of closing it.
    """

    sent: float = 1.0
    lines: int = 0
    stay: float = 0.0
    is_rude: bool = False

    @classmethod
    def at_random(cls, source: random.Random) -> Departure:
        """Return one at any point, most of them after the request."""
        sent = 1.0 if source.random() < 0.85 else source.random()
        return cls(sent, stay=source.uniform(0, _LONGEST_STAY), is_rude=source.random() < 0.5)


async def send_and_leave(url: str, path: str, body: Any, departure: Departure) -> None:
    """POST *body* to *path* of the server at *url*, and leave."""
    address = urlsplit(url)
    request = _request(path, json.dumps(body).encode())
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(request[: int(len(request) * departure.sent)])
        await writer.drain()
        async with asyncio.timeout(_PATIENCE):
            await _read_lines(reader, departure.lines)
        await asyncio.sleep(departure.stay)
    finally:
        _leave(writer, is_rude=departure.is_rude)


def _request(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _read_lines(reader: asyncio.StreamReader, number: int) -> None:
    if not number:
        return
    await reader.readuntil(b"\r\n\r\n")
    for _ in range(number):
        await reader.readuntil(b"\n\r\n")  # a line of the body is a chunk of the transfer


def _leave(writer: asyncio.StreamWriter, *, is_rude: bool) -> None:
    if is_rude:
        connection: socket.socket = writer.get_extra_info("socket")
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
