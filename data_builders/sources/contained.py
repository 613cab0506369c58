"""Paths that a table or an annotation names: they stay inside the data folder, links included."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from vlmalign.records import DataError
from vlmalign.records.hashing import sha256_bytes

ENDS = 2048


def contained(
    root: Path, name: str, *, file: str | Path | None = None, line: int | None = None, field: str | None = None
) -> Path:
    """The file `name` of the folder `root`; whether it exists is not asked.

    Args:
        root: the data folder; may itself be a link.
        name: relative, with forward slashes.
        file: where the name stands, with `line` and `field`, for the error.
        line: 1-based line.
        field: column or key.

    Raises:
        DataError: the name is empty, absolute, or climbs out; or a link leads out of the folder.

    Example:
        >>> contained(Path("data"), "a/b.png").as_posix()
        'data/a/b.png'
        >>> contained(Path("data"), "../secret.png", file="labels.csv", line=3)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        vlmalign.records.errors.DataError: labels.csv:3: the path '../secret.png' leaves the data folder...
    """
    pure = PurePosixPath(name)
    outside = not name.strip() or "\0" in name or "\\" in name or pure.is_absolute() or ".." in pure.parts
    if outside or ":" in pure.parts[0]:
        raise DataError(
            f"the path {name!r} leaves the data folder",
            "Name files inside it, relative to it.",
            file=file,
            line=line,
            field=field,
        )
    path = root / pure
    if not path.resolve().is_relative_to(root.resolve()):
        raise DataError(
            f"the path {name!r} is a link out of the data folder",
            "Copy the file into it, or pass the folder that the link leads to.",
            file=file or path,
            line=line,
            field=field,
        )
    return path


def files_below(root: str | Path, suffixes: Iterable[str] = ()) -> list[Path]:
    """All files below a folder with one of the suffixes (all, if none are given), sorted by their path.

    Raises:
        DataError: no such folder, a link leads out of it, or something in it is no file.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError("no such folder", "Check --data.", file=root)
    wanted = {suffix.lower() for suffix in suffixes}
    paths = [p for p in root.rglob("*") if not wanted or "".join(p.suffixes[-2:]).lower() in wanted
             or p.suffix.lower() in wanted]  # fmt: skip
    found = [contained(root, path.relative_to(root).as_posix()) for path in sorted(paths) if not path.is_dir()]
    for path in found:
        if path.exists() and not path.is_file():  # to read a pipe would wait for ever
            raise DataError("this is a pipe, socket or device, no file", "Move it out of the folder.", file=path)
    return found


def listing_hash(root: Path, paths: Iterable[Path]) -> str:
    """Hash of names, sizes, and first and last bytes: tells a changed folder without reading all of it.

    The whole content is hashed when a picture is stored; a file that is missing has size -1.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            with open(path, "rb") as file:
                ends = file.read(ENDS)
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - ENDS))
                ends += file.read(ENDS)
        except OSError:
            size, ends = -1, b""
        digest.update(f"{path.relative_to(root).as_posix()}\0{size}\0".encode() + sha256_bytes(ends).encode())
    return digest.hexdigest()
