"""Putting files into a folder: whole or not at all, and a failure names the file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vlmalign.records.locking import lock


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A partial file to fill, which takes the place of `path` at the end.

    Whatever goes wrong, the partial file is removed and `path` is as before. An OSError (a full disk: the
    error of a write does not know its file) names `path`.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `path` at the end; ours alone while we fill it.

    What a killed process left in it goes. Whatever goes wrong, it is removed and `path` is as before.

    Raises:
        DataError: another process is filling it.
    """
    partial, old = (path.with_name(path.name + suffix) for suffix in (".partial", ".replaced"))
    held = _hold(partial)
    try:
        for left in partial.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        yield partial
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            os.replace(path, old)
        os.replace(partial, path)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        if held is not None:
            os.close(held)


def _hold(folder: Path) -> int | None:
    """Descriptor of a folder, made if absent, that no other process holds; None where folders cannot be opened."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            held = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # its holder has just put it in its place
            continue
        except PermissionError:
            return None
        try:
            lock(held, folder)
            if os.path.exists(folder) and os.path.samestat(os.fstat(held), os.stat(folder)):
                return held
        except BaseException:
            os.close(held)
            raise
        os.close(held)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    with replacing(path) as partial, open(partial, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def put(path: Path, data: bytes) -> None:
    """Write a file and, where they are absent, its parent folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_bytes(data)


def link(source: Path, target: Path) -> None:
    """Link a file to a second place, or copy it where the file system cannot.

    Of a symbolic link the file that it leads to is linked: the second place stays whole wherever it is moved.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        with replacing(target) as partial:
            shutil.copyfile(source, partial)
