"""One process at a time: a file or folder held by a lock that the system frees with the process."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from vlmalign.records.errors import DataError

try:
    import fcntl
except ImportError:  # not a POSIX system: nothing to lock with
    fcntl = None  # type: ignore[assignment]


def lock(opened: TextIO | int, folder: Path) -> None:
    """Lock an open file, or the descriptor of an open folder, until it is closed.

    A file system without locks (some network ones) is used without.

    Args:
        opened: what to lock.
        folder: what is being written, for the error.

    Raises:
        DataError: another process holds it.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataError(
            "another process is writing here",
            "Wait until it has ended or stop it, or choose another --out.",
            file=folder,
        ) from None
    except OSError:
        return
