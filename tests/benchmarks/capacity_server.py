"""A chat endpoint of known capacity: so many slots, each answer takes a fixed time, the rest waits in line."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import NamedTuple

REPLY = {
    "id": "0", "object": "chat.completion", "created": 0, "model": "fixed",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "7"}}],
    "usage": {"prompt_tokens": 300, "completion_tokens": 1, "total_tokens": 301},
}  # fmt: skip


class Served(NamedTuple):
    """What a server did: answers, and seconds from the first request to the last answer."""

    answers: int
    seconds: float


class CapacityServer:
    """The server, seen from outside its process."""

    def __init__(self, url: str, pipe: Connection) -> None:
        self.url, self._pipe = url, pipe

    def served(self) -> Served:
        """What it has done."""
        self._pipe.send("served")
        return Served(*self._pipe.recv())


@contextmanager
def capacity_server(slots: int, service: float) -> Iterator[CapacityServer]:
    """Serve in another process; capacity is slots / service answers a second."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_main, args=(slots, service, theirs), daemon=True)
    process.start()
    yield CapacityServer(f"http://127.0.0.1:{ours.recv()}/v1", ours)
    process.kill()
    process.join()


def _main(slots: int, service: float, pipe: Connection) -> None:
    asyncio.run(_serve(slots, service, pipe))


async def _serve(slots: int, service: float, pipe: Connection) -> None:
    free, seen = asyncio.Semaphore(slots), list[float]()
    body = json.dumps(REPLY).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    begun: list[float] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                request = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                writer.close()
                return
            length = next(
                int(line.split(b":")[1])
                for line in request.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            await reader.readexactly(length)
            begun.append(time.perf_counter())
            async with free:
                await asyncio.sleep(service)
            writer.write(head + body)
            await writer.drain()
            seen.append(time.perf_counter())

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=2**20)
    pipe.send(server.sockets[0].getsockname()[1])
    while True:
        if pipe.poll():
            pipe.recv()
            pipe.send((len(seen), seen[-1] - begun[0] if seen else 0.0))
        await asyncio.sleep(0.05)
