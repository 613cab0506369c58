"""Pictures for readers: decoded and written anew, so that nothing but the pixels remains."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageOps

from vlmalign.records import DataError, load_image
from vlmalign.records.decoding import FAILURES


def plain_png(path: str | Path, max_pixels: int, *, record: str | None = None) -> bytes:
    """The picture as an 8-bit PNG without any metadata: no text, EXIF, profile or time.

    It is turned upright by its EXIF orientation first and shrunk to `max_pixels` on its longest side. What is
    written in the pixels themselves (a name burned into a film) stays: look at the pictures before giving them
    away.

    Raises:
        DataError: the picture is missing, cannot be decoded, has a damaged EXIF, or has more than 8 bits a
            channel, of which nobody but its owner knows the window; names `record`.
    """
    image = load_image(path, record=record)
    with Image.open(path) as original:
        if original.mode.startswith(("I", "F")):
            raise DataError(
                f"the picture has more than 8 bits a channel (mode {original.mode}): shown as it is it would be "
                "white or black",
                "Choose its window and write it with 8 bits, then build the cases again.",
                file=path,
                record=record,
            )
    try:
        image = ImageOps.exif_transpose(image)
    except FAILURES as error:
        raise DataError(
            f"its EXIF, which says what is up, is damaged ({error})",
            "Remove the EXIF, or turn the picture upright and write it anew.",
            file=path,
            record=record,
        ) from None
    if max(image.size) > max_pixels:
        image.thumbnail((max_pixels, max_pixels), Image.Resampling.LANCZOS)
    bare = Image.frombytes(image.mode, image.size, image.tobytes())
    buffer = io.BytesIO()
    bare.save(buffer, "PNG", optimize=False)
    return buffer.getvalue()
