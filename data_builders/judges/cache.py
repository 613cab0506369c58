"""Answers on disk: what was paid for is never asked for again.

One file, `answers.jsonl`, one line per reply, written the moment it arrives. A kill at any time loses at most
requests that were not answered yet: a last line that it has cut is passed over, and told. Several processes may
share a folder: they see each other's answers, and of two that want the same one, one waits for the other.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_builders.judges.asking import JudgeReply, JudgeRequest
from data_builders.judges.budget import Spent
from vlmalign.records import DataError
from vlmalign.records.hashing import config_hash

try:
    import fcntl
except ImportError:  # not a POSIX system: one process at a time, then
    fcntl = None  # type: ignore[assignment]

ANSWERS, CLAIMS = "answers.jsonl", "claims.lock"
KEPT = ("answered", "cut", "refused")  # a failed reply is noted for its cost, and asked for again
SYNC_EVERY = 1.0  # seconds between writes through to the disk: a power cut loses no more than that
POLL = 0.2  # seconds between looks at another process's request
CLAIM_RANGE = 2**62


def request_key(request: JudgeRequest, identity: Mapping[str, Any], seed: int) -> str:
    """What tells one request from another: two with the same key have the same answer.

    It is the hash of the model with its options, the template, the rendered messages, the images' hashes, the
    display order, the sample's number, temperature, token limit and seed. Hosts and paths are not in it.

    Args:
        request: the request.
        identity: of the backend.
        seed: of the run.
    """
    return config_hash(
        {
            "model": dict(identity),
            "prompt": request.prompt,
            "messages": [message.model_dump(mode="json") for message in request.messages],
            "images": [image.sha256 for image in request.images],
            "display_order": list(request.display_order),
            "sample": request.sample,
            "temperature": float(request.temperature),
            "max_tokens": request.max_tokens,
            "seed": seed,
        }
    )


class AnswerCache:
    """Replies by key, in a folder.

    Args:
        folder: made if absent, for its owner alone; one that is there keeps its rights, so that a group can share
            it.
        run: names the build that pays: what it has spent in earlier starts is `spent_before`.

    Attributes:
        torn: lines that could not be read (cut by a kill or a full disk); their requests are asked again.
        spent_before: what this build had spent before.

    Raises:
        DataError: the path is a file.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> AnswerCache(folder, run="a").put("k", JudgeReply("answered", "9"), Spent(1))
        >>> AnswerCache(folder, run="b").get("k").text
        '9'
    """

    def __init__(self, folder: str | Path, run: str) -> None:
        self.folder = Path(folder)
        self.run = run
        self.torn = 0
        self.spent_before = Spent()
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError("the cache is a file", "Choose another cache folder.", file=self.folder)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # replies quote reports: not for every user
        self._file = open(self.folder / ANSWERS, "a+b", buffering=0)
        self._claims = open(self.folder / CLAIMS, "a+b", buffering=0)
        self._places: dict[str, tuple[int, int]] = {}
        self._read_to = 0
        self._synced = time.monotonic()
        self._look(starting=True)

    def get(self, key: str) -> JudgeReply | None:
        """The reply to a request that was answered before, by whatever process; None: there is none."""
        if key not in self._places:
            self._look()
        place = self._places.get(key)
        if place is None:
            return None
        line = os.pread(self._file.fileno(), place[1], place[0])
        return JudgeReply(**{**json.loads(line)["reply"], "cached": True})

    def put(self, key: str, reply: JudgeReply, spent: Spent) -> None:
        """Write a reply with what it took."""
        told = {name: value for name, value in asdict(reply).items() if value not in (None, "", False)}
        entry = {"key": key, "run": self.run, "reply": told, "spent": asdict(spent)}
        line = json.dumps(entry, sort_keys=True).encode("ascii") + b"\n"
        with self._alone():
            size = os.fstat(self._file.fileno()).st_size
            if size and os.pread(self._file.fileno(), 1, size - 1) != b"\n":
                line = b"\n" + line  # what a kill has cut stays a line of its own
            self._write(line)

    async def written(self) -> None:
        """Write through to the disk, where the last time is a while ago; meanwhile others go on."""
        if time.monotonic() - self._synced > SYNC_EVERY:
            self._synced = time.monotonic()
            await asyncio.to_thread(os.fsync, self._file.fileno())

    def close(self) -> None:
        """Write through and close."""
        os.fsync(self._file.fileno())
        self._file.close()
        self._claims.close()

    @asynccontextmanager
    async def claimed(self, key: str) -> AsyncIterator[None]:
        """Hold a request for this process; another process that wants the same one waits.

        The system frees it with the process, so a killed one holds nothing.
        """
        place = int(key[:16], 16) % CLAIM_RANGE if fcntl is not None else 0
        while not self._take(place):
            await asyncio.sleep(POLL)
        try:
            yield
        finally:
            if fcntl is not None:
                fcntl.lockf(self._claims, fcntl.LOCK_UN, 1, place)

    def _take(self, place: int) -> bool:
        if fcntl is None:
            return True
        try:
            fcntl.lockf(self._claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:  # a file system without locks: at worst two processes ask the same
            return True
        return True

    def _write(self, line: bytes) -> None:
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(28, "No space left on device")
        except OSError as error:  # the error of a write does not know its file
            raise OSError(error.errno, error.strerror, str(self.folder / ANSWERS)) from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if fcntl is None:
            yield
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            yield
            return
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _look(self, *, starting: bool = False) -> None:
        """Read what was written since the last look: whole lines only."""
        descriptor = self._file.fileno()
        if os.fstat(descriptor).st_size <= self._read_to:
            return
        with open(self.folder / ANSWERS, "rb") as file:
            file.seek(self._read_to)
            for line in file:
                if not line.endswith(b"\n"):
                    self.torn += starting  # later: another process may be writing it just now
                    break
                self._note(line, starting)
                self._read_to += len(line)

    def _note(self, line: bytes, starting: bool) -> None:
        if not line.strip():
            return
        try:
            entry = json.loads(line)
            key, state, run = entry["key"], entry["reply"]["state"], entry["run"]
            spent = Spent(**entry["spent"])
        except (ValueError, KeyError, TypeError):
            self.torn += 1
            return
        if state in KEPT:
            self._places[key] = (self._read_to, len(line))
        if starting and run == self.run:
            self.spent_before += spent
