"""PNG bytes at the fastest level of compression."""

from __future__ import annotations

from PIL import Image

from vlmalign.records.png import pixels_as_png


def png_bytes(picture: Image.Image) -> bytes:
    """Encode a picture as PNG: its pixels, and nothing else that its file held (EXIF, colour profile).

    Noise hardly compresses: level 6 takes four times as long for a few per cent.

    Example:
        >>> png_bytes(Image.new("L", (4, 4)))[1:4]
        b'PNG'
    """
    return pixels_as_png(picture, compress_level=1)
