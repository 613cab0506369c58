"""Decoding pictures that may be damaged or made to do harm: few formats, and every failure is one error."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

from PIL import Image, UnidentifiedImageError

#: what a picture may be; of the many other formats that PIL reads, one (EPS) starts another program
FORMATS = ("PNG", "JPEG", "JPEG2000", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "PPM")
#: what PIL raises at such files; ValueError, among others, at text that would unpack to gigabytes
FAILURES = (
    UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError, ValueError, RuntimeError, EOFError,
    LookupError, TypeError, OverflowError, struct.error, zlib.error,
)  # fmt: skip


class UndecodableError(ValueError):
    """The bytes are no picture that can be decoded whole; the message is the reason."""


def decode(picture: str | Path | bytes) -> Image.Image:
    """Decode a picture completely. What it is, is told by its content, whatever its name ends in.

    Args:
        picture: a file, or its bytes.

    Raises:
        UndecodableError: no picture of a common format, a damaged one, or one of more than 179 million pixels.
        FileNotFoundError: no such file.

    Example:
        >>> decode(b"%!PS-Adobe-3.0 EPSF-3.0")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        vlmalign.records.decoding.UndecodableError: cannot identify image file...
    """
    try:
        image = Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture, formats=FORMATS)
        with image:  # of a file: closes it, and keeps the pixels
            image.load()
    except FileNotFoundError:
        raise
    except FAILURES as error:
        raise UndecodableError(str(error)) from None
    return image
