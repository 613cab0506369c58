"""A folder of files that several processes fill, and that never grows beyond a size."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PARTIAL = ".partial"


@dataclass(frozen=True)
class FolderStats:
    """What lies in a folder.

    Attributes:
        files: how many.
        bytes: their size.
        by_group: files and bytes by first folder of their name.
    """

    files: int
    bytes: int
    by_group: dict[str, tuple[int, int]]


class SizedFolder:
    """Files by name, each written whole or not at all; those used longest ago make room for new ones.

    Args:
        path: created when the first file is written.
        max_bytes: of all files; room is made down to nine tenths of it at a time.
        suffix: what the names of all files end in; each is in a folder of its own group, `group/name.suffix`.

    Raises:
        ValueError: `max_bytes` is not positive.

    Example:
        >>> import tempfile
        >>> folder = SizedFolder(Path(tempfile.mkdtemp()), max_bytes=100, suffix=".bin")
        >>> with folder.writing("a/one.bin") as partial:
        ...     _ = partial.write_bytes(b"x" * 60)
        >>> folder.stats().bytes, folder.use("a/two.bin")
        (60, None)
    """

    def __init__(self, path: Path, max_bytes: int, suffix: str = ".safetensors") -> None:
        if max_bytes <= 0:
            raise ValueError(f"max_bytes is {max_bytes}, expected more than 0: give the cache room.")
        self.path = path
        self.max_bytes = max_bytes
        self.suffix = suffix
        self._written = 0
        self._known: int | None = None

    def use(self, name: str) -> Path | None:
        """Where a file lies, noting that it was used; None if it does not."""
        path = self.path / name
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        except PermissionError:  # a cache that others own can be read
            pass
        return path

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A partial file to fill, which becomes `name`; of several processes the last one's stays."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")
        try:
            yield partial
            size = partial.stat().st_size
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        self._make_room(size)

    def stats(self) -> FolderStats:
        """Count what is there."""
        groups: dict[str, tuple[int, int]] = {}
        for path, stat in self._files():
            files, size = groups.get(path.relative_to(self.path).parts[0], (0, 0))
            groups[path.relative_to(self.path).parts[0]] = (files + 1, size + stat.st_size)
        return FolderStats(sum(n for n, _ in groups.values()), sum(s for _, s in groups.values()), groups)

    def clear(self) -> FolderStats:
        """Delete all of it; returns what there was."""
        stats = self.stats()
        emptied = set()
        for path, _ in self._files():
            path.unlink(missing_ok=True)
            emptied.add(path.parent)
        for folder in emptied:
            with suppress(OSError):  # something else is there, or being written
                folder.rmdir()
        return stats

    def _make_room(self, added: int) -> None:
        """Delete the oldest files where needed; others' files are counted after every sixteenth of the bound."""
        self._written += added
        if self._known is not None and self._known + self._written <= self.max_bytes:
            if self._written < self.max_bytes / 16:
                return
        files = sorted(self._files(), key=lambda item: item[1].st_mtime)
        total = sum(stat.st_size for _, stat in files)
        if total > self.max_bytes:
            for path, stat in files:
                if total <= 0.9 * self.max_bytes:
                    break
                with suppress(FileNotFoundError):  # another process was faster
                    path.unlink()
                total -= stat.st_size
        self._known, self._written = total, 0

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """What was written here; whatever else lies in the folder is let alone."""
        for path in self.path.glob("*/*"):
            if path.suffix in (self.suffix, PARTIAL):
                with suppress(FileNotFoundError):
                    yield path, path.stat()
