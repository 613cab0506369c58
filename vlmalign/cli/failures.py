"""Expected failures as one plain sentence: what, where, and what to do. Anything else keeps its traceback."""

from __future__ import annotations

import errno

from pydantic import ValidationError

from vlmalign.cli.settings import explain

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
CONTINUES = "Free some space; the same command then continues where it stopped."


def describe(error: BaseException) -> str | None:
    """The message for an expected failure; None for a fault of the program, which deserves its traceback.

    Example:
        >>> describe(ValueError("n is 0: at least 1 is required")), describe(KeyError("x"))
        ('n is 0: at least 1 is required', None)
    """
    if isinstance(error, ValidationError):
        return f"{error.title}: {explain(error)}"
    if isinstance(error, OSError) and error.errno is not None:
        return _system(error)
    if isinstance(error, (ValueError, OSError, ImportError, FloatingPointError)):
        return str(error)
    if type(error).__name__ == "SafetensorError":
        full = "No space left" in str(error) or "File too large" in str(error)
        return f"{error}. {CONTINUES if full else 'The file of weights is damaged: restore it or make it again.'}"
    if type(error).__name__ == "OutOfMemoryError":
        return f"{str(error).splitlines()[0]} Lower batch_size, or set gradient_checkpointing: true."
    return None


def _system(error: OSError) -> str:
    assert error.errno is not None
    place = f"{error.filename}: " if error.filename else ""
    reason = (error.strerror or str(error)).rstrip(".")
    if error.errno in FULL:
        return f"{place}{reason[0].lower()}{reason[1:]}. Nothing is lost. {CONTINUES}"
    return f"{place}{reason[0].lower()}{reason[1:]}. {REMEDIES.get(error.errno, 'Check the disk and the path.')}"
