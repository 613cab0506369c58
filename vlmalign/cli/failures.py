"""Expected failures as one plain sentence: what, where, and what to do. Anything else keeps its traceback."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from vlmalign.cli.settings import explain
from vlmalign.records.errors import ended

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
REMEDIES = {
    errno.ENOENT: "Check the path.",
    errno.EACCES: "Choose another folder, or ask for the right to write there.",
    errno.EPERM: "Choose another folder, or ask for the right to write there.",
    errno.EROFS: "Choose another folder.",
    errno.EISDIR: "Name a file, not a folder.",
    errno.ENOTDIR: "A part of the path is a file: check the path.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}
AGAIN = "Free some space, then run the same command again."
CONTINUES = "Free some space; the same command then continues from what is saved."


def describe(error: BaseException) -> str | None:
    """The message for an expected failure; None for a fault of the program, which deserves its traceback.

    Example:
        >>> describe(ValueError("n is 0: at least 1 is required")), describe(KeyError("x"))
        ('n is 0: at least 1 is required', None)
    """
    if isinstance(error, ValidationError):
        return f"{error.title}: {explain(error)}"
    if disk_is_full(error):
        remedy = CONTINUES if CONTINUES in getattr(error, "__notes__", ()) else AGAIN
        return _system(error, remedy) if isinstance(error, OSError) else f"{ended(str(error))} {remedy}"
    if isinstance(error, OSError) and _errno(error) is not None:
        return _system(error, REMEDIES.get(_errno(error) or 0, "Check the disk and the path."))
    if isinstance(error, (ValueError, OSError, ImportError, FloatingPointError)):
        return str(error)
    # The next two by the names of their classes: to import these would load torch, also where nothing else does.
    if type(error).__name__ == "SafetensorError":
        return f"{ended(str(error))} The file of weights is damaged: restore it or make it again."
    if type(error).__name__ == "OutOfMemoryError":
        return f"{str(error).splitlines()[0]} Lower batch_size, or set gradient_checkpointing: true."
    return None


def disk_is_full(error: BaseException) -> bool:
    """Whether the disk, a quota or a limit of the file's size took no more."""
    if isinstance(error, OSError):
        return _errno(error) in FULL
    texts = ("No space left", "File too large", "Disk quota exceeded")
    return type(error).__name__ == "SafetensorError" and any(text in str(error) for text in texts)


def name_full_disk(error: BaseException, path: object, *, continues: bool) -> None:
    """Note on a full disk's error which path could not be written, if it does not say so, and what comes next.

    Args:
        error: of any kind; others are left as they are.
        path: what was being written.
        continues: whether the same command goes on from what is saved, rather than from its beginning.
    """
    if not disk_is_full(error):
        return
    if isinstance(error, OSError) and error.errno is not None and not error.filename and path is not None:
        error.filename = str(path)
    if continues:
        error.add_note(CONTINUES)


@contextmanager
def nothing_left_behind(partial: Path) -> Iterator[None]:
    """Remove a half-written file or folder when what writes it fails."""
    try:
        yield
    except BaseException as error:
        name_full_disk(error, partial, continues=False)
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
        raise


def _errno(error: OSError) -> int | None:
    """Its number; of the many errors of one copied folder that of the first, which the library keeps as text."""
    if not isinstance(error, shutil.Error):
        return error.errno
    found = re.search(r"\[Errno (\d+)\]", str(error))
    return int(found[1]) if found else None


def _system(error: OSError, remedy: str) -> str:
    number = _errno(error)
    assert number is not None
    if isinstance(error, shutil.Error):
        place, reason = error.args[0][0][1], os.strerror(number)
    else:
        place = error.filename2 or error.filename  # of a copy, where to
        reason = os.strerror(number) if number in FULL else error.strerror or str(error)
    where = f"{os.fsdecode(place)}: " if isinstance(place, (str, bytes, os.PathLike)) else ""
    return f"{where}{reason[0].lower()}{ended(reason[1:])} {remedy}"
