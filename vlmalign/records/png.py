"""A picture as PNG bytes that hold its pixels and nothing else."""

from __future__ import annotations

import io

from PIL import Image

DEFAULT = -1  # zlib's own level, 6


def pixels_as_png(picture: Image.Image, compress_level: int = DEFAULT) -> bytes:
    """Encode a picture without what its file held beside the pixels: PIL would write a colour profile again.

    Example:
        >>> profiled = Image.new("L", (4, 4))
        >>> profiled.info["icc_profile"] = b"of somebody"
        >>> b"iCCP" in pixels_as_png(profiled)
        False
    """
    buffer = io.BytesIO()
    if picture.info:
        picture = picture.copy()
        picture.info = {}
    picture.save(buffer, "PNG", compress_level=compress_level)
    return buffer.getvalue()
